"""A container engine that builds, played by a program on PATH."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from kvpack.tools.engine import Engine
from tests.unit.build.made import calls, script

_PROGRAM = """
PATH=/usr/bin:/bin
command=$1; shift
{ printf "%s" "$command"; printf "\\t%s" "$@" | tr '\\n' '\\001'; echo; } >> HERE/calls
env | sort > HERE/environment
case $command in
  create) echo "a warning of the engine"; echo 0a1b2c ;;
  ps) cat HERE/left 2>/dev/null ;;
  start) cat HERE/says; exit "$(cat HERE/code)" ;;
  cp) test "$2" = - || { cp -R "${1%/.}" HERE/given; exit 0; }
    test -f HERE/taken.tar && exec cat HERE/taken.tar
    cat HERE/refuses >&2; exit 125 ;;
esac
"""
MISSING = {
    "podman": 'Error: "{place}" could not be found on container 0a1b2c: no such file or directory',
    "docker": "Error response from daemon: Could not find the file {place} in container 0a1b2c",
}
"""What an engine says of a folder that is not in a container."""


@dataclass
class Playing:
    """One engine, what it was called with, and what it says and leaves."""

    folder: Path
    name: str = "podman"

    def __post_init__(self) -> None:
        text = _PROGRAM.replace("HERE", str(self.folder))
        script(self.folder / "bin" / self.name, text)
        self.plays()

    def on(self, monkeypatch: pytest.MonkeyPatch) -> "Playing":
        monkeypatch.setenv("PATH", str(self.folder / "bin"))
        return self

    @property
    def engine(self) -> Engine:
        return Engine(self.name, {"DOCKER_HOST": "unix:///x", "PATH": str(self.folder / "bin")})

    def plays(self, says: str = "", code: int = 0, taken: bytes | None = None) -> None:
        """What the build prints, how it ends, and the folder that it leaves."""
        (self.folder / "says").write_text(says, encoding="utf-8")
        (self.folder / "code").write_text(f"{code}\n", encoding="utf-8")
        (self.folder / "taken.tar").unlink(missing_ok=True)
        if taken is not None:
            (self.folder / "taken.tar").write_bytes(taken)
        self.refuses(MISSING[self.name].format(place="/opt/ucx"))

    def refuses(self, words: str) -> None:
        """Why it gives no folder out."""
        (self.folder / "refuses").write_text(words, encoding="utf-8")

    def calls(self, command: str) -> list[list[str]]:
        """The words of every call of one command."""
        found = (words for words in calls(self.folder / "calls") if words[0] == command)
        return [[word.replace("\001", "\n") for word in words[1:]] for words in found]
