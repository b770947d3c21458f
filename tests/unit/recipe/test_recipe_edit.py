"""Patches in and out of a recipe's text: nothing else of it changes."""

import pytest

from kvpack.recipe.edit import add_patch, drop_patch

HEAD = """\
schema = 1   # the first

# The patches of this recipe
"""
FIRST = '''\
[[patches]]
id = "a"     # keep
why = """two
[[patches]]
lines"""
'''
SECOND = """\
# about b
[[patches]]
id = 'b'
why = 'x'
"""
TAIL = """\
# The build
[build]
debian = []
"""
TEXT = "\n".join([HEAD + FIRST, SECOND, TAIL])
NEW = {"id": "c", "commit": "1" * 40, "why": 'says "why"'}
ADDED = f"""\
[[patches]]
id = "c"
commit = "{"1" * 40}"
why = "says \\"why\\""
"""


def test_a_patch_comes_behind_the_others() -> None:
    assert add_patch(TEXT, NEW) == "\n".join([HEAD + FIRST, SECOND, ADDED, TAIL])


@pytest.mark.parametrize("text", ["schema = 1\n[build]\nx = 1\n", "schema = 1\n[build]\nx = 1"])
def test_the_first_patch_comes_last(text: str) -> None:
    assert add_patch(text, NEW) == f"{text.rstrip()}\n\n{ADDED}"


def test_a_patch_behind_a_last_line_that_has_no_end() -> None:
    assert add_patch('[[patches]]\nid = "a"', NEW) == f'[[patches]]\nid = "a"\n\n{ADDED}'


def test_what_was_added_is_dropped() -> None:
    assert drop_patch(add_patch(TEXT, NEW), 2) == TEXT


def test_a_comment_right_above_a_patch_goes_with_it() -> None:
    assert drop_patch(TEXT, 1) == "\n".join([HEAD + FIRST, TAIL])


def test_the_comment_above_the_first_stays() -> None:
    assert drop_patch(TEXT, 0) == "\n".join([HEAD.rstrip("\n") + "\n", SECOND, TAIL])


def test_the_last_patch_of_a_file() -> None:
    assert drop_patch(f"schema = 1\n\n{FIRST}", 0) == "schema = 1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('patches = [{ id = "a" }]\n', "write each as"),
        ('[[patches]]\nid = "a"\n\n[[ patches ]]\nid = "b"\n', "without spaces"),
    ],
)
def test_what_is_not_edited(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        add_patch(text, NEW)
