import os
from pathlib import Path
from typing import Any

import pytest

from kvpack.fetch.remembered import recalled, remember, signature


class Records:
    """A memory in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}

    def read_record(self, kind: str, name: str) -> dict[str, Any] | None:
        return self.kept.get((kind, name))

    def write_record(self, kind: str, name: str, record: dict[str, Any]) -> None:
        self.kept[kind, name] = record


def test_an_answer_is_kept_under_its_signature() -> None:
    memory = Records()
    assert recalled(memory, "a") is None
    remember(memory, "a", "global.index-url='https://index.example/simple'")
    assert recalled(memory, "a") == "global.index-url='https://index.example/simple'"
    assert recalled(memory, "b") is None
    assert recalled(None, "a") is None


def test_credentials_are_never_kept() -> None:
    memory = Records()
    remember(memory, "a", "global.index-url='https://user:secret@index.example/simple'")
    assert memory.kept == {}


def test_a_record_of_another_form_is_no_answer() -> None:
    memory = Records()
    memory.kept["pip", "a"] = {"said": 3}
    assert recalled(memory, "a") is None


@pytest.mark.parametrize(
    "place",
    [".pip/pip.conf", ".config/pip/pip.conf", "xdg/pip/pip.conf", "named.conf", "env/pip.conf"],
)
def test_every_file_that_pip_reads_counts(tmp_path: Path, place: str) -> None:
    environment = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "PIP_CONFIG_FILE": str(tmp_path / "named.conf"),
    }
    commands = [[str(tmp_path / "env" / "bin" / "pip")]]
    before = signature(environment, commands)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[global]\nindex-url = https://a.example\n", encoding="utf-8")
    after = signature(environment, commands)
    assert after != before
    path.write_text("[global]\nindex-url = https://b.example\n", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert signature(environment, commands) not in {before, after}


@pytest.mark.parametrize(
    ("name", "counts"), [("PIP_INDEX_URL", True), ("HOME", True), ("EDITOR", False)]
)
def test_the_environment_that_pip_reads_counts(name: str, *, counts: bool) -> None:
    one = signature({"HOME": "/h", name: "1"}, [])
    two = signature({"HOME": "/h", name: "2"}, [])
    assert (one != two) is counts
