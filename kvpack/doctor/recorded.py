"""A recorded machine with its environment: read from a file, judged like a live one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from kvpack.base import Text, Value, faults_of
from kvpack.doctor.environment import Environment
from kvpack.doctor.port import Program
from kvpack.errors import Fault, UsageError
from kvpack.tools.files import write_text


class Tape(Value):
    """The answers of a machine, by path and program. What it lacks is not there."""

    files: dict[str, str] = Field(default_factory=dict)
    folders: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    programs: dict[Program, str] = Field(default_factory=dict)
    variables: dict[str, str] = Field(default_factory=dict)


class Recording(Value):
    """The file that ``kvpack doctor --record`` writes and ``--replay`` judges."""

    recording_schema: Literal[1] = Field(default=1, alias="schema")
    name: Text
    """What machine it is: the model, never a host's name."""
    stand_in: bool = False
    """Composed by hand from documents, not taken from a machine."""
    sources: tuple[Text, ...] = ()
    """For a stand-in: where each reading is known from."""
    machine: Tape
    environment: Environment


class Recorded:
    """A tape behind the port ``Machine``."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def read(self, path: str) -> str | None:
        return self.tape.files.get(path)

    def listing(self, path: str) -> tuple[str, ...] | None:
        return self.tape.folders.get(path)

    def run(self, program: Program) -> str | None:
        return self.tape.programs.get(program)

    def variables(self) -> Mapping[str, str]:
        return self.tape.variables


def load(path: Path) -> Recording:
    """Read a recording.

    :raises UsageError: with every fault, if it is none.
    """
    try:
        content = json.loads(path.read_bytes())
        return Recording.model_validate(content)
    except ValidationError as error:
        faults = faults_of(error, Recording, str(path))
    except ValueError as error:
        faults = [Fault(place=str(path), message=f"no JSON: {error}")]
    raise UsageError(
        f"{path} is no recording of a machine",
        cause="it was edited by hand, or written by another version of kvpack",
        hint="kvpack doctor --record FILE writes one",
        faults=faults,
    )


def save(path: Path, recording: Recording) -> None:
    """Write a recording, whole or not at all."""
    text = json.dumps(recording.as_json(), indent=1, ensure_ascii=False) + "\n"
    write_text(path, text)
