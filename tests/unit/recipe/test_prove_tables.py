"""[[prove]] and [identity]: what is accepted, and every fault with its place."""

import pytest

from kvpack.names import Accelerator
from kvpack.recipe.load import parse_recipe
from kvpack.recipe.prove import Prove, several
from tests.unit.catalogues import TINY, recipe_of

HEAD = '[[prove]]\nid = "x"\nsummary = "S"\n'
CUDA13, CPU = Accelerator.CUDA13, Accelerator.CPU


def table(text: str) -> Prove:
    (found,) = recipe_of(f"{TINY}\n{HEAD}{text}").prove
    return found


def faults(text: str) -> list[tuple[str, str]]:
    recipe, found = parse_recipe(f"{TINY}\n{text}".encode(), "recipes/tiny.toml")
    assert recipe is None
    return [(one.place.removeprefix("recipes/tiny.toml: "), one.message) for one in found]


def test_one_word_and_a_list_of_one_mean_the_same() -> None:
    plain = table('file = "a/*.so"\nneeds-symbol = "f@V_1"')
    listed = table('file = ["a/*.so"]\nneeds-symbol = ["f@V_1"]')
    assert several(plain.file) == several(listed.file) == ("a/*.so",)
    assert several(plain.needs_symbol) == several(listed.needs_symbol) == ("f@V_1",)
    assert several(None) == ()


def test_spaces_of_a_text_count() -> None:
    assert table('file = "a"\nhas-string = "for "').has_string == "for "


def test_nested_conditions_inherit_the_files() -> None:
    prove = table("""file = "a"
any = [{ has-string = "s" }, { file = "b", not = { has-string = "t" } }]""")
    assert [globs for _, globs in prove.walk()] == [("a",), ("a",), ("b",), ("b",)]


ONE_FAULT = {
    "nothing said": ("", "says nothing"),
    "no file": ('has-string = "s"', "names no file"),
    "no file in a nested one": ('any = [{ needs-library = "l" }]', "names no file"),
    "no file in a case": ('case = [{ value = "v", has-string = "s" }]', "names no file"),
    "present beside others": ('file = "a"\npresent = true\nhas-string = "s"', "stands alone"),
    "present without its own file": (
        'file = "a"\nnot = { present = true }', "present and unique need file",
    ),
    "a value twice": (
        'file = "a"\ncase = [{ value = "v" }]\nvalue = { path = "(x)" }', "name one",
    ),
    "a value of no files": ('value = { path = "(x)" }', "add file"),
    "a case that hides the next": (
        'file = "a"\ncase = [{ value = "v" }, { value = "w" }]', "'v' is always true",
    ),
    "a value that no case gives": (
        'file = "a"\nexpect = "w"\ncase = [{ value = "v" }]', "no case gives the value 'w'",
    ),
    "a value of a plain condition": (
        'file = "a"\nhas-string = "s"\nexpect = "w"', "has no value that could be 'w'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), ONE_FAULT.values(), ids=ONE_FAULT)
def test_a_table_that_makes_no_sense(text: str, message: str) -> None:
    ((place, found),) = faults(HEAD + text)
    assert place == "prove[0]"
    assert message in found


WRONG_KEY = {
    "an unknown key": ('file = "a"\nneeds-symbols = "s"', "prove[0].needs-symbols", "unknown key"),
    "an unknown key below": (
        'any = [{ file = "a", has-strin = "s" }]', "prove[0].any[0].has-strin", "unknown key",
    ),
    "not a text": ('file = "a"\nhas-string = 5', "prove[0].has-string", "must be a string or a"),
    "not an expression": (
        'file = "a"\nvalue = { string = "(" }', "prove[0].value.string", "not a regular expr",
    ),
    "an expression without group": (
        'file = "a"\nvalue = { string = "x" }', "prove[0].value.string", "has no group",
    ),
    "an expression that matches nothing": (
        'file = "a"\nvalue = { string = "(x*)" }', "prove[0].value.string", "everywhere",
    ),
    "a value of two sources": (
        'file = "a"\nvalue = { string = "(x)", path = "(x)" }', "prove[0].value", "name one",
    ),
    "a range that is none": (
        'file = "a"\nhas-string = "s"\nwhen = "new"', "prove[0].when", "not a version range",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message"), WRONG_KEY.values(), ids=WRONG_KEY)
def test_a_wrong_key_or_value(text: str, place: str, message: str) -> None:
    ((found, told),) = faults(HEAD + text)
    assert found == place
    assert message in told


def test_ids_are_unique() -> None:
    ((place, message),) = faults((HEAD + 'file = "a"\nhas-string = "s"\n') * 2)
    assert (place, message) == ("prove", "several tables have the id x")


def test_an_identity_names_version_and_commit() -> None:
    ((place, message),) = faults('[identity]\nfile = "a"\nmatch = "(?P<version>x)"')
    assert (place, "(?P<commit>…)" in message) == ("identity", True)


EXPECT = """file = "a"
has-string = "s"
when = ">=0.3"
expect = [
  { accelerator = ["cuda13"], when = "<0.4", is = false },
  { accelerator = ["cuda13"], arch = ["aarch64"], is = true },
]
"""


@pytest.mark.parametrize(
    ("version", "accelerator", "arch", "wanted"),
    [
        ("0.3.14", CUDA13, "x86_64", False),
        ("0.4.1+kvp.0123", CUDA13, "aarch64", True),
        ("0.4.1", CUDA13, "x86_64", None),
        ("0.3.14", CPU, "x86_64", None),
        ("0.3.14", None, None, None),
        ("0.2", CUDA13, "aarch64", None),
    ],
)
def test_the_first_expectation_that_fits_counts(
    version: str, accelerator: Accelerator | None, arch: str | None, wanted: bool | None
) -> None:
    assert table(EXPECT).expected(version, accelerator, arch) is wanted


def test_an_expectation_without_axes_is_for_all() -> None:
    assert table('file = "a"\nhas-string = "s"\nexpect = true').expected("1", None, None) is True
    assert table('file = "a"\nhas-string = "s"').expected("1", CPU, "x86_64") is None
