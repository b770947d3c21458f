"""Stand-ins are the same repositories everywhere, have upstream's shape and say what they are."""

import configparser
import hashlib
import os
import tomllib
from pathlib import Path

import pytest

from tests.standins.archives import make_archive
from tests.standins.make import HERE, HISTORIES, Repository, git, make_repository

PATCHES = Path(__file__).parents[2] / "patches"
NAMES = ["mooncake", "nixl", "ucx", "mori"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Repository]:
    folder = tmp_path_factory.mktemp("forge")
    return {name: make_repository(name, folder) for name in NAMES}


def tree(bare: Path, commit: str) -> dict[str, tuple[str, str]]:
    """Path -> mode and object."""
    rows = (line.split("\t") for line in git(bare, "ls-tree", "-r", commit).splitlines())
    return {path: (words.split()[0], words.split()[2]) for words, path in rows}


def text(bare: Path, commit: str, path: str) -> str:
    return git(bare, "cat-file", "blob", f"{commit}:{path}")


def test_every_repository_is_made(made: dict[str, Repository]) -> None:
    inside = [one.name for repository in made.values() for one in repository.submodules.values()]
    assert sorted([*made, *inside]) == sorted(HISTORIES)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_hashes_everywhere(
    name: str, made: dict[str, Repository], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Other\n\temail = o@example.org\n[core]\n\tautocrlf = true\n"
        "[init]\n\tdefaultBranch = trunk\n\tdefaultObjectFormat = sha256\n"
    )
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Other")
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        there = make_repository(name, tmp_path / "there")
    finally:
        os.umask(before)
    assert (there.commits, there.tags) == (made[name].commits, made[name].tags)
    assert make_repository(name, tmp_path / "there").commits == there.commits


@pytest.mark.parametrize("name", NAMES)
def test_every_tree_says_that_it_is_a_stand_in(name: str, made: dict[str, Repository]) -> None:
    repository = made[name]
    for one in (repository, *repository.submodules.values()):
        for commit in one.commits.values():
            assert text(one.path, commit, "README.md").startswith("# Stand-in for ")


@pytest.mark.parametrize(
    ("name", "path"),
    [("mooncake", "mooncake-wheel/pyproject.toml"), ("nixl", "pyproject.toml"),
     ("nixl", "src/bindings/python/nixl-meta/pyproject.toml.in"), ("mori", "pyproject.toml")],
)  # fmt: skip
def test_every_wheel_says_that_it_is_a_stand_in(
    name: str, path: str, made: dict[str, Repository]
) -> None:
    """And cannot be uploaded: PyPI refuses what is classified so."""
    for tag in made[name].tags:
        source = text(made[name].path, tag, path).replace("[@DEPENDENCIES@]", "[]")
        project = tomllib.loads(source)["project"]
        assert project["description"].startswith("stand-in for ")
        assert project["classifiers"] == ["Private :: Do Not Upload"]


@pytest.mark.parametrize("name", ["mooncake", "mori"])
def test_submodules_are_at_the_commits_that_were_made(
    name: str, made: dict[str, Repository]
) -> None:
    one = made[name]
    for tag in one.tags:
        rows = tree(one.path, tag).items()
        found = {path: oid for path, (mode, oid) in rows if mode == "160000"}
        absent = next(
            c.get("without", ()) for c in HISTORIES[name]["commits"] if c.get("tag") == tag
        )
        wanted = {p: inner for p, inner in one.submodules.items() if p not in absent}
        assert found == {path: inner.head for path, inner in wanted.items()}
        urls = [row.split()[-1] for row in text(one.path, tag, ".gitmodules").splitlines()]
        relative = [url for url in urls if url.startswith("../")]
        resolved = {os.path.normpath(f"{one.path}/{url}") for url in relative}
        assert resolved == {str(inner.path) for inner in wanted.values()}


def test_scripts_can_be_run(made: dict[str, Repository]) -> None:
    mooncake = made["mooncake"]
    for tag in mooncake.tags:
        modes = {path: mode for path, (mode, _) in tree(mooncake.path, tag).items()}
        assert modes["scripts/build_wheel.sh"] == "100755"
        assert modes["CMakeLists.txt"] == "100644"


def test_the_fix_is_one_commit_of_upstreams_own_history(made: dict[str, Repository]) -> None:
    """It is after the tag, has another parent, and applies to the tag as it is."""
    bare, fix = made["mooncake"].path, made["mooncake"].commits["address-range"]
    (changed,) = git(bare, "diff-tree", "-r", "--name-only", f"{fix}^", fix).splitlines()
    released = made["mooncake"].tags["v0.3.10.post2"]
    assert git(bare, "rev-parse", f"{fix}^").strip() != released
    assert text(bare, f"{fix}^", changed) == text(bare, released, changed)
    assert "cuMemGetAddressRange(" not in text(bare, released, changed)
    assert "cuMemGetAddressRange(" in text(bare, "v0.3.14", changed)


def test_the_option_went_away(made: dict[str, Repository]) -> None:
    bare, path = made["mooncake"].path, "mooncake-common/common.cmake"
    assert "option(WITH_NVIDIA_PEERMEM" in text(bare, "v0.3.10.post2", path)
    assert "WITH_NVIDIA_PEERMEM" not in text(bare, "v0.3.14", path)


@pytest.mark.parametrize(("said", "then"), [(None, "0"), ("1", "1"), ("", "")])
def test_the_patch_of_the_default_only_adds_a_default(
    made: dict[str, Repository], monkeypatch: pytest.MonkeyPatch, said: str | None, then: str
) -> None:
    """One empty line and one import around it are all that it needs of the source."""
    patch = (PATCHES / "mooncake" / "peermem-default.patch").read_text()
    hunk = patch[patch.index("\n@@ ") + 1 :].splitlines()[1:]
    source = text(made["mooncake"].path, "v0.3.14", "mooncake-wheel/mooncake/__init__.py")
    assert [line for line in hunk if not line.startswith("+")] == [
        " ",
        " from pkgutil import extend_path",
    ]
    assert source.count("\n\nfrom pkgutil import extend_path\n") == 1
    monkeypatch.setenv("WITH_NVIDIA_PEERMEM", "" if said is None else said)
    if said is None:
        monkeypatch.delenv("WITH_NVIDIA_PEERMEM")
    exec("\n".join(line[1:] for line in hunk), {})  # noqa: S102  # our own text
    assert os.environ["WITH_NVIDIA_PEERMEM"] == then


def test_the_archive_of_a_subproject_is_the_one_that_is_named() -> None:
    wrap = configparser.ConfigParser()
    wrap.read(HERE / "nixl" / "1.5.1" / "subprojects" / "taskflow.wrap")
    file, data = make_archive("taskflow", "3.10.0")
    assert wrap["wrap-file"]["source_filename"] == file
    assert wrap["wrap-file"]["source_hash"] == hashlib.sha256(data).hexdigest()
