"""``kvpack conflicts``: every way to name a set, on wheels that lie beside."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvpack.tools.files import remove_tree
from tests.unit.audit.elves import Elf
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
    assert answer.json["bytes-total"] == total
    assert answer.json["bytes-read"] == 0  # they lie on this machine


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


# -- folders, indexes, addresses ------------------------------------------------------------------


def test_a_folder_is_its_projects_newest_wheels_that_fit(place: Place) -> None:
    folder = place.folder / "dist"
    write(folder, "nixl_cu12", {"nixl/x.py": b"12"})
    write(folder, "nixl_cu12", {"nixl/elsewhere.py": b"12"}, "1.1rc1")
    write(folder, "nixl_cu13", {"nixl/y.py": b"13"})
    write(folder, "nixl_cu13", {"nixl/x.py": b"13"}, "1.10")
    Wheel(filename="odd-1.0-cp39-cp39-win_amd64.whl").write(folder)
    answer = place.run("conflicts", str(folder), "--json", "--offline")
    assert conflicts(answer) == CONFLICT
    assert answer.json["distributions"] == [["nixl-cu12", "1.0"], ["nixl-cu13", "1.10"]]
    assert answer.json["brought-by"]["nixl-cu12"] == [f"{folder}: nixl_cu12-1.0-py3-none-any.whl"]
    assert "no wheel of odd fits Python 3.12" in answer.err


@pytest.mark.parametrize("address", [True, False])
def test_a_whole_index(place: Place, index: Path, *, address: bool) -> None:
    answer = place.run("conflicts", f"{index.as_uri()}/" if address else str(index), "--json")
    assert conflicts(answer) == CONFLICT
    assert len(answer.json["distributions"]) == 3


def test_a_public_registry_is_no_set(place: Place) -> None:
    root = place.folder / "registry"
    root.mkdir()
    (root / "index.html").write_text("".join(f'<a href="p{n}/">p{n}</a>' for n in range(1001)))
    answer = place.run("conflicts", f"{root.as_uri()}/")
    assert answer.code == 2
    assert "lists 1001 projects" in answer.err


def test_an_index_comes_before_the_machine_s(place: Place, index: Path) -> None:
    """It is the only one for a project that it has, also where the other has more versions."""
    own = place.folder / "own"
    write(own, "nixl_cu13", {"nixl/other.py": b""})
    pins = ["nixl-cu12==1.0", "nixl-cu13==1.0"]
    assert conflicts(place.run("conflicts", *pins, "--json")) == CONFLICT
    for word in (str(own), own.as_uri()):
        assert conflicts(place.run("conflicts", *pins, "--index", word, "--json")) == []
    write(index / "nixl-cu13", "nixl_cu13", {"nixl/x.py": b"2"}, "2.0")
    answer = place.run("conflicts", "nixl-cu13==2.0", "--index", str(own))
    assert answer.code == 23
    assert place.run("conflicts", "nixl-cu13==2.0").code == 0


def test_a_wheel_s_address_and_digest(place: Place, index: Path) -> None:
    first, second = sorted(index.rglob("nixl*.whl"))
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    words = ["conflicts", "--json", "--offline", second.as_uri()]
    for spec in (str(first), first.as_uri()):
        assert conflicts(place.run(*words, f"{spec}#sha256={digest}")) == CONFLICT
        assert place.run(*words, f"{spec}#sha256={'0' * 64}").code == 31


def test_what_brought_a_distribution_in(place: Place, index: Path) -> None:
    del index
    (place.root / "set.txt").write_text("nixl-cu12==1.0 --hash=sha256:00\n")
    answer = place.run("conflicts", "set.txt", "nixl-cu13==1.0", "nixl-cu12==1.0")
    assert (
        "nixl-cu12 is in the set because of set.txt, line 1: nixl-cu12==1.0 and nixl-cu12==1.0"
        in answer.out
    )
    assert "nixl-cu13 is in the set because of nixl-cu13==1.0" in answer.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["a==1", "a==2"], 2, "a is named at two versions: 1 (a==1) and 2 (a==2)"),
        (["nowhere/"], 2, "there is no folder nowhere/"),
        (["https://127.0.0.1/file"], 51, "has no wheel's name"),
        (["a==1", "--index", "nowhere"], 2, "--index nowhere is neither an address nor a folder"),
        (["a==1", "--cuda", "11"], 2, "--cuda does not take '11'"),
        (["a==1", "--torch", "new"], 2, "--torch does not take 'new'"),
        (["a==1", "--cpu", "--cuda", "13"], 2, "not allowed with argument"),
        (["a.whl"], 51, "a.whl has no wheel's name"),
        (["a-1-py3-none-any.whl"], 2, "there is no file"),
        (["."], 23, "has no wheel for Python 3.12"),
        ([], 2, "nothing to judge"),
    ],
)
def test_words_that_name_no_set(place: Place, words: list[str], code: int, says: str) -> None:
    answer = place.run("conflicts", *words)
    assert (answer.code, answer.err.count("Traceback")) == (code, 0)
    assert says in answer.err


# -- libraries ------------------------------------------------------------------------------------


@pytest.fixture
def native(place: Place) -> str:
    """A wheel that links CUDA 12, and needs a library that nobody has and one of the host."""
    files = {"x/_x.so": bytes(Elf(needed=["libcudart.so.12", "libodd.so.1", "libnuma.so.1"]))}
    made = Wheel(
        filename="x_cu12-1.0-py3-none-manylinux_2_28_x86_64.whl",
        dist_info="x_cu12-1.0.dist-info",
        metadata="Metadata-Version: 2.4\nName: x-cu12\nVersion: 1.0\nRequires-Dist: torch<2.9\n",
        files=files,
    )
    return str(made.write(place.folder))


def test_libraries(place: Place, native: str) -> None:
    words = ["conflicts", native, "--arch", "x86_64"]
    assert place.run(*words).out.endswith("\nno conflict\n")
    answer = place.run(*words, "--cuda", "13", "--torch", "2.11.0")
    assert answer.code == 70
    for text in (
        "error: x-cu12 1.0: links CUDA 12: libcudart.so.12 in x/_x.so; the set is for CUDA 13\n",
        f"\n  because of {native}\n  take a build of x-cu12 for CUDA 13",
        "x/_x.so needs libodd.so.1: nothing provides it",
        "it requires torch<2.9, the environment's torch is 2.11.0",
        "1 note about libraries of the host: -v shows them",
        "\nno conflict, 3 errors\n",
    ):
        assert text in answer.out
    assert "apt-get install libnuma1" in place.run("-v", *words, "--libraries").out
    document = place.run(*words, "--libraries", "--json").json
    assert [one["check"] for one in document["findings"]] == ["library", "toolkit", "host-library"]
    assert document["provided"] == {"libnuma.so.1": "host: libnuma1"}
    assert document["conflicts"] == []


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
    for left in found.iterdir():
        remove_tree(left)
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


def test_what_setuptools_and_debian_left(
    place: Place, python: Path, site: Path, index: Path
) -> None:
    """A list of files beside a folder, and a name beside modules."""
    (site / "nixl").mkdir(exist_ok=True)
    (site / "nixl" / "x.py").write_bytes(b"13")
    wheel = str(next(index.rglob("nixl_cu12*.whl")))
    words = ["conflicts", "--json", "--installed", str(python), wheel]
    info = site / "nixl_cu13-1.0-py3.12.egg-info"
    info.mkdir(exist_ok=True)
    (info / "installed-files.txt").write_text("../nixl/x.py\nPKG-INFO\n../gone.py\n")
    answer = place.run(*words)
    assert conflicts(answer) == CONFLICT
    assert ["nixl-cu13", "1.0"] in answer.json["distributions"]
    (info / "installed-files.txt").unlink()
    assert conflicts(place.run(*words)) == []
    (info / "top_level.txt").write_text("nixl\n")
    assert conflicts(place.run(*words)) == CONFLICT


def test_libraries_of_an_environment(place: Place, python: Path, site: Path) -> None:
    data = bytes(Elf(needed=["libcudart.so.13", "libc.so.6"]))
    (site / "one").mkdir(exist_ok=True)
    (site / "one" / "_x.so").write_bytes(data)
    install(site, "one", record_line("one/_x.so", data) + record_line("one/gone.so", b""))
    words = ["conflicts", "--installed", str(python), "--arch", "x86_64", "--json"]
    answer = place.run(*words, "--cuda", "12")
    assert answer.code == 70
    (finding,) = answer.json["findings"]
    assert (finding["check"], finding["path"]) == ("accelerator-major", "site-packages/one/_x.so")


def test_the_system_s_packages_are_seen(place: Place, index: Path, tmp_path: Path) -> None:
    """What the environment has itself hides the system's distribution of the same name."""
    base = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", base], check=True)
    (site,) = base.glob("lib/python*/site-packages")
    system = tmp_path / "dist-packages"
    system.mkdir()
    (site / "system.pth").write_text(f"{system}\n")  # as site.py adds the system's own folders
    install(system, "nixl_cu13", record_line("nixl/x.py", b"13"))
    wheel = str(next(index.rglob("nixl_cu12*.whl")))
    words = ["conflicts", "--json", "--installed", str(base / "bin" / "python"), wheel]
    assert conflicts(place.run(*words)) == CONFLICT
    install(site, "nixl_cu13", record_line("nixl/y.py", b"13"))
    assert conflicts(place.run(*words)) == []
