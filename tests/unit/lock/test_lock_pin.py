"""Pinning keeps what is locked; --upgrade moves one input; what an sdist says about itself."""

import pytest

from kvpack.errors import ResolutionFailed
from kvpack.lock.diff import Change, differences
from kvpack.lock.model import Lock, LockedWheel
from kvpack.lock.sdist import Sdist, read_build_system, read_run_requires
from kvpack.lock.uv import Question
from tests.unit.catalogues import TINY, lock_of, recipe_of
from tests.unit.lock.outside import Outside, digest, wheel

PYPA = TINY.replace('debian = ["cmake"]', 'root = "pypa"')


def later() -> Outside:
    """The same registries some weeks later: everything moved."""
    outside = Outside(deb_version="1:1.1-1", source="other bytes")
    outside.versions = dict.fromkeys(outside.versions, "99.0")
    return outside


def changed(old: Lock, new: Lock) -> set[tuple[str, str, str]]:
    """Kind and name of what moved, with the new version."""
    return {
        (change.kind, change.name.split()[-1], change.after.split()[0])
        for change in differences(old, new)
    }


def test_the_same_world_gives_the_same_lock() -> None:
    assert lock_of(recipe_of()) == lock_of(recipe_of())


def test_what_is_locked_stays_locked_and_nothing_is_asked() -> None:
    recipe, outside = recipe_of(), later()
    old = lock_of(recipe)
    assert lock_of(recipe, outside, old=old) == old
    assert outside.asked == []


def test_one_new_requirement_moves_nothing_else() -> None:
    old = lock_of(recipe_of())
    outside = later()
    outside.versions["ninja"] = "1.13"
    recipe = recipe_of(
        TINY.replace('debian = ["cmake"]', 'debian = ["cmake"]\nrequires = ["ninja"]')
    )
    assert changed(old, lock_of(recipe, outside, old=old)) == {("wheel", "ninja", "1.13")}
    assert set(outside.asked) == {"wheels backend>=1 build ninja"}


def test_a_new_version_of_the_recipe_is_pinned_alone() -> None:
    old = lock_of(recipe_of())
    text = TINY.replace(
        '[versions."1.0"]', '[versions."1.1"]\nsource = { sdist = "tiny" }\n[versions."1.0"]'
    )
    outside = Outside()
    found = differences(old, lock_of(recipe_of(text), outside, old=old))
    assert outside.asked[0] == "sdist tiny 1.1"
    assert {change.before for change in found} == {""}
    assert all("1.1" in change.name for change in found)


def test_a_new_epoch_needs_no_registry() -> None:
    old = lock_of(recipe_of())
    outside = later()
    recipe = recipe_of(TINY.replace("1700000500", "1700000501"))
    found = differences(old, lock_of(recipe, outside, old=old))
    assert found == [Change("epoch", "2.0rc1", "1700000500", "1700000501")]
    assert outside.asked == []


def test_an_upgraded_project_moves_alone() -> None:
    recipe = recipe_of()
    old = lock_of(recipe)
    assert changed(old, lock_of(recipe, later(), old=old, upgrade="cibuildwheel")) == {
        ("wheel", "cibuildwheel", "99.0")
    }


def test_an_upgraded_project_moves_in_every_closure() -> None:
    recipe = recipe_of()
    old = lock_of(recipe)
    new = lock_of(recipe, later(), old=old, upgrade="plugin")
    assert changed(old, new) == {("wheel", "plugin", "99.0")}
    assert len(differences(old, new)) == 8
    assert {one.version for one in new.wheels if one.project == "plugin"} == {"99.0"}


def test_an_upgrade_asks_only_about_closures_that_hold_the_project() -> None:
    recipe = recipe_of()
    old, outside = lock_of(recipe), later()
    lock_of(recipe, outside, old=old, upgrade="plugin")
    assert set(outside.asked) == {"wheels backend>=1 build"}
    outside.asked.clear()
    lock_of(recipe, outside, old=old, upgrade="cibuildwheel")
    assert len(outside.asked) == 1
    assert "cibuildwheel" in outside.asked[0]


class _Uploaded(Outside):
    """Of every version, another file was uploaded since."""

    def wheels(self, question: Question) -> tuple[LockedWheel, ...]:
        return tuple(
            wheel(one.project, one.version, "py2.py3-none-any") for one in super().wheels(question)
        )


def test_a_version_that_stays_keeps_its_file() -> None:
    recipe = recipe_of()
    old = lock_of(recipe)
    outside = _Uploaded()
    outside.versions["plugin"] = "0.2"
    new = lock_of(recipe, outside, old=old, upgrade="plugin")
    assert changed(old, new) == {("wheel", "plugin", "0.2")}
    assert [one for one in new.wheels if one not in old.wheels and one.project != "plugin"] == []
    assert {one.file for one in new.wheels if one.project == "plugin"} == {
        "plugin-0.2-py2.py3-none-any.whl"
    }


class _Replaced(Outside):
    """The registry answers the same file names with other bytes."""

    def wheels(self, question: Question) -> tuple[LockedWheel, ...]:
        return tuple(
            one.model_copy(update={"sha256": digest("other"), "path": "packages/other"})
            for one in super().wheels(question)
        )


def test_a_new_closure_does_not_change_the_bytes_of_the_others() -> None:
    old = lock_of(recipe_of())
    text = TINY.replace(
        '[versions."1.0"]', '[versions."3.0"]\nsource = { sdist = "tiny" }\n[versions."1.0"]'
    )
    new = lock_of(recipe_of(text), _Replaced(), old=old)
    assert new.wheels == old.wheels
    assert len(new.closure) > len(old.closure)


def test_a_version_that_stays_keeps_its_bytes_in_a_closure_that_grows() -> None:
    old = lock_of(recipe_of())
    outside = _Replaced()
    outside.versions["ninja"] = "1.13"
    text = TINY.replace('debian = ["cmake"]', 'debian = ["cmake"]\nrequires = ["ninja"]')
    assert changed(old, lock_of(recipe_of(text), outside, old=old)) == {("wheel", "ninja", "1.13")}


def test_an_upgraded_root_moves_alone() -> None:
    recipe = recipe_of()
    old = lock_of(recipe)
    outside = later()
    found = differences(old, lock_of(recipe, outside, old=old, upgrade="debian-trixie"))
    assert {(change.kind, change.name.split()[0]) for change in found} == {("deb", "debian-trixie")}
    assert {change.after.split()[0] for change in found} == {"1:1.1-1"}


def test_an_upgraded_source_moves_alone() -> None:
    recipe = recipe_of()
    old = lock_of(recipe)
    new = lock_of(recipe, later(), old=old, upgrade="source")
    assert {change.kind for change in differences(old, new)} == {"source"}


def test_an_upgraded_driver_brings_its_image() -> None:
    recipe = recipe_of(PYPA)
    old = lock_of(recipe)
    found = differences(old, lock_of(recipe, later(), old=old, upgrade="cibuildwheel"))
    assert {change.kind for change in found} == {"wheel", "image"}


def test_an_upgrade_of_nothing() -> None:
    recipe = recipe_of()
    with pytest.raises(ResolutionFailed, match="the lock of tiny has no input 'numpy'") as caught:
        lock_of(recipe, old=lock_of(recipe), upgrade="numpy")
    assert "known: auditwheel, backend, build" in caught.value.hint
    assert "debian-bookworm" in caught.value.hint
    assert "source" in caught.value.hint


def test_differences_in_words() -> None:
    old, new = lock_of(recipe_of()), lock_of(recipe_of(PYPA))
    lines = [change.line() for change in differences(old, new)]
    assert lines == sorted(lines, key=lambda line: line[2:].split()[:2])
    assert any(line.startswith("+ image pypa-manylinux_2_34 x86_64 regis") for line in lines)
    assert f"- deb debian-trixie x86_64 libc6 1:1.0-1 {digest_of(old)}" in lines
    assert differences(None, old) == [
        Change(c.kind, c.name, "", c.before) for c in differences(old, None)
    ]
    assert differences(old, old) == []
    moved = Change("wheel", "host cibuildwheel", "1 a", "2 b")
    assert moved.line() == "~ wheel host cibuildwheel 1 a -> 2 b"
    assert moved.as_json()["before"] == "1 a"


def digest_of(lock: Lock) -> str:
    (root,) = [one for one in lock.root if (one.id, one.arch) == ("debian-trixie", "x86_64")]
    return next(deb.sha256[:12] for deb in root.packages if deb.name == "libc6")


def sdist(pyproject: bytes | None, pkg_info: bytes | None = None) -> Sdist:
    return Sdist(
        file="x-1.tar.gz", path="packages/x", sha256=digest("x"), size=1, epoch=1,
        pyproject=pyproject, pkg_info=pkg_info,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pyproject", "backend", "requires"),
    [
        (None, "setuptools.build_meta:__legacy__", ("setuptools>=40.8.0",)),
        (b"", "setuptools.build_meta:__legacy__", ("setuptools>=40.8.0",)),
        (b"[tool.x]", "setuptools.build_meta:__legacy__", ("setuptools>=40.8.0",)),
        (b"[build-system]\nrequires = []", "setuptools.build_meta:__legacy__", ()),
        (
            b"[build-system]\nrequires = ['z', 'a>=1']\nbuild-backend = 'b.c'\n",
            "b.c", ("a>=1", "z"),
        ),
    ],
    ids=["no file", "empty", "no table", "no requirement", "all"],
)  # fmt: skip
def test_the_build_system_of_an_sdist(
    pyproject: bytes | None, backend: str, requires: tuple[str, ...]
) -> None:
    assert read_build_system(sdist(pyproject)) == (backend, requires)


PKG_INFO = b"""\
Metadata-Version: 2.1
Name: x
Requires-Dist: numpy >=2
Requires-Dist: pytest; extra == 'test'
Requires-Dist: tomli; python_version < "3.11"

Requires-Dist: not-a-header
"""


@pytest.mark.parametrize(
    ("pyproject", "pkg_info", "requires"),
    [
        (None, None, ()),
        (None, PKG_INFO, ("numpy >=2", 'tomli; python_version < "3.11"')),
        (
            b"[project]\nname = 'x'\ndynamic = ['dependencies']", PKG_INFO,
            ("numpy >=2", 'tomli; python_version < "3.11"'),
        ),
        (b"[project]\nname = 'x'\ndependencies = ['b', 'a', 'b']", PKG_INFO, ("a", "b")),
        (b"[project]\ndependencies = ['b; extra == \"all\"']", None, ()),
    ],
    ids=["nothing", "PKG-INFO", "dynamic", "PEP 621", "extras"],
)  # fmt: skip
def test_the_requirements_of_an_sdist(
    pyproject: bytes | None, pkg_info: bytes | None, requires: tuple[str, ...]
) -> None:
    assert read_run_requires(sdist(pyproject, pkg_info)) == requires


@pytest.mark.parametrize(
    ("pyproject", "message"),
    [
        (b"[build-system", "pyproject.toml cannot be read: Expected"),
        (b"\xff", "pyproject.toml cannot be read: 'utf-8' codec"),
        (b"build-system = 3", "pyproject.toml cannot be read: build-system is not a table"),
        (b"[build-system]\nrequires = 'x'", "build-system.requires is not a list of strings"),
        (b"[build-system]\nrequires = [3]", "build-system.requires is not a list of strings"),
        (b"[build-system]\nrequires = ['a >> b']", r"requirement 'a >> b' is not one \(PEP 508\)"),
        (b"[project]\ndependencies = {a = 1}", "project.dependencies is not a list of strings"),
        (b"[project]\ndependencies = ['?']", r"requirement '\?' is not one \(PEP 508\)"),
    ],
)
def test_an_sdist_that_cannot_be_locked(pyproject: bytes, message: str) -> None:
    read = read_build_system if b"build-system" in pyproject else read_run_requires
    with pytest.raises(ResolutionFailed, match=message) as caught:
        read(sdist(pyproject))
    assert caught.value.what.startswith("x-1.tar.gz: ")
    assert "report it upstream" in caught.value.hint


def test_a_wheel_of_the_world_in_memory() -> None:
    assert wheel("a-b", "1").file == "a_b-1-py3-none-any.whl"
