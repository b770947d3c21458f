"""Exit codes: one for each way to fail, and the documents that list them."""

import re
from pathlib import Path

import pytest

from kvpack import errors
from kvpack.errors import Fault, KvpackError

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, KvpackError)
}


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in CLASSES.values()]
    assert len(set(codes)) == len(codes) > 20
    assert all("exit_code" in vars(error) for error in CLASSES.values())
    assert all(0 < code < 256 for code in codes)


def test_the_table_in_the_docstring_is_the_classes() -> None:
    rows = re.findall(r"^    (?:[|`]- )?(\w+) +(\d+)   (\S.*)$", str(errors.__doc__), re.MULTILINE)
    table = {name: int(code) for name, code, _ in rows}
    assert len(table) == len(rows)
    assert table == {name: error.exit_code for name, error in CLASSES.items()}
    assert list(table.values())[1:] == sorted(list(table.values())[1:])


@pytest.mark.parametrize("name", CLASSES)
def test_the_reference_lists_every_error(name: str) -> None:
    """A row of a table with the code and the class: ``| 21 | LockDrift | … |``."""
    text = REFERENCE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.search(rf"\b{name}\b", line)]
    code = CLASSES[name].exit_code
    assert any(re.search(rf"^\|.*(?<!\d){code}(?!\d).*\|", row) for row in rows), rows


def test_an_error_as_json_says_all() -> None:
    fault = Fault(place="a.toml: b", message="is wrong", hint="mend it")
    error = errors.LockDrift("what", cause="why", hint="next", faults=[fault])
    assert error.as_json() == {
        "error": "LockDrift",
        "exit-code": 21,
        "what": "what",
        "cause": "why",
        "hint": "next",
        "faults": [{"place": "a.toml: b", "message": "is wrong", "hint": "mend it"}],
    }
    assert str(error) == "what"
    assert KvpackError("x").as_json()["faults"] == []
