"""Git sources from real repositories in folders: nothing that upstream wrote is run or believed."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kvpack.errors import (
    ArchiveUnsafe,
    DigestMismatch,
    KvpackError,
    OfflineMissing,
    PatchFailed,
    SourceUnreachable,
    UsageError,
)
from kvpack.fetch.dirty import export_working_tree
from kvpack.fetch.git import GitSources
from kvpack.fetch.gitplaces import GitPlaces
from kvpack.fetch.model import ChangeWanted, GitRepository, GitWanted
from kvpack.report import Silent
from kvpack.tools.git import Git
from kvpack.tools.store import Store
from tests.gitserver import PATH, WHEN, Repository, served

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
NOWHERE = "https://git.invalid/main.git"


@pytest.fixture(autouse=True)
def _with_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about git itself; all else of the machine stays hidden."""
    monkeypatch.setenv("PATH", PATH)


class World:
    """An upstream, a store, and what fetches from the one into the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = Repository(folder / "main")
        self.store = Store(folder / "store")

    def sources(self, *, offline: bool = False, **supplied: str) -> GitSources:
        places = GitPlaces(supplied=supplied)
        return GitSources(self.store, places, Silent(), offline=offline)

    def repository(self, *mirrors: str, git: str = "") -> GitRepository:
        url = git or self.upstream.folder.as_uri()
        return GitRepository(name="tiny", label="tiny 1.0", git=url, mirrors=mirrors)

    def files(self, sha256: str) -> dict[str, str]:
        with tarfile.open(self.store.blob_path(sha256)) as tar:
            return {
                info.name.removeprefix("source/"): tar.extractfile(info).read().decode()  # type: ignore[union-attr]  # a file
                for info in tar
                if info.isreg()
            }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_annotated_tag_is_its_commit_and_nothing_is_filtered(world: World) -> None:
    attributes = "* export-subst export-ignore eol=crlf ident filter=evil\n"
    files = {".gitattributes": attributes, "a/x.txt": "$Format:%H$ $Id$\n", "run": "#!/bin/sh\n"}
    commit = world.upstream.commit(files, tag="v1")
    world.upstream.git("tag", "light")
    sources = world.sources()
    assert sources.commit_of(world.repository(), "refs/tags/v1") == commit
    assert sources.commit_of(world.repository(), "refs/tags/light") == commit
    assert sources.commit_of(world.repository(), "refs/tags/v2") is None
    assert sources.commit_of(world.repository(), "refs/tags/main", "refs/heads/main") == commit
    found = sources.tree(world.repository(), commit)
    assert (found.epoch, found.tree) == (WHEN, world.upstream.git("rev-parse", "HEAD^{tree}"))
    assert world.files(found.sha256) == files
    world.upstream.folder.rename(world.folder / "gone")
    assert world.sources(offline=True).tree(world.repository(), commit) == found


def test_a_place_answers_only_for_a_commit_that_it_has(world: World) -> None:
    world.upstream.commit({"x": "other\n"})
    mirror = Repository(world.folder / "mirror")
    commit = mirror.commit({"x": "wanted\n"})
    mirror.commit({"x": "newer\n"})  # not the tip of any branch: fetched by its hash
    repository = world.repository((world.folder / "none").as_uri(), mirror.folder.as_uri())
    assert world.files(world.sources().tree(repository, commit).sha256) == {"x": "wanted\n"}


def test_over_http_the_next_place_answers_where_one_has_nothing(world: World) -> None:
    commit = world.upstream.commit({"x": "1\n"}, tag="v1")
    sub = Repository(world.folder / "sub")
    world.upstream.link("extern/sub", sub.commit({"s": "sub\n"}), "../sub")
    world.upstream.git("add", ".gitmodules")
    world.upstream.git("commit", "--quiet", "--message=x")
    with served(world.folder) as base:
        repository = world.repository(f"{base}/main", git=f"{base}/none/main")
        assert world.sources().commit_of(repository, "refs/tags/v1") == commit
        found = world.sources().tree(repository, world.upstream.head, submodules=True)
    assert world.files(found.sha256)["extern/sub/s"] == "sub\n"
    assert found.submodules[0].url == f"{base}/none/sub"


def test_one_message_names_every_place_and_why_it_failed(world: World) -> None:
    world.upstream.commit({"x": "1\n"})
    missing = (world.folder / "none").as_uri()
    with pytest.raises(SourceUnreachable) as caught:
        world.sources().tree(world.repository(missing), "1" * 40)
    error = caught.value
    assert error.exit_code == 37
    assert error.what == f"tiny 1.0: commit {'1' * 40} could not be had from any of 2 places"
    assert [fault.place for fault in error.faults] == [world.upstream.folder.as_uri(), missing]
    assert "not our ref" in error.faults[0].message or "has no commit" in error.faults[0].message
    assert "does not appear to be a git repository" in error.faults[1].message
    assert "--source tiny=PATH_OR_URL" in error.hint
    assert "[registries.git.mirrors]" in error.hint


def test_a_source_of_the_command_line_must_have_the_commit(world: World) -> None:
    commit = world.upstream.commit({"x": "1\n"})
    world.upstream.commit({"x": "2\n"})
    world.upstream.write({"x": "dirty\n"})  # neither HEAD nor the working tree count
    repository = world.repository(git=NOWHERE)
    sources = world.sources(tiny=world.upstream.folder.as_uri(), offline=True)
    assert world.files(sources.tree(repository, commit).sha256) == {"x": "1\n"}
    with pytest.raises(SourceUnreachable) as caught:
        world.sources(tiny=world.upstream.folder.as_uri()).tree(repository, "2" * 40)
    assert caught.value.what == (
        f"tiny 1.0: {world.upstream.folder.as_uri()} does not give commit {'2' * 40}"
    )


def test_offline_asks_nobody(world: World) -> None:
    with pytest.raises(OfflineMissing) as caught:
        world.sources(offline=True).tree(world.repository(git=NOWHERE), "1" * 40)
    assert [fault.message for fault in caught.value.faults] == ["--offline forbids to ask it"]


# -- submodules -------------------------------------------------------------------------------


def test_submodules_within_submodules(world: World) -> None:
    inner, outer = Repository(world.folder / "inner"), Repository(world.folder / "outer")
    first = inner.commit({"i": "inner\n"})
    outer.write({"o": "outer\n"})
    outer.link("deep/inner", first, "../inner")
    outer.git("add", "o", ".gitmodules")
    outer.git("commit", "--quiet", "--message=x")
    world.upstream.link("extern/outer", outer.head, "../outer")
    world.upstream.git("add", ".gitmodules")
    world.upstream.git("commit", "--quiet", "--message=x")
    commit = world.upstream.head
    found = world.sources().tree(world.repository(), commit, submodules=True)
    assert [(one.path, one.commit) for one in found.submodules] == [
        ("extern/outer", outer.head),
        ("extern/outer/deep/inner", first),
    ]
    assert found.submodules[0].url == outer.folder.as_uri()
    files = world.files(found.sha256)
    assert files["extern/outer/deep/inner/i"] == "inner\n"
    plain = world.sources().tree(world.repository(), commit)
    assert plain.sha256 != found.sha256
    assert set(world.files(plain.sha256)) == {".gitmodules"}


def test_a_clone_with_its_submodules_is_enough(world: World) -> None:
    """The submodule's own upstream need not be there: the clone holds it."""
    inner = world.upstream.folder / "extern" / "sub"
    sub = Repository(inner)
    commit = sub.commit({"s": "sub\n"})
    world.upstream.link("extern/sub", commit, "https://git.invalid/sub.git")
    world.upstream.git("add", ".gitmodules")
    world.upstream.git("commit", "--quiet", "--message=x")
    sources = world.sources(tiny=world.upstream.folder.as_uri())
    found = sources.tree(world.repository(git=NOWHERE), world.upstream.head, submodules=True)
    assert world.files(found.sha256)["extern/sub/s"] == "sub\n"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("--upload-pack=touch PWNED", "an option"),
        ("-u./payload", "an option"),
        ("ext::sh -c 'touch PWNED'", "is refused"),
        ("file:///etc", "'file' is not allowed"),
    ],
)
def test_a_hostile_submodule_is_refused_and_nothing_runs(
    world: World, url: str, words: str
) -> None:
    world.upstream.link("extern/sub", "5" * 40, f'"{url}"')
    world.upstream.git("add", ".gitmodules")
    world.upstream.git("commit", "--quiet", "--message=x")
    with pytest.raises(ArchiveUnsafe, match="was refused: 1 fault") as caught:
        world.sources().tree(world.repository(), world.upstream.head, submodules=True)
    (fault,) = caught.value.faults
    assert fault.place == "extern/sub"
    assert words in fault.message
    assert not list(world.folder.rglob("PWNED"))


def test_a_submodule_without_a_url(world: World) -> None:
    world.upstream.link("extern/sub", "5" * 40, "../x")
    world.upstream.git("commit", "--quiet", "--message=x")  # without .gitmodules
    with pytest.raises(ArchiveUnsafe) as caught:
        world.sources().tree(world.repository(), world.upstream.head, submodules=True)
    assert caught.value.faults[0].message == "it has no URL in .gitmodules"


# -- what is refused, and what does not run -----------------------------------------------------


def test_lfs_pointers_and_links_that_lead_out_are_all_told(world: World) -> None:
    world.upstream.write({"weights.bin": POINTER, "x": "1\n"})
    (world.upstream.folder / "out").symlink_to("../../etc/passwd")
    commit = world.upstream.commit()
    with pytest.raises(ArchiveUnsafe, match="2 faults") as caught:
        world.sources().tree(world.repository(), commit)
    told = {fault.place.rpartition(": ")[2]: fault.message for fault in caught.value.faults}
    assert "a pointer of Git LFS" in told["'weights.bin'"]
    assert "leads out" in told["'out'"]
    assert list(world.store.blobs()) == []


def test_hooks_and_configuration_do_not_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of upstream's clone, nor the user's own."""
    mark = world.folder / "PWNED"
    commit = world.upstream.commit({".gitattributes": "* filter=evil diff=evil\n", "x": "1\n"})
    evil = f"touch {mark}"
    for name in ("post-checkout", "reference-transaction", "post-upload-pack", "pre-auto-gc"):
        hook = world.upstream.folder / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{evil}\n")
        hook.chmod(0o755)
    text = "\n".join([
        f'[core]\n fsmonitor = "{evil}; false"\n sshCommand = {evil}\n hooksPath = .git/hooks',
        f'[filter "evil"]\n smudge = {evil}\n clean = {evil}\n[diff "evil"]\n textconv = {evil}',
        f'[credential]\n helper = "!{evil}"\n[uploadpack]\n packObjectsHook = {evil}',
    ])  # fmt: skip
    with (world.upstream.folder / ".git" / "config").open("a") as config:
        config.write(text)
    home = world.folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(text)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", evil)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", evil)
    sources = world.sources()
    found = sources.tree(world.repository(), commit)
    sources.change(world.repository(), commit)
    world.upstream.folder.joinpath("x").write_text("2\n")
    export_working_tree(world.upstream.folder, world.store, Silent(), epoch=WHEN, submodules=False)
    assert world.files(found.sha256)["x"] == "1\n"
    assert not mark.exists()


def test_git_asks_nobody_for_a_password_and_uses_only_the_transport_of_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_SSH_COMMAND", "SSH_ASKPASS", "GIT_PROXY_COMMAND"):
        monkeypatch.setenv(name, "evil")
    environment = Git(tmp_path / "git", Silent()).environment("https")
    assert environment["GIT_TERMINAL_PROMPT"] == "0"
    assert environment["GIT_ASKPASS"] == ""
    assert environment["GIT_ALLOW_PROTOCOL"] == "https"
    assert not {"GIT_DIR", "SSH_ASKPASS", "GIT_PROXY_COMMAND"} & environment.keys()
    assert "BatchMode=yes" in environment["GIT_SSH_COMMAND"]


# -- changes ------------------------------------------------------------------------------------


def test_what_a_commit_changed_is_one_text(world: World) -> None:
    world.upstream.commit({"x.c": "int main()\n{\n" + "a\n" * 9 + "b\n"})
    fix = world.upstream.commit({"x.c": "int main()\n{\n" + "a\n" * 9 + "B\n", "new": "n\n"})
    sources = world.sources()
    sha256 = sources.change(world.repository(), fix)
    text = world.store.read(sha256).decode()
    assert text.startswith(f"From {fix}\n\ndiff --git a/new b/new\nnew file mode 100644\n")
    assert "\n@@ -9,4 +9,4 @@\n" in text
    wanted = ChangeWanted(repository=world.repository(), commit=fix, sha256=sha256)
    world.store.blob_path(sha256).unlink()
    sources.supply(wanted)
    assert world.store.read(sha256).decode() == text
    with pytest.raises(DigestMismatch, match="the lock says"):
        sources.supply(wanted.model_copy(update={"sha256": "0" * 64}))


def test_a_commit_that_changes_a_binary_file_is_no_patch(world: World) -> None:
    world.upstream.commit({"x": "1\n"})
    commit = world.upstream.commit({"blob": bytes(range(256))})
    with pytest.raises(PatchFailed) as caught:
        world.sources().change(world.repository(), commit)
    assert [(f.place, f.message) for f in caught.value.faults] == [
        ("blob", "a binary file changes")
    ]


def test_a_lock_with_other_bytes_than_the_commit(world: World) -> None:
    commit = world.upstream.commit({"x": "1\n"})
    wanted = GitWanted(repository=world.repository(), commit=commit, sha256="0" * 64)
    with pytest.raises(DigestMismatch, match=f"commit {commit} gives sha256"):
        world.sources().supply(wanted)


# -- working trees ------------------------------------------------------------------------------


def test_a_working_tree_is_what_lies_there_and_is_not_ignored(world: World) -> None:
    world.upstream.commit({".gitignore": "*.o\n", "kept": "1\n", "gone": "1\n"})
    world.upstream.write({"kept": "2\n", "new": "3\n", "x.o": "object\n"})
    (world.upstream.folder / "gone").unlink()
    sha256, size = export_working_tree(
        world.upstream.folder, world.store, Silent(), epoch=WHEN, submodules=False
    )
    assert world.files(sha256) == {".gitignore": "*.o\n", "kept": "2\n", "new": "3\n"}
    assert size == world.store.blob_path(sha256).stat().st_size


def _plain(world: World) -> None:
    folder = world.folder / "plain"
    folder.mkdir()
    export_working_tree(folder, world.store, Silent(), epoch=WHEN, submodules=False)


def _pointer(world: World) -> None:
    world.upstream.write({"weights.bin": POINTER})
    export_working_tree(world.upstream.folder, world.store, Silent(), epoch=WHEN, submodules=False)


@pytest.mark.parametrize(
    ("export", "kind", "words"),
    [(_plain, UsageError, "is not a git clone"), (_pointer, ArchiveUnsafe, "was refused")],
)
def test_working_trees_that_are_not_taken(
    world: World, export: Callable[[World], None], kind: type[KvpackError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        export(world)
