"""Locks of git and archive sources: whole, not reached, and what counts as drift."""

import pytest

from kvpack.errors import LockDrift, LockMissing, ResolutionFailed, SourceUnreachable
from kvpack.lock.check import Slicer, check, drift
from kvpack.lock.diff import differences
from kvpack.lock.file import dump, parse
from kvpack.lock.model import Lock
from kvpack.lock.source import LockedArchive, LockedGit, LockedPatch, PendingArchive, PendingGit
from kvpack.names import Arch
from kvpack.recipe.expand import matrix
from kvpack.recipe.model import Recipe, Target
from kvpack.tools.files import sha256_of
from tests.unit.catalogues import PATCH, ROOTS, TINY, lock_of, recipe_of
from tests.unit.lock.outside import SUB, Outside

ONE, TWO, FIX = "1" * 40, "2" * 40, "f" * 40
URL = "https://git.example/tiny.git"
GIT = f'{{ git = "{URL}", tag = "v1", submodules = true }}'
ARCHIVE = f'{{ archive = "https://files.example/tiny.tar.gz", sha256 = "{"a" * 64}" }}'


def recipe_with(source: str, *more: tuple[str, str]) -> Recipe:
    """The tiny recipe with one version, one source, and a commit as its first patch."""
    text = TINY.replace('{ sdist = "tiny" }', source, 1)
    text = text[: text.index('[versions."2.0rc1"]')] + text[text.index("[targets]") :]
    if "git" in source:
        text = text.replace('file = "first.patch"', f'commit = "{FIX}"')
    for old, new in more:
        assert old in text
        text = text.replace(old, new)
    return recipe_of(text)


def reached(**tags: str) -> Outside:
    return Outside(tags=tags or {"v1": ONE})


def target(recipe: Recipe) -> Target:
    return next(
        found
        for found in matrix(recipe, ROOTS, "1.0")
        if (found.python, found.glibc, found.arch, found.accelerator)
        == ("3.11", "2.36", Arch.X86_64, "cpu")
    )


def messages(recipe: Recipe, lock: Lock) -> list[str]:
    found = drift(recipe, ROOTS, lock, "lock", lambda _file: sha256_of(PATCH))
    return [fault.message for fault in found]


def test_a_tag_is_locked_to_its_commit_tree_and_bytes() -> None:
    recipe = recipe_with(GIT)
    lock = lock_of(recipe, reached())
    (source,) = lock.source
    assert isinstance(source, LockedGit)
    assert (source.commit, source.tag, source.epoch) == (ONE, "v1", 1_650_000_000)
    assert source.build_requires == ("backend>=1",)
    assert [(one.path, one.commit) for one in source.submodule] == [("extern/sub", SUB)]
    assert isinstance(lock.patches[0], LockedPatch)
    assert (lock.patches[0].commit, lock.patches[0].file) == (FIX, None)
    assert not [reason for reason in lock.incomplete if "accelerator" not in reason]
    assert messages(recipe, lock) == []
    inputs = Slicer(recipe, lock).inputs(target(recipe))
    assert inputs.source == source
    assert [patch.name for patch in inputs.patches] == [f"{FIX}.patch", "second.patch"]


def test_the_text_of_such_a_lock_is_canonical() -> None:
    for outside in (reached(), Outside()):
        lock = lock_of(recipe_with(GIT), outside)
        assert parse(dump(lock).encode(), "lock/tiny.toml") == lock
        assert dump(lock_of(recipe_with(GIT), outside)) == dump(lock)


def test_an_upstream_that_does_not_answer_leaves_what_is_known() -> None:
    recipe, outside = recipe_with(GIT), Outside()
    lock = lock_of(recipe, outside)
    assert lock.source == (PendingGit(version="1.0", git=URL, tag="v1", submodules=True),)
    assert lock.incomplete == (
        "source of tiny 1.0: the commit of tag v1 is not known (upstream unreachable)",
        "patch first: commit known, change not fetched (upstream unreachable)",
    )
    assert [closure.use for closure in lock.closure if closure.version] == []
    assert {root.id for root in lock.root} == {"debian-bookworm", "debian-trixie"}
    assert [line for line in outside.asked if "git" in line or "tag" in line] == [
        "tag v1 of tiny 1.0"  # asked once: not again for the patch
    ]
    check(recipe, ROOTS, lock, "lock", lambda _file: sha256_of(PATCH))


def test_nothing_is_built_from_a_source_that_was_not_reached() -> None:
    recipe = recipe_with(GIT)
    slicer = Slicer(recipe, lock_of(recipe, Outside()))
    assert "tag v1 is not known" in slicer.pending("1.0")
    with pytest.raises(LockMissing, match="its source is not pinned") as caught:
        slicer.inputs(target(recipe))
    assert caught.value.cause == slicer.pending("1.0")
    assert "--source tiny=PATH_OR_URL" in caught.value.hint


def test_a_commit_beside_the_tag_is_known_without_upstream() -> None:
    recipe = recipe_with(GIT.replace('"v1"', f'"v1", commit = "{ONE}"'))
    lock = lock_of(recipe, Outside())
    assert (
        "source of tiny 1.0: commit known, tree not fetched (upstream unreachable)"
        in lock.incomplete
    )
    assert messages(recipe, lock) == []


def test_a_later_lock_completes_it() -> None:
    recipe = recipe_with(GIT)
    old = lock_of(recipe, Outside())
    new = lock_of(recipe, reached(), old=old)
    assert isinstance(new.source[0], LockedGit)
    found = {(change.kind, change.name): change for change in differences(old, new)}
    assert found["source", "1.0"].before == f"{URL} v1 (not fetched)"
    assert found["source", "1.0"].after.startswith(f"{URL} {ONE[:12]} ")
    assert found["patch", "first"].before == f"{FIX[:12]} (not fetched)"


def test_what_is_locked_stays_when_the_tag_moves_or_upstream_goes() -> None:
    recipe = recipe_with(GIT)
    old = lock_of(recipe, reached())
    for outside in (reached(v1=TWO), Outside()):
        assert lock_of(recipe, outside, old=old) == old
        assert outside.asked == []


def test_an_upgraded_source_follows_its_tag() -> None:
    recipe = recipe_with(GIT)
    old = lock_of(recipe, reached())
    (source,) = lock_of(recipe, reached(v1=TWO), old=old, upgrade="source").source
    assert isinstance(source, LockedGit)
    assert source.commit == TWO


def test_an_upgrade_that_reaches_nobody_gives_nothing_up() -> None:
    recipe = recipe_with(GIT)
    old = lock_of(recipe, reached())
    with pytest.raises(SourceUnreachable, match=r"tiny 1\.0 could not be had"):
        lock_of(recipe, Outside(), old=old, upgrade="source")


def test_a_tag_that_is_not_the_commit_of_the_recipe() -> None:
    recipe = recipe_with(GIT.replace('"v1"', f'"v1", commit = "{TWO}"'))
    with pytest.raises(ResolutionFailed, match=f"tag v1 is commit {ONE}, the recipe says {TWO}"):
        lock_of(recipe, reached())


def test_a_tag_that_does_not_exist() -> None:
    with pytest.raises(ResolutionFailed, match=r"has no tag 'v1'"):
        lock_of(recipe_with(GIT), reached(v2=TWO))
    recipe = recipe_with(GIT.replace('"v1"', f'"v1", commit = "{TWO}"'))
    (source,) = lock_of(recipe, reached(v2=ONE)).source  # a clone without tags: the commit counts
    assert isinstance(source, LockedGit)
    assert source.commit == TWO


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (GIT.replace('"v1"', '"v2"'), f"submodules, the recipe names {URL} tag v2 commit {ONE}"),
        (GIT.replace("tiny.git", "other.git"), "the recipe names https://git.example/other.git"),
        (GIT.replace(", submodules = true", ""), f"the recipe names {URL} tag v1 commit {ONE}"),
        (GIT.replace('"v1"', f'"v1", commit = "{TWO}"'), f"names {URL} tag v1 commit {TWO}"),
        ('{ sdist = "tiny" }', "a source of another kind"),
    ],
)  # fmt: skip
def test_drift_of_a_git_source(source: str, words: str) -> None:
    commit = ('id = "first"\nfile = "first.patch"', f'id = "first"\ncommit = "{FIX}"')
    recipe = recipe_with(source) if "git" in source else recipe_with(source, commit)
    found = messages(recipe, lock_of(recipe_with(GIT), reached()))
    assert any(words in message for message in found), found


def test_a_mirror_is_no_drift() -> None:
    mirrored = recipe_with(GIT.replace('"v1"', '"v1", mirrors = ["https://m.example/x"]'))
    assert messages(mirrored, lock_of(recipe_with(GIT), reached())) == []


def test_another_commit_as_patch_is_drift() -> None:
    other = recipe_with(GIT, (FIX, TWO))
    assert messages(other, lock_of(recipe_with(GIT), reached())) == ["patch 'first' is not locked"]


def test_the_words_of_an_incomplete_lock_are_checked() -> None:
    recipe = recipe_with(GIT)
    lock = lock_of(recipe, Outside()).model_copy(update={"incomplete": ()})
    with pytest.raises(LockDrift) as caught:
        check(recipe, ROOTS, lock, "lock", lambda _file: sha256_of(PATCH))
    assert "the commit of tag v1 is not known" in caught.value.faults[0].message


def test_an_archive_is_locked_by_the_digest_of_the_recipe() -> None:
    recipe = recipe_with(ARCHIVE)
    (source,) = lock_of(recipe).source
    assert isinstance(source, LockedArchive)
    assert (source.sha256, source.file, source.size) == ("a" * 64, "tiny.tar.gz", 1234)
    assert messages(recipe, lock_of(recipe)) == []
    (unread,) = lock_of(recipe, Outside(archives=False)).source
    assert isinstance(unread, PendingArchive)
    other = recipe_with(ARCHIVE.replace("a" * 64, "b" * 64))
    (message, *_) = messages(other, lock_of(recipe))
    assert "with sha256 aaaaaaaaaaaa…, the recipe names" in message


def test_an_epoch_of_the_recipe_counts_for_git_too() -> None:
    recipe = recipe_with(GIT + "\nepoch = 1600000000")
    (source,) = lock_of(recipe, reached()).source
    assert isinstance(source, LockedGit)
    assert (source.epoch, source.epoch_from_recipe) == (1_600_000_000, True)


def packaged(package: str = "wheel") -> Recipe:
    return recipe_with(GIT, ('debian = ["cmake"]', f'debian = ["cmake"]\npackage = "{package}"'))


def test_the_folder_that_is_built_is_locked_and_its_change_is_drift() -> None:
    lock = lock_of(packaged(), reached())
    assert getattr(lock.source[0], "package", None) == "wheel"
    assert parse(dump(lock).encode(), "lock/tiny.toml") == lock
    assert messages(packaged(), lock) == []
    (message,) = messages(packaged("other/wheel"), lock)
    assert message == "version 1.0: wheel/pyproject.toml was read, build.package is other/wheel"
    outside = reached()
    again = lock_of(packaged("other/wheel"), outside, old=lock)
    assert getattr(again.source[0], "package", None) == "other/wheel"
    assert any(asked.startswith("tree ") for asked in outside.asked)


def test_a_folder_that_is_not_in_the_source_is_told() -> None:
    outside = reached()
    outside.pyproject = None
    with pytest.raises(ResolutionFailed, match=r"has no wheel/pyproject\.toml"):
        lock_of(packaged(), outside)


def test_a_root_that_cannot_hold_the_packages_is_said_and_not_locked() -> None:
    """3.13 at floor 2.28 is only in an image that is older than every suite."""
    recipe = recipe_with(
        GIT, ('debian = ["cmake"]', 'debian = ["cmake"]\nroot = ["debian", "pypa-manylinux_2_28"]')
    )
    lock = lock_of(recipe, reached())
    reason = (
        "root pypa-manylinux_2_28: no suite of Debian's mirrors is as old as its glibc (2.28), so "
        "nothing locks what build.debian names"
    )
    assert reason in lock.incomplete
    assert {root.id for root in lock.root} == {"debian-bookworm", "debian-trixie"}
    assert messages(recipe, lock) == []
    image = next(one for one in matrix(recipe, ROOTS, "1.0") if one.root.startswith("pypa"))
    with pytest.raises(LockMissing, match="its root is an image without cmake") as caught:
        Slicer(recipe, lock).inputs(image)
    assert caught.value.cause == reason
    Slicer(recipe, lock).inputs(target(recipe))


BESIDE = ('debian = ["cmake"]', 'debian = ["cmake", "libx-dev"]\nroot = ["debian", "pypa"]')


def test_packages_beside_an_image_are_locked_with_their_suite() -> None:
    """3.13 at floor 2.36 is only in an image."""
    recipe, outside = recipe_with(GIT, BESIDE), reached()
    lock = lock_of(recipe, outside)
    image = next(one for one in lock.root if one.image)
    assert (image.id, image.suite) == ("pypa-manylinux_2_34", "bullseye")
    assert image.include == ("cmake", "libx-dev")
    assert [deb.name for deb in image.packages] == ["libx-dev"]  # the image has the others itself
    assert lock.incomplete == ()
    assert messages(recipe, lock) == []
    assert "debian bullseye x86_64" in outside.asked
    again = reached()
    assert lock_of(recipe, again, old=lock) == lock
    assert not [one for one in again.asked if one.startswith("debian")]
    told = next(one for one in matrix(recipe, ROOTS, "1.0") if one.root == image.id)
    assert Slicer(recipe, lock).inputs(told).root in lock.root


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"suite": "buster"}, "packages of buster are locked, not bullseye"),
        ({"include": ("git",)}, "packages changed (locked ['git'], now ['cmake', 'libx-dev'])"),
        ({"suite": None}, "packages of no suite are locked, not bullseye"),
        ({"packages": ()}, "no package is locked"),
        ({"image": None}, "it is locked without its image"),
    ],
)
def test_other_packages_beside_an_image_are_drift(update: dict[str, object], told: str) -> None:
    recipe = recipe_with(GIT, BESIDE)
    lock = lock_of(recipe, reached())
    roots = tuple(r.model_copy(update=update) if r.image else r for r in lock.root)
    found = messages(recipe, lock.model_copy(update={"root": roots}))
    assert found == [f"pypa-manylinux_2_34 {arch}: {told}" for arch in ("x86_64", "aarch64")]


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"suite": "bullseye"}, "packages of bullseye are locked, not those of its own suite"),
        ({"packages": ()}, "no package is locked"),
        ({"image": "quay.io/pypa/x@sha256:" + "0" * 64}, "an image is locked"),
    ],
)
def test_a_generated_root_in_another_form_is_drift(update: dict[str, object], told: str) -> None:
    recipe = recipe_with(GIT, BESIDE)
    lock = lock_of(recipe, reached())
    first = next(root for root in lock.root if not root.image)
    roots = tuple(r.model_copy(update=update) if r is first else r for r in lock.root)
    found = messages(recipe, lock.model_copy(update={"root": roots}))
    assert found == [f"{first.id} {first.arch}: {told}"]


def test_packages_that_an_image_has_itself_are_locked_as_none() -> None:
    """Nothing lies beside it then; packages that nothing asks for do not, either."""
    asks = ('debian = ["cmake"]', 'debian = ["cmake | xmake"]\nroot = ["debian", "pypa"]')
    recipe, bare = recipe_with(GIT, asks), recipe_with(GIT, (asks[0], 'root = ["debian", "pypa"]'))
    lock = lock_of(recipe, reached())
    whole = lock_of(recipe_with(GIT, BESIDE), reached())
    debs = next(root.packages for root in whole.root if root.image)
    none = tuple(r.model_copy(update={"packages": ()} if r.image else {}) for r in lock.root)
    assert messages(recipe, lock.model_copy(update={"root": none})) == []
    other = lock_of(bare, reached())
    more = tuple(r.model_copy(update={"packages": debs} if r.image else {}) for r in other.root)
    found = messages(bare, other.model_copy(update={"root": more}))
    assert found == [
        f"pypa-manylinux_2_34 {arch}: packages are locked that nothing asks for"
        for arch in ("x86_64", "aarch64")
    ]
