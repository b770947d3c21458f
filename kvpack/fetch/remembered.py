"""What pip's configuration said, remembered: asking pip costs a third of a second at every start.

An answer holds as long as nothing changed that pip reads: its program, its configuration files in
all places that its documentation names ("Configuration", "Location"), and its environment. Answers
with credentials are never remembered.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kvpack.tools.files import canonical_json, sha256_of
from kvpack.tools.records import Kind

KIND: Kind = "pip"
"""The kind of the records."""
_READ = ("HOME", "VIRTUAL_ENV", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "PYTHONPATH", "PYTHONHOME")


class Memory(Protocol):
    """Where records are kept: ``kvpack.tools.store.Store``."""

    def read_record(self, kind: Kind, name: str) -> dict[str, Any] | None: ...
    def write_record(self, kind: Kind, name: str, record: dict[str, Any]) -> None: ...


def signature(environment: Mapping[str, str], commands: Sequence[Sequence[str]]) -> str:
    """Digest of everything that decides what pip says."""
    variables = {
        name: value
        for name, value in environment.items()
        if name in _READ or name.startswith("PIP_")
    }
    files = {str(path): _stamp(path) for path in _files(environment, commands)}
    return sha256_of(canonical_json([variables, files, [list(words) for words in commands]]))


def recalled(memory: Memory | None, name: str) -> str | None:
    """What pip said when nothing was different."""
    record = None if memory is None else memory.read_record(KIND, name)
    said = None if record is None else record.get("said")
    return said if isinstance(said, str) else None


def remember(memory: Memory | None, name: str, said: str) -> None:
    """Keep an answer, unless it holds what looks like credentials."""
    if memory is not None and "@" not in said:
        memory.write_record(KIND, name, {"said": said})


def _files(environment: Mapping[str, str], commands: Sequence[Sequence[str]]) -> Iterator[Path]:
    home = Path(environment.get("HOME") or "~").expanduser()
    if named := environment.get("PIP_CONFIG_FILE"):
        yield Path(named)
    for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    for prefix in (sys.prefix, sys.base_prefix):
        yield Path(prefix, "pip.conf")
    for words in commands:
        program = Path(words[0])
        yield program
        yield program.parent.parent / "pip.conf"


def _stamp(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]
