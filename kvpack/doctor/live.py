"""This machine, behind the port ``Machine``; and the tape that a recording is made of."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from kvpack.doctor.port import DROPPED, FILES, FOLDERS, PROGRAMS, Machine, Program
from kvpack.doctor.recorded import Tape
from kvpack.errors import ToolFailed
from kvpack.report import Reporter, Silent
from kvpack.tools.process import Command, find, run

_SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
"""Where ldconfig and modinfo are, on hosts whose PATH leaves these out for users."""
_TIMEOUT = 30.0
"""Seconds: nvidia-smi hangs where a GPU has fallen off the bus."""
_MOST = 4 << 20
"""Bytes of a file that are read."""


@dataclass
class Live:
    """The machine that kvpack runs on. ``names``: environment variables that may be read."""

    names: Sequence[str]
    reporter: Reporter = field(default_factory=Silent)

    def read(self, path: str) -> str | None:
        keep = next((lines for glob, lines in FILES.items() if fnmatchcase(path, glob)), None)
        if keep is None:
            raise ValueError(f"{path} is not on the list of files")
        try:
            with Path(path).open("rb") as stream:
                text = stream.read(_MOST).decode(errors="replace")
        except OSError:
            return None
        return _kept(text, keep)

    def listing(self, path: str) -> tuple[str, ...] | None:
        if path not in FOLDERS:
            raise ValueError(f"{path} is not on the list of folders")
        try:
            return tuple(sorted(one.name for one in Path(path).iterdir()))
        except OSError:
            return None

    def run(self, program: Program) -> str | None:
        found = find(program) or next(
            (path for folder in _SBIN if (path := Path(folder, program)).is_file()), None
        )
        if found is None:
            return None
        plain = {**os.environ, "LC_ALL": "C"}
        command = Command(args=[found, *PROGRAMS[program]], environment=plain, timeout=_TIMEOUT)
        try:
            result = run(command, self.reporter)
        except ToolFailed as failure:
            self.reporter.detail(f"{program}: {failure.what}")
            return None
        return _kept(f"{result.output}\n{result.errors}", r".*")

    def variables(self) -> Mapping[str, str]:
        return {name: os.environ[name] for name in self.names if name in os.environ}


@dataclass
class Taped:
    """A machine whose answers are kept on a tape."""

    machine: Machine
    tape: dict[str, dict[str, object]] = field(
        default_factory=lambda: {"files": {}, "folders": {}, "programs": {}}
    )

    def read(self, path: str) -> str | None:
        found = self.tape["files"][path] = self.machine.read(path)
        return found

    def listing(self, path: str) -> tuple[str, ...] | None:
        found = self.tape["folders"][path] = self.machine.listing(path)
        return found

    def run(self, program: Program) -> str | None:
        found = self.tape["programs"][program] = self.machine.run(program)
        return found

    def variables(self) -> Mapping[str, str]:
        return self.machine.variables()

    def recorded(self) -> Tape:
        """What was answered; what the machine does not have is left out."""
        kept = {
            kind: {name: one for name, one in answers.items() if one is not None}
            for kind, answers in self.tape.items()
        }
        return Tape.model_validate({**kept, "variables": dict(self.variables())})


def _kept(text: str, lines: str) -> str:
    drop = re.compile(DROPPED, re.IGNORECASE)
    return "\n".join(
        line
        for line in text.splitlines()
        if line.strip() and re.match(lines, line) and not drop.search(line)
    )
