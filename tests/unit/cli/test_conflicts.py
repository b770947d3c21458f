"""``kvpack conflicts``: every way to name a set, on wheels that lie beside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.audit.wheels import Wheel, record_line
from tests.unit.cli.face import Answer, Place


def write(folder: Path, name: str, files: dict[str, bytes], version: str = "1.0") -> Path:
    """A wheel of a distribution with these files."""
    folder.mkdir(exist_ok=True)
    return Wheel(
        filename=f"{name}-{version}-py3-none-any.whl",
        files=files,
        dist_info=f"{name}-{version}.dist-info",
        record="".join(record_line(path, data) for path, data in files.items()),
    ).write(folder)


@pytest.fixture
def index(place: Place) -> Path:
    """An index with two wheels that conflict and a third that does not; it is the only one."""
    root = place.folder / "index"
    root.mkdir()
    for name, text in (("nixl_cu12", b"12"), ("nixl_cu13", b"13"), ("other", b"")):
        path = "nixl/x.py" if text else "other.py"
        write(root / name.replace("_", "-"), name, {path: text, "LICENSE": b"MIT"})
    place.use(root)
    return root


def conflicts(answer: Answer) -> list[str]:
    document = answer.json
    assert document["kind"] == "conflicts"
    assert document["schema"] == 1
    assert answer.code == (70 if document["conflicts"] else 0)
    return [row["path"] for row in document["conflicts"]]


CONFLICT = ["site-packages/nixl/x.py"]


def test_wheels_that_conflict(place: Place, index: Path) -> None:
    wheels = sorted(str(path) for path in index.rglob("nixl*.whl"))
    answer = place.run("conflicts", *wheels)
    assert answer.code == 70
    for text in ("2 distributions", "different-bytes", *CONFLICT, "nixl-cu12 1.0 (", "1 path has"):
        assert text in answer.out
    assert answer.out.endswith("\n1 conflict\n")
    document = place.run("conflicts", *wheels, "--json").json
    assert document["distributions"] == [["nixl-cu12", "1.0"], ["nixl-cu13", "1.0"]]
    (row,) = document["conflicts"]
    assert [sorted(owner) for owner in row["owners"]] == [
        ["distribution", "path", "sha256", "version"]
    ] * 2
    assert "keep one of nixl-cu12, nixl-cu13; nixl stays" in row["advice"]
    assert [one["path"] for one in document["shared"]] == ["site-packages/LICENSE"]


def test_wheels_that_do_not(place: Place, index: Path) -> None:
    wheels = [str(next(index.rglob(f"{name}*.whl"))) for name in ("nixl_cu12", "other")]
    assert place.run("conflicts", *wheels).out.endswith("\nno conflict\n")
    assert conflicts(place.run("conflicts", *wheels, "--json", "--offline")) == []


def test_pins_are_read_from_the_index(place: Place, index: Path) -> None:
    answer = place.run("conflicts", "nixl_cu12==1.0", "NIXL.cu13===1", "--json")
    assert conflicts(answer) == CONFLICT
    total = sum(path.stat().st_size for path in index.rglob("nixl*.whl"))
    assert answer.json["bytes-total"] == answer.json["bytes-read"] == total


def test_a_pin_with_an_address_or_a_marker(place: Place, index: Path) -> None:
    url = next(index.rglob("nixl_cu12*.whl")).as_uri()
    specs = [f"nixl-cu12 @ {url}", "absent==1; sys_platform == 'win32'", "nixl-cu13==1.0"]
    assert conflicts(place.run("conflicts", *specs, "--json")) == CONFLICT
    assert conflicts(place.run("conflicts", *specs[:2], "--json", "--offline")) == []


def test_no_catalogue_is_needed(place: Place, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own registries do."""
    monkeypatch.chdir(place.folder)
    (place.root / "kvpack.toml").rename(place.folder / "kvpack.toml")
    assert conflicts(place.run("conflicts", "nixl-cu12==1.0", "other==1.0", "--json")) == []
    assert place.run("--root", str(index), "conflicts", "other==1.0").code == 10


def test_a_requirements_file(place: Place, index: Path) -> None:
    del index
    (place.root / "set.txt").write_text(
        "# made by hand\n--index-url https://mirror.example/simple\n\n"
        "nixl-cu12==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11  # via x\n"
        "    # via y\n"
        'absent==1.0 ; python_version < "3.12"\n'
        "-r more/own.txt\n--requirement=set.txt\n"
    )
    (place.root / "more").mkdir()
    (place.root / "more" / "own.txt").write_bytes(b"-r ../set.txt\r\nnixl_cu13[x] == 1.0\r\n")
    answer = place.run("conflicts", "set.txt", "--json")
    assert conflicts(answer) == CONFLICT
    assert len(answer.json["distributions"]) == 2
    failed = place.run("conflicts", "set.txt", "--python", "3.11")
    assert failed.code == 30
    assert "the project absent" in failed.err


def test_a_pylock(place: Place, index: Path) -> None:
    """Paths, relative and absolute addresses, markers."""
    names = {path.name.partition("-")[0]: path for path in index.rglob("*.whl")}
    places = {
        "nixl_cu12": f"path = {json.dumps(os.path.relpath(names['nixl_cu12'], place.root))}",
        "nixl_cu13": f"url = {json.dumps(names['nixl_cu13'].as_uri())}",
        "other": f"url = {json.dumps(os.path.relpath(names['other'], place.root))}",
    }
    text = 'lock-version = "1.0"\ncreated-by = "hand"\n'
    for name, where in places.items():
        text += (
            f'[[packages]]\nname = "{name.replace("_", "-")}"\nversion = "1.0"\n'
            f'wheels = [{{ {where}, hashes = {{ sha256 = "00" }} }}]\n'
        )
    text += '[[packages]]\nname = "absent"\nmarker = "sys_platform == \'win32\'"\n'
    text += 'directory = { path = "absent" }\n'
    (place.root / "pylock.cu.toml").write_text(text)
    answer = place.run("conflicts", "pylock.cu.toml", "--json", "--offline")
    assert conflicts(answer) == CONFLICT
    assert len(answer.json["distributions"]) == 3


# -- environments -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without pip."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def site(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    for record in found.rglob("*"):
        if record.is_file():
            record.unlink()
    return found


def install(site: Path, name: str, record: str, entry_points: str = "") -> Path:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "RECORD").write_text(record)
    (info / "entry_points.txt").write_text(entry_points)
    return info


def test_an_environment(place: Place, python: Path, site: Path, index: Path) -> None:
    words = ["conflicts", "--json", "--installed", str(python)]
    assert conflicts(place.run(*words)) == []
    install(site, "nixl_cu12", record_line("nixl/x.py", b"12"))
    assert conflicts(place.run(*words)) == []
    wheel = str(next(index.rglob("nixl_cu13*.whl")))
    assert conflicts(place.run(*words, wheel)) == CONFLICT
    install(site, "nixl_cu13", record_line("nixl/x.py", b"13"))
    assert conflicts(place.run(*words)) == CONFLICT
    same = write(place.folder, "nixl_cu13", {"nixl/y.py": b""}, "2.0")
    answer = place.run(*words, str(same))
    assert conflicts(answer) == []  # it replaces the installed one
    assert answer.json["distributions"] == [["nixl-cu12", "1.0"], ["nixl-cu13", "2.0"]]


def test_scripts_of_an_environment(place: Place, python: Path, site: Path) -> None:
    words = ["conflicts", "--json", "--installed", str(python)]
    made = record_line("../../../bin/tool", b"#!python\n")
    install(site, "one", made, "[console_scripts]\ntool = one:main\n")
    wheel = write(place.folder, "two", {
        "two-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntool = one:main\n",
    })  # fmt: skip
    assert conflicts(place.run(*words, str(wheel))) == []
    install(site, "one", made, "[console_scripts]\ntool = one:other\n")
    assert conflicts(place.run(*words, str(wheel))) == ["bin/tool"]


def test_the_environment_s_python_is_the_default(place: Place, python: Path, site: Path) -> None:
    del site
    mine = "cp{}{}".format(*sys.version_info[:2])
    root = place.folder / "index" / "demo"
    root.mkdir(parents=True)
    Wheel(filename=f"demo-1.0-{mine}-{mine}-linux_x86_64.whl").write(root)
    place.use(root.parent)
    words = ["conflicts", "demo==1.0", "--arch", "x86_64", "--json"]
    assert conflicts(place.run(*words, "--installed", str(python))) == []
    assert place.run(*words, "--python", "3.99").code == 23


def test_a_broken_installed_record(place: Place, python: Path, site: Path) -> None:
    install(site, "one", "a,b\n")
    answer = place.run("conflicts", "--installed", str(python))
    assert answer.code == 51
    assert "one-1.0.dist-info cannot be judged: RECORD, line 1" in answer.err
