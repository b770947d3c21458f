"""Extensions of torch: minor versions of torch, all in one wheel."""

import pytest

from kvpack.errors import RecipeInvalid, TargetUnavailable
from kvpack.lock.expect import expected_closures
from kvpack.names import Accelerator, Arch
from kvpack.recipe.catalogue import find_catalogue
from kvpack.recipe.expand import check_offered, expand, matrix
from kvpack.recipe.extensions import torch_faults
from kvpack.recipe.load import load_recipe, parse_recipe
from kvpack.recipe.model import Selection, Target
from tests.unit.catalogues import REPOSITORY, ROOTS, TINY, Tiny, lock_of, recipe_of

OFFER = 'torch = { cuda12 = ["2.12", "2.9", "2.13"] }\n'
ADDS = 'torch-adds = ["tiny_ep/ext_torch*.so"]\n'
TORCH = (
    TINY.replace("default = { glibc", OFFER + "default = { glibc")
    .replace('debian = ["cmake"]\n', f'debian = ["cmake"]\n{ADDS}')
    .replace(
        "[[patches]]",
        '[options.ep]\nwith-torch = true\ndefault = false\nmeson = "ep"\n\n[[patches]]',
        1,
    )
)
CUDA = (Accelerator.CUDA12,)


def chosen(selection: Selection, text: str = TORCH) -> tuple[Target, ...]:
    made = recipe_of(text)
    return expand(made, ROOTS, selection, version=None, machine=Arch.X86_64)


def select(*minors: str, accelerator: tuple[Accelerator, ...] = CUDA) -> Selection:
    return Selection(
        python=("3.11",), glibc=("2.36",), accelerator=accelerator, torch=minors or None
    )


def test_without_a_choice_there_are_no_extensions() -> None:
    (target,) = chosen(select())
    assert target.torch == ()
    assert target.id == "cp311-manylinux_2_36_x86_64-cuda12"


def test_several_minors_are_one_target_in_the_order_of_versions() -> None:
    (target,) = chosen(select("2.13", "2.9", "2.13"))
    assert target.torch == ("2.9", "2.13")
    assert target.id == "cp311-manylinux_2_36_x86_64-cuda12-torch2.9+2.13"


def test_the_recipes_default_holds_for_the_accelerators_that_offer_it() -> None:
    text = TORCH.replace("default = { glibc", 'default = { torch = ["2.13"], glibc')
    both = chosen(select(accelerator=(Accelerator.CPU, *CUDA)), text)
    assert {target.accelerator: target.torch for target in both} == {
        "cpu": (), "cuda12": ("2.13",),
    }  # fmt: skip
    empty = Selection(glibc=("2.36",), accelerator=CUDA, torch=())
    assert [target.torch for target in chosen(empty, text)] == [()]
    every = matrix(recipe_of(text), ROOTS, "1.0")
    assert {target.torch for target in every if target.accelerator == "cuda12"} == {("2.13",)}


@pytest.mark.parametrize(
    ("selection", "what", "hint"),
    [
        (select("2.14"), "does not offer torch '2.14' for cuda12", "choose of cuda12: 2.12, 2.9"),
        (select("2.13", accelerator=(Accelerator.CPU,)), "does not offer torch '2.13' for cpu",
         "choose of cuda12"),
    ],
)  # fmt: skip
def test_a_minor_that_is_not_offered_is_refused(selection: Selection, what: str, hint: str) -> None:
    with pytest.raises(TargetUnavailable) as caught:
        chosen(selection)
    assert what in caught.value.what
    assert hint in caught.value.hint
    with pytest.raises(TargetUnavailable):
        check_offered(recipe_of(TORCH), selection)


def test_a_recipe_without_the_axis_says_so() -> None:
    with pytest.raises(TargetUnavailable) as caught:
        chosen(select("2.13"), TINY)
    assert "there is no targets.torch in recipes/tiny.toml" in caught.value.hint


def test_an_option_follows_the_axis() -> None:
    made = recipe_of(TORCH)
    (lean,) = chosen(select())
    (full,) = chosen(select("2.13"))
    assert [made.options_of(one)["ep"][1] for one in (lean, full)] == ["false", "true"]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        (ADDS, "", "build.torch-adds", "is missing"),
        (OFFER, "", "options.ep.with-torch", "never counts"),
        (OFFER, "", "build.torch-adds", "never counts"),
        ('cuda12 = ["2.12"', 'rocm7 = ["2.12"', "targets.torch.rocm7", "is not offered by"),
        ('"2.9"', '"2.12"', "targets.torch.cuda12", "'2.12' is named twice"),
        ('"2.9"', '"2.x"', "targets.torch.cuda12[1]", "2.x"),
        ('"2.9"', '"2.9.1"', "targets.torch.cuda12[1]", "2.9.1"),
        ("default = { glibc", 'default = { torch = ["2.14"], glibc', "targets.default.torch",
         "'2.14' is not offered by targets.torch"),
        (ADDS, f"{ADDS}pure = true\n", "targets.torch", "a pure wheel has no extensions of torch"),
        ("with-torch = true", 'with-torch = "yes"', "options.ep", "does not fit type = 'bool'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(
    tmp_path_factory: pytest.TempPathFactory, old: str, new: str, place: str, message: str
) -> None:
    assert TORCH.count(old) == 1
    found = faults_of(TORCH.replace(old, new), Tiny(tmp_path_factory.mktemp("tiny")))
    assert any(at.endswith(f": {place}") and message in told for at, told in found), found


def faults_of(text: str, tiny: Tiny) -> list[tuple[str, str]]:
    """The faults of a file alone, else those that its catalogue shows."""
    recipe, found = parse_recipe(text.encode(), "recipes/tiny.toml")
    if recipe is not None:
        tiny.recipe_file.write_text(text)
        with pytest.raises(RecipeInvalid) as caught:
            load_recipe(tiny.catalogue, "tiny")
        found = list(caught.value.faults)
    return [(one.place, one.message) for one in found]


def test_nixl_has_ep_for_the_torch_of_its_cuda() -> None:
    made = load_recipe(find_catalogue(REPOSITORY), "nixl")
    assert set(made.targets.torch) == {Accelerator.CUDA13}
    assert made.options["ep"].with_torch is True


def test_the_matrix_of_one_accelerator_has_its_torch() -> None:
    made = recipe_of(TORCH)
    found = matrix(made, ROOTS, "1.0", select("2.13", "2.9"))
    assert {(one.accelerator, one.torch) for one in found} == {("cuda12", ("2.9", "2.13"))}
    assert {one.torch for one in matrix(made, ROOTS, "1.0")} == {()}
    with pytest.raises(TargetUnavailable):
        matrix(made, ROOTS, "1.0", Selection(torch=("2.13",)))


# -- versions of torch that have no wheels for some Python ----------------------------------

SOME = TORCH.replace(OFFER, OFFER + 'torch-python = { "2.13" = ["3.13"] }\n')


def pythons(selection: Selection, text: str = SOME) -> list[tuple[str, tuple[str, ...]]]:
    return [(target.python, target.torch) for target in chosen(selection, text)]


def test_a_python_without_wheels_of_a_selected_version_is_left_out() -> None:
    whole = Selection(glibc=("2.41",), accelerator=CUDA, torch=("2.12", "2.13"))
    assert pythons(whole) == [("3.13", ("2.12", "2.13"))]
    assert [python for python, _ in pythons(whole, TORCH)] == ["3.11", "3.13"]
    every = matrix(recipe_of(SOME), ROOTS, "1.0", Selection(accelerator=CUDA, torch=("2.13",)))
    assert {target.python for target in every} == {"3.13"}


def test_a_python_that_was_named_is_never_dropped() -> None:
    with pytest.raises(TargetUnavailable, match=r"torch '2\.13' for Python 3\.11") as caught:
        chosen(select("2.12", "2.13"), SOME)
    assert caught.value.cause == "that torch is for Python 3.13"
    with pytest.raises(TargetUnavailable):
        check_offered(recipe_of(SOME), select("2.13"))


def test_of_the_recipes_default_each_python_takes_what_it_has() -> None:
    text = SOME.replace("default = { glibc", 'default = { torch = ["2.12", "2.13"], glibc')
    whole = Selection(glibc=("2.41",), accelerator=CUDA)
    assert pythons(whole, text) == [("3.11", ("2.12",)), ("3.13", ("2.12", "2.13"))]


def test_environments_that_torch_has_not_are_not_locked() -> None:
    closures = expected_closures(recipe_of(SOME), ROOTS, lock_of(recipe_of(TINY)).source)
    found = {(one.torch, one.python) for one in closures if one.torch}
    assert ("2.13", "3.11") not in found
    assert {("2.13", "3.13"), ("2.12", "3.11"), ("2.12", "3.13")} <= found


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        ('"2.14" = ["3.11"]', "targets.torch-python", "'2.14' is not offered by targets.torch"),
        ('"2.13" = ["3.12"]', "targets.torch-python.2.13",
         "Python 3.12 is not offered by targets.python"),
    ],
)  # fmt: skip
def test_what_the_table_of_pythons_cannot_mean(table: str, place: str, message: str) -> None:
    wrong = SOME.replace('"2.13" = ["3.13"]', table)
    (fault,) = torch_faults(recipe_of(wrong), "recipe")
    assert (fault.place, fault.message) == (f"recipe: {place}", message)
