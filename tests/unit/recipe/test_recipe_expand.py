"""Recipe + selection -> targets, the roots they get, and what options and patches apply."""

from pathlib import Path

import pytest

from kvpack.errors import TargetUnavailable
from kvpack.names import Accelerator, Arch
from kvpack.recipe.catalogue import Catalogue
from kvpack.recipe.expand import choose_version, expand, matrices, matrix
from kvpack.recipe.load import load_recipe
from kvpack.recipe.model import Recipe, Selection, Target
from kvpack.recipe.versions import applies
from tests.unit.catalogues import ROOTS, TINY, recipe_of

CATALOGUE = Catalogue(Path(__file__).parents[3])


def targets(
    selection: Selection | None = None, *, text: str = TINY, machine: Arch = Arch.X86_64
) -> tuple[Target, ...]:
    chosen = selection or Selection()
    return expand(recipe_of(text), ROOTS, chosen, version=None, machine=machine)


def cells(found: tuple[Target, ...]) -> list[tuple[str, str, str, str]]:
    return [(t.glibc, t.python, t.arch, t.accelerator) for t in found]


def refused(selection: Selection, text: str = TINY) -> TargetUnavailable:
    with pytest.raises(TargetUnavailable) as caught:
        targets(selection, text=text)
    return caught.value


def test_what_is_not_selected_is_the_default() -> None:
    assert cells(targets()) == [
        ("2.36", "3.11", "x86_64", "cpu"),
        ("2.41", "3.11", "x86_64", "cpu"),
        ("2.41", "3.13", "x86_64", "cpu"),
    ]


def test_without_defaults_the_newest_floor_and_every_python() -> None:
    text = TINY.replace("default = { glibc", "# default = { glibc")
    assert cells(targets(text=text)) == [
        ("2.41", "3.11", "x86_64", "cpu"),
        ("2.41", "3.13", "x86_64", "cpu"),
    ]


def test_a_target_says_what_it_is() -> None:
    target = targets()[-1]
    assert target.version == "1.0"
    assert target.root == "debian-trixie"
    assert target.id == "cp313-manylinux_2_41_x86_64-cpu"
    assert target.title == "tiny 1.0 cp313-manylinux_2_41_x86_64-cpu"


def test_the_order_is_by_number_and_twice_is_once() -> None:
    selection = Selection(
        python=("3.11", "3.11"),
        glibc=("2.41", "2.36", "2.41"),
        arch=(Arch.X86_64, Arch.AARCH64),
        accelerator=(Accelerator.CUDA12, Accelerator.CPU),
    )
    assert cells(targets(selection)) == [
        (glibc, "3.11", arch, accelerator)
        for glibc in ("2.36", "2.41")
        for arch in ("aarch64", "x86_64")
        for accelerator in ("cpu", "cuda12")
    ]


def test_pythons_are_ordered_as_numbers() -> None:
    text = TINY.replace('debian = ["cmake"]', 'root = "pypa"')
    text = text.replace('python = ["3.11", "3.13"]', 'python = ["3.10", "3.9", "3.11"]')
    found = targets(Selection(glibc=("2.36",)), text=text)
    assert [target.python for target in found] == ["3.9", "3.10", "3.11"]


@pytest.mark.parametrize("machine", list(Arch))
def test_the_architecture_is_the_machines(machine: Arch) -> None:
    assert {target.arch for target in targets(machine=machine)} == {machine}


def test_the_architecture_of_a_recipe_that_lacks_the_machines() -> None:
    text = TINY.replace("[targets]", '[targets]\narch = ["x86_64"]')
    assert {target.arch for target in targets(text=text, machine=Arch.AARCH64)} == {"x86_64"}


def test_a_default_python_that_no_root_has_at_a_floor_is_left_out() -> None:
    assert [t.python for t in targets(Selection(glibc=("2.39",)))] == ["3.11"]


def test_a_python_selected_by_name_is_never_left_out() -> None:
    error = refused(Selection(python=("3.11", "3.13"), glibc=("2.39",)))
    assert error.what == "no builder root has Python 3.13 at or below glibc 2.39"
    assert "debian-trixie: glibc 2.41, Python 3.13" in error.cause


def test_no_root_at_all() -> None:
    text = TINY.replace('debian = ["cmake"]', 'root = "debian-trixie"')
    error = refused(Selection(glibc=("2.36",)), text)
    assert error.what == "no builder root has Python 3.11/3.13 at or below glibc 2.36"
    assert error.cause == "the roots of 'debian-trixie' are: debian-trixie: glibc 2.41, Python 3.13"


@pytest.mark.parametrize(
    ("floor", "advice"),
    [
        ("2.40", "a wheel for --glibc 2.39 also loads on glibc 2.40"),
        ("2.99", "a wheel for --glibc 2.41 also loads on glibc 2.99"),
        ("2.17", "the lowest floor it offers is 2.36"),
    ],
)
def test_a_floor_that_is_not_offered(floor: str, advice: str) -> None:
    error = refused(Selection(glibc=(floor,)))
    assert error.what == f"recipe tiny does not offer glibc '{floor}'"
    assert error.cause == advice
    assert error.hint == (
        "choose one of 2.36, 2.39, 2.41, or add it to targets.glibc in recipes/tiny.toml "
        "and run: kvpack lock tiny"
    )


@pytest.mark.parametrize(
    ("selection", "what", "cause"),
    [
        (Selection(python=("3.12",)), "python '3.12'", "did you mean '3.13'?"),
        (
            Selection(accelerator=(Accelerator.ROCM7,)),
            "accelerator 'rocm7'",
            "known here: cpu, cuda12",
        ),
    ],
)
def test_other_axes_that_are_not_offered(selection: Selection, what: str, cause: str) -> None:
    error = refused(selection)
    assert error.what == f"recipe tiny does not offer {what}"
    assert error.cause == cause


def test_an_architecture_that_is_not_offered() -> None:
    text = TINY.replace("[targets]", '[targets]\narch = ["x86_64"]')
    assert "does not offer arch 'aarch64'" in refused(Selection(arch=(Arch.AARCH64,)), text).what


def test_the_version_is_the_default_or_the_one_asked_for() -> None:
    recipe = recipe_of()
    assert choose_version(recipe, None) == "1.0"
    assert choose_version(recipe, "2.0rc1") == "2.0rc1"
    with pytest.raises(TargetUnavailable, match=r"tiny has no version '2\.0'") as caught:
        choose_version(recipe, "2.0")
    assert caught.value.cause == "did you mean '2.0rc1'?"


@pytest.mark.parametrize("name", CATALOGUE.names)
def test_matrices_differ_in_their_version_alone(name: str) -> None:
    recipe = load_recipe(CATALOGUE, name)
    versions = [*recipe.versions]
    expected = [target for one in versions for target in matrix(recipe, ROOTS, one)]
    assert list(matrices(recipe, ROOTS, versions)) == expected
    with pytest.raises(TargetUnavailable, match=r"has no version '0\.0\.dev0'"):
        list(matrices(recipe, ROOTS, [*versions, "0.0.dev0"]))


def test_the_matrix_is_everything_that_is_offered_and_has_a_root() -> None:
    found = matrix(recipe_of(), ROOTS, "1.0")
    pairs = [("2.36", "3.11"), ("2.39", "3.11"), ("2.41", "3.11"), ("2.41", "3.13")]
    assert cells(found) == [
        (glibc, python, arch, accelerator)
        for glibc, python in pairs
        for arch in ("aarch64", "x86_64")
        for accelerator in ("cpu", "cuda12")
    ]


@pytest.mark.parametrize(
    ("wanted", "python", "glibc", "root"),
    [
        ("debian", "3.11", "2.36", "debian-bookworm"),
        ("debian", "3.11", "2.41", "debian-bookworm"),
        ("debian", "3.11", "2.35", None),
        ("debian", "3.9", "2.99", "debian-bullseye"),
        ("debian", "3.13", "2.40", None),
        ("debian", "3.13", "2.41", "debian-trixie"),
        ("pypa", "3.12", "2.33", "pypa-manylinux_2_28"),
        ("pypa", "3.12", "2.34", "pypa-manylinux_2_34"),
        ("pypa-manylinux_2_28", "3.12", "2.39", "pypa-manylinux_2_28"),
        ("none", "3.11", "2.39", None),
    ],
)
def test_the_root_of_a_target(wanted: str, python: str, glibc: str, root: str | None) -> None:
    picked = ROOTS.pick(wanted, python, glibc)
    assert (picked.id if picked else None) == root


def test_roots_by_id() -> None:
    assert ROOTS.get("debian-trixie").suite == "trixie"
    with pytest.raises(KeyError):
        ROOTS.get("debian-potato")
    assert {"debian", "pypa", "debian-bookworm"} <= set(ROOTS.names())
    assert [kind.glibc for kind in ROOTS.matching("debian")] == ["2.31", "2.36", "2.41"]


@pytest.mark.parametrize(
    ("version", "accelerator", "options"),
    [
        ("1.0", Accelerator.CPU, {"mode": "plain"}),
        ("2.0rc1", Accelerator.CPU, {"fast": "ON", "mode": "plain"}),
        ("2.0rc1", Accelerator.CUDA12, {"fast": "OFF", "mode": "plain"}),
    ],
)
def test_options(version: str, accelerator: Accelerator, options: dict[str, str]) -> None:
    found = recipe_of().options_for(version, accelerator)
    assert {name: value for name, (_, value) in found.items()} == options


@pytest.mark.parametrize(
    ("version", "ids"),
    [("1.0", ["first", "second"]), ("2.0rc1", ["first"]), ("2.0", ["first"])],
)
def test_patches(version: str, ids: list[str]) -> None:
    assert [patch.id for patch in recipe_of().patches_for(version)] == ids


@pytest.mark.parametrize(
    ("when", "version", "holds"),
    [
        (None, "1.0", True),
        ("<0.3.11", "0.3.11rc1", False),
        ("<0.3.11", "0.3.11.dev1", False),
        ("<0.3.11", "0.3.10.post1", True),
        (">=0.3.11", "0.3.11rc1", False),
        (">=0.3.11rc1", "0.3.11rc2", True),
        ("~=1.4", "1.5b1", True),
        ("!=1.5", "1.5", False),
        ("", "0.1a1", True),
    ],
)
def test_version_ranges(when: str | None, version: str, holds: bool) -> None:
    assert applies(when, version) is holds


def test_names_per_accelerator() -> None:
    distribution = recipe_of().distribution
    names = {a: distribution.name_for(a) for a in Accelerator}
    assert names == {"cpu": "tiny", "cuda12": "tiny-cu12", "cuda13": None, "rocm7": None}


def test_a_recipe_survives_json() -> None:
    recipe = recipe_of()
    assert Recipe.model_validate(recipe.as_json()) == recipe
