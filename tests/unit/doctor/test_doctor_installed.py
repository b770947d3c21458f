"""Distributions are read from real folders."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from kvpack.doctor import installed
from kvpack.doctor.environment import (
    Distribution,
    mooncake_peermem_of,
    mori_rocm_of,
    torch_of,
)
from kvpack.report import SilentStep


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def install(site: Path, name: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    """Write a distribution with a right RECORD; gives its ``.dist-info``."""
    folder = site / f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    rows = []
    for path, data in {**files, f"{folder.name}/METADATA": metadata.encode()}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)
        rows.append(f"{path},{digest(data)},{len(data)}\n")
    (folder / "RECORD").write_text("".join(rows) + f"{folder.name}/RECORD,,\n")
    return folder


def read(site: Path, *, quick: bool = False) -> dict[str, Distribution]:
    found, _ = installed.find([site])
    prefix = site.parent
    return {one.name: one for one in installed.compare(found, prefix, SilentStep(), quick=quick)}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def test_a_sound_distribution(site: Path) -> None:
    files = {"My_Pkg/a.py": b"a", "my_pkg.libs/x.so": b"", "../bin/tool": b"#!", "single.py": b""}
    install(site, "My_Pkg", files, "2.0")
    (one,) = read(site).values()
    assert (one.name, one.version, one.spec) == ("my-pkg", "2.0", "my-pkg==2.0")
    assert (one.missing, one.changed, one.record) == ((), (), "read")
    assert one.top_level == ("My_Pkg", "single")


def test_missing_and_changed_files(site: Path) -> None:
    files = {"x/a.py": b"aa", "x/b.py": b"bb", "x/c.py": b"cc", "../bin/x": b"#!"}
    install(site, "x", files)
    (site / "x/a.py").unlink()
    (site / "x/b.py").write_bytes(b"BB")
    (site / "x/c.py").write_bytes(b"longer")
    (site.parent / "bin/x").unlink()
    one = read(site)["x"]
    assert one.missing == ("site-packages/x/a.py", "bin/x")
    assert one.changed == ("site-packages/x/b.py", "site-packages/x/c.py")
    assert read(site, quick=True)["x"].changed == ("site-packages/x/c.py",)


def test_what_record_cannot_vouch_for(site: Path) -> None:
    folder = install(site, "x", {"x/a.py": b"a"})
    with (folder / "RECORD").open("a") as record:
        record.write("x/__pycache__/a.cpython-312.pyc,,\nx/gone.pyc,,\nx/,,\n")
    assert read(site)["x"].missing == ()


@pytest.mark.parametrize("text", ['"', "a,b\n", "a,b,c,d\n"])
def test_a_damaged_record(site: Path, text: str) -> None:
    (install(site, "x", {"x/a.py": b"a"}) / "RECORD").write_text(text)
    assert read(site)["x"].record == "damaged"


def test_distributions_without_record(site: Path) -> None:
    egg = site / "old-1.egg-info"
    egg.write_text("Name: old\nVersion: 1\n")
    other = site / "older-1.egg-info"
    other.mkdir()
    (other / "PKG-INFO").write_text("Name: older\nVersion: 1\n")
    broken = site / "broken-1.dist-info"
    broken.mkdir()
    found = read(site)
    assert {name: one.record for name, one in found.items()} == {"old": "absent", "older": "absent"}


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        ({"url": "file:///dist/x.whl", "archive_info": {}}, "x @ file:///dist/x.whl"),
        ({"url": "https://a:b@host.example/x.whl", "archive_info": {}}, "x==1.0"),
        ({"url": "https://host.example/x.git", "vcs_info": {"vcs": "git"}}, "x==1.0"),
        ({}, "x==1.0"),
    ],
)
def test_what_installs_the_same_again(site: Path, content: object, spec: str) -> None:
    (install(site, "x", {}) / "direct_url.json").write_text(json.dumps(content))
    assert read(site)["x"].spec == spec


def test_requirements_are_names(site: Path) -> None:
    folder = install(site, "x", {})
    with (folder / "METADATA").open("a") as metadata:
        metadata.write('Requires-Dist: Nixl_CU13==1.0\nRequires-Dist: b ; extra == "c"\n')
        metadata.write("Requires-Dist: not a requirement!\n")
    assert read(site)["x"].requires == ("b", "nixl-cu13")


def test_the_first_folder_of_the_path_wins(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "dist-packages"
    install(site, "x", {}, "2.0")
    install(other, "x", {}, "1.0")
    found, doubled = installed.find([site, other])
    assert ([one.version for one in found], doubled) == (["2.0"], [])
    install(site, "x", {}, "3.0")
    assert installed.find([site])[1] == ["x"]


def test_two_kinds_of_metadata_for_one_version(site: Path) -> None:
    """Debian's python3-cryptography has both."""
    install(site, "x", {}, "2.0")
    (site / "x-2.0.egg-info").write_text("Name: x\nVersion: 2.0\n")
    assert installed.find([site])[1] == []


# -- version files ---------------------------------------------------------------------------------


def test_torchs_version_file() -> None:
    text = (
        "from typing import Optional\n__all__ = ['__version__', 'cuda']\n"
        "__version__ = '2.13.0+cu130'\ndebug = False\ncuda: Optional[str] = '13.0'\n"
        "git_version = 'abc'\nhip: Optional[str] = None\n"
    )
    found = torch_of(text)
    assert found is not None
    assert (found.version, found.cuda, found.hip, found.minor) == (
        "2.13.0+cu130",
        "13.0",
        None,
        "2.13",
    )
    assert torch_of("cuda = '12.8'\n") is None


def test_moris_build_file() -> None:
    text = "# Auto-generated\nROCM_BUILD_VERSION = '7.14.60850'\nROCM_VERSION_PATTERN = '7.14.*'\n"
    assert mori_rocm_of(text) == "7.14.60850"
    assert mori_rocm_of("") is None


def test_mooncakes_own_default() -> None:
    """What the patch of the catalogue adds is found; upstream's text has nothing of it."""
    patch = Path(__file__).parents[3] / "patches" / "mooncake" / "peermem-default.patch"
    lines = patch.read_text().splitlines()
    added = "\n".join(line[1:] for line in lines if line.startswith("+") and line[:3] != "+++")
    assert mooncake_peermem_of(f'"""Mooncake."""\n\n{added}\nfrom pkgutil import x\n') == "0"
    assert mooncake_peermem_of("from pkgutil import extend_path\n") is None
    assert mooncake_peermem_of('# os.environ.setdefault("WITH_NVIDIA_PEERMEM", "0")\n') is None
