"""Gives a pyproject.toml the project name of a target, and leaves every other byte as it is.

This file runs inside the builder root, by the target's Python; kvpack imports it for its tests. So:
standard library only, Python 3.9 and newer, no kvpack imports.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_TABLE = re.compile(r"^\s*\[")
_PROJECT = re.compile(r"^\s*\[\s*project\s*\]\s*(#.*)?$")
_NAME = re.compile(r"""^(\s*name\s*=\s*)("[^"]*"|'[^']*')(.*)$""", re.DOTALL)


def renamed(text: str, name: str) -> str | None:
    """The text with ``[project] name`` replaced; ``None`` if it has none (PEP 621)."""
    lines, inside = text.splitlines(keepends=True), False
    for index, line in enumerate(lines):
        if _TABLE.match(line):
            inside = _PROJECT.match(line.rstrip("\r\n")) is not None
        elif inside:
            found = _NAME.match(line)
            if found:
                lines[index] = found[1] + '"' + name + '"' + found[3]
                return "".join(lines)
    return None


def main(args: list[str]) -> int:
    """``rename.py PYPROJECT NAME``."""
    path = Path(args[0])
    text = path.read_bytes().decode("utf-8") if path.is_file() else ""
    changed = renamed(text, args[1])
    if changed is None:
        sys.stdout.write("kvpack: rename failed: %s has no [project] name\n" % path)
        return 1
    path.write_bytes(changed.encode("utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
