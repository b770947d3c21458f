"""Stand-ins are the same repositories everywhere, have upstream's shape and say what they are."""

import os
import tomllib
from pathlib import Path

import pytest

from tests.standins.make import HISTORIES, PATCHES, Repository, git, make_repository

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


def test_the_patch_of_the_default_changes_one_word(made: dict[str, Repository]) -> None:
    patch = (PATCHES / "mooncake" / "peermem-default-off.patch").read_text()
    removed, added = (
        next(line[1:] for line in patch.splitlines() if line.startswith(sign + "static"))
        for sign in "-+"
    )
    assert removed.replace("true", "false") == added
    source = text(made["mooncake"].path, "v0.3.14", "mooncake-common/src/environ.cpp")
    assert source.count(removed) == 1
