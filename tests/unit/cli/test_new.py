"""``kvpack new``: drafts from an index that lies beside, from files, and what it refuses."""

import io
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack import errors
from kvpack.recipe.catalogue import find_catalogue
from kvpack.recipe.load import load_recipe
from kvpack.recipe.model import Recipe
from tests.unit.audit.wheels import Wheel, record_line
from tests.unit.cli.face import Answer, Place

PYPROJECT = """\
[build-system]
requires = ["scikit-build-core"]
build-backend = "scikit_build_core.build"
[project]
name = "zap"
version = "1.2"
description = "Zaps"
license = "MIT"
requires-python = ">=3.10"
"""
TREE = {
    "pyproject.toml": PYPROJECT,
    "PKG-INFO": "Metadata-Version: 2.4\nName: zap\nVersion: 1.2\n",
    "CMakeLists.txt": 'option(ZAP_FAST "be fast" ON)\n',
    "src/zap.c": "#include <numa.h>\n",
}


def sdist(folder: Path, files: Mapping[str, str] = TREE, name: str = "zap-1.2") -> Path:
    """An sdist with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for place, text in files.items():
            info = tarfile.TarInfo(f"{name}/{place}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def wheel(folder: Path, tag: str, *names: str) -> None:
    """A published wheel that installs these files."""
    folder.mkdir(exist_ok=True)
    files = dict.fromkeys(names, b"x")
    Wheel(
        filename=f"zap-1.2-{tag}.whl",
        files=files,
        dist_info="zap-1.2.dist-info",
        record="".join(record_line(path, data) for path, data in files.items()),
    ).write(folder)


@pytest.fixture
def index(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only index: zap has an sdist and a wheel. There is no pip: asking it takes a while."""
    monkeypatch.setattr(sys, "executable", "")
    root = place.folder / "index"
    sdist(root / "zap")
    names = ("zap/__init__.py", "_zap.cpython-311-x86_64-linux-gnu.so", "include/zap.h")
    wheel(root / "zap", "cp311-cp311-manylinux_2_28_x86_64", *names)
    place.use(root)
    return root


def drafted(place: Place, answer: Answer, name: str = "zap") -> Recipe:
    """The recipe that was written; it loads."""
    assert answer.code == 0, answer.err
    return load_recipe(find_catalogue(place.root), name)


def files_of(place: Place) -> list[str]:
    return sorted(path.relative_to(place.root).as_posix() for path in place.root.rglob("*"))


def test_a_draft_of_the_newest_sdist(place: Place, index: Path) -> None:
    sdist(index / "zap", TREE, "zap-1.1")
    sdist(index / "zap", TREE, "zap-2.0rc1")
    answer = place.run("new", "zap")
    recipe = drafted(place, answer)
    assert (recipe.default_version, recipe.license, recipe.summary) == ("1.2", "MIT", "Zaps")
    assert recipe.distribution.owns == ("_zap", "zap")
    assert recipe.audit.imports == ("zap",)
    assert recipe.build.requires == ("cmake", "ninja")
    assert recipe.build.debian == ("libnuma-dev",)
    assert recipe.audit.host_libraries == ("libnuma.so.1",)
    assert recipe.targets.python == ("3.11", "3.13")
    text = (place.root / "recipes" / "zap.toml").read_text()
    assert "#[options.zap-fast]" in text
    assert "RECORD of\n# zap-1.2-cp311-cp311-manylinux_2_28_x86_64.whl" in text
    for said in ("libnuma-dev, a guess: #include <numa.h> in src/zap.c", "installs include",
                 "kvpack lock zap", "kvpack check zap", "kvpack build zap"):  # fmt: skip
        assert said in answer.out


def test_nothing_but_the_lock_is_missing_after_it(place: Place, index: Path) -> None:
    assert index.is_dir()
    drafted(place, place.run("new", "zap"))
    answer = place.run("check", "zap")
    assert answer.code == errors.LockMissing.exit_code
    assert "kvpack lock zap" in answer.err


def test_the_json_twin(place: Place, index: Path) -> None:
    assert index.is_dir()
    document = place.run("--json", "new", "zippy", "--sdist", "zap==1.2").json
    assert document["kind"] == "new"
    assert document["file"] == "recipes/zippy.toml"
    assert document["default-version"] == "1.2"
    assert set(document["guesses"]) == {"libnuma-dev"}
    assert set(document["requires"]) == {"cmake", "ninja"}
    assert load_recipe(find_catalogue(place.root), "zippy").distribution.cpu == "zap"


def test_a_catalogue_is_made_where_there_is_none(
    place: Place, index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir()
    (folder / "kvpack.toml").write_bytes((place.root / "kvpack.toml").read_bytes())
    monkeypatch.chdir(folder)
    answer = place.run("new", "zap")
    assert answer.code == 0, answer.err
    assert "becomes a catalogue" in answer.err
    assert load_recipe(find_catalogue(folder), "zap").default_version == "1.2"
    assert index.is_dir()


def test_a_file_needs_no_index(place: Place, tmp_path: Path) -> None:
    path = sdist(tmp_path / "elsewhere")
    recipe = drafted(place, place.run("--offline", "new", "zap", "--sdist", str(path)))
    assert recipe.distribution.owns == ("zap",)
    assert "guess: the project's name" in (place.root / "recipes" / "zap.toml").read_text()


def test_a_file_that_the_index_lacks_is_told(place: Place, index: Path, tmp_path: Path) -> None:
    path = sdist(tmp_path / "elsewhere", name="zap-7.0")
    answer = place.run("new", "zap", "--sdist", str(path))
    drafted(place, answer)
    assert "zap-7.0.tar.gz is not on this machine's index" in answer.out
    assert index.is_dir()


def test_an_sdist_stands_for_a_repository(place: Place, index: Path) -> None:
    """The facts are the sdist's, the source is the tag: nothing is asked of the repository."""
    url = "https://example.invalid/zap.git"
    words = ("new", "zap", "--sdist", "zap", "--git", url, "--tag", "v1.2")
    recipe = drafted(place, place.run(*words))
    source = recipe.versions["1.2"].source
    assert source.as_json()["git"] == url
    assert source.as_json()["tag"] == "v1.2"
    assert index.is_dir()


def test_a_source_without_pyproject_is_setuptools(place: Place, index: Path) -> None:
    (index / "zap" / "zap-1.2.tar.gz").unlink()
    sdist(index / "zap", {"setup.py": "import setuptools", "zap.c": ""})
    answer = place.run("new", "zap")
    assert "it has no pyproject.toml: it is built by setuptools" in answer.out
    drafted(place, answer)


def test_pure_python_is_told(place: Place, index: Path) -> None:
    for path in (index / "zap").iterdir():
        path.unlink()
    sdist(index / "zap", {"pyproject.toml": PYPROJECT, "zap/__init__.py": ""})
    wheel(index / "zap", "py3-none-any", "zap/__init__.py")
    assert "its published wheel is pure Python" in place.run("new", "zap").out


def test_what_people_wrote_is_not_replaced(place: Place, index: Path) -> None:
    before = place.tiny.recipe_file.read_bytes()
    answer = place.run("new", "tiny", "--sdist", "zap")
    assert answer.code == errors.UsageError.exit_code
    assert "--force" in answer.err
    assert place.tiny.recipe_file.read_bytes() == before
    assert place.run("new", "tiny", "--sdist", "zap", "--force").code == 0
    assert load_recipe(find_catalogue(place.root), "tiny").distribution.cpu == "zap"
    assert index.is_dir()


REFUSED = {
    "a bad name": ("new Zap_Tool", errors.UsageError, "kvpack new zap-tool"),
    "an unknown project": ("new zapp", errors.FetchFailed, "--sdist PROJECT"),
    "an unknown version": ("new zap --sdist zap==9", errors.ResolutionFailed, "sdists there: 1.2"),
    "no version": ("new zap --sdist zap==x", errors.UsageError, "PEP 440"),
    "no requirement": ("new zap --sdist zap>=1", errors.UsageError, "zstandard==0.25.0"),
    "only binaries": ("new zap --sdist bin", errors.ResolutionFailed, "only 1 wheels"),
    "no such file": ("new zap --sdist ./zap.zip", errors.UsageError, "no such file"),
    "a file of another name": ("new zap --sdist {other}", errors.UsageError, "PEP 625"),
    "no Python project": ("new zap --sdist {bare}", errors.ResolutionFailed, "its top holds: a.c"),
    "no version in it": ("new zap --sdist {odd}", errors.ResolutionFailed, "pyproject.toml"),
    "a damaged file": ("new zap --sdist {cut}", errors.ArchiveUnsafe, "damaged or cut"),
    "no Python": ("new zap --sdist {old}", errors.TargetUnavailable, "debian-bookworm: 3.11"),
    "a tag alone": ("new zap --tag v1", errors.UsageError, "go together"),
    "no URL": ("new zap --git zap --tag v1", errors.UsageError, "not a URL"),
    "offline": ("--offline new zap", errors.UsageError, "--sdist FILE.tar.gz"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_advice_and_nothing_written(
    place: Place, index: Path, tmp_path: Path, name: str
) -> None:
    line, error, says = REFUSED[name]
    wheel(index / "bin", "cp311-cp311-manylinux_2_28_x86_64", "zap/__init__.py")
    folder = tmp_path / "files"
    whole = sdist(folder).read_bytes()
    files = {
        "other": folder / "zap.tar.gz",
        "bare": sdist(folder, {"a.c": ""}, "bare-1.0"),
        "odd": sdist(folder, {"pyproject.toml": "[build-system]\nrequires = 3"}, "odd-1.0"),
        "cut": folder / "cut-1.0.tar.gz",
        "old": sdist(folder, {"pyproject.toml": PYPROJECT.replace(">=3.10", "<3")}, "old-1.0"),
    }
    files["other"].write_bytes(whole)
    files["cut"].write_bytes(whole[:-20])
    before = files_of(place)
    answer = place.run(*line.format_map(files).split())
    assert answer.code == error.exit_code, answer.err
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert files_of(place) == before
