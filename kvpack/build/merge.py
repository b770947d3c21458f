"""Puts what further builds of a wheel add into the first one's: extensions, one for each torch.

This file runs inside the builder root; kvpack imports it for ``MERGE`` and for its tests. So:
standard library only, Python 3.9 and newer, no kvpack imports.

Nothing is lost and nothing is chosen: a file that both builds made must be the same, and one that
only the further build made must be named by the recipe. NIXL's own contrib/wheel_merge.py copies
what matches a pattern, and leaves the rest to luck.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import zipfile
from pathlib import Path

MERGE = 1
"""Part of the action key of wheels that are merged. Raise it when a change changes the bytes."""
MARK = "kvpack: merge failed:"
_RECORD = re.compile(r"[^/]+\.dist-info/RECORD$")
_WHEEL = re.compile(r"[^/]+\.dist-info/WHEEL$")
_GENERATOR = re.compile(rb"(?m)^Generator:.*$")
"""Of the back end, whose version an environment may limit; the first build's counts."""

Members = dict[str, tuple[zipfile.ZipInfo, bytes]]


def members_of(wheel: Path) -> Members:
    """Every file, and what the archive says of it."""
    with zipfile.ZipFile(wheel) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        return {info.filename: (info, archive.read(info)) for info in files}


def named(patterns: list[str], name: str) -> bool:
    """Whether any glob means a member: ``*`` stays in one folder, ``**`` is any number of them."""
    return any(re.fullmatch(_pattern(one), name) for one in patterns)


def _pattern(glob: str) -> str:
    escaped = re.escape(glob).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return escaped.replace("[^/]*[^/]*/", "(?:[^/]+/)*")


def _same(name: str, first: bytes, further: bytes) -> bool:
    if _WHEEL.match(name):
        first, further = (_GENERATOR.sub(b"", data) for data in (first, further))
    return first == further


def additions(first: Members, further: Members, patterns: list[str]) -> Members:
    """What the further build adds.

    :raises ValueError: if it adds nothing, something else, or other bytes; with every fault.
    """
    added, faults = {}, []
    for name, (info, data) in further.items():
        if _RECORD.match(name):
            continue
        if name not in first and named(patterns, name):
            added[name] = (info, data)
        elif name not in first:
            faults.append("%s: only the further build made it, torch-adds does not name it" % name)
        elif not _same(name, first[name][1], data):
            faults.append("%s: both builds made it, with other bytes" % name)
    faults += ["%s: only the first build made it" % name for name in lost(first, further, patterns)]
    if not added:
        faults.append("no file that torch-adds names (%s) was added" % ", ".join(patterns))
    if faults:
        raise ValueError("\n".join(sorted(faults)))
    return added


def lost(first: Members, further: Members, patterns: list[str]) -> list[str]:
    """What the first build made and the further one did not, but for what torch-adds names."""
    gone = [name for name in first if name not in further and not _RECORD.match(name)]
    return [name for name in gone if not named(patterns, name)]


def record_line(name: str, data: bytes) -> str:
    """A line of RECORD (binary distribution format)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    quoted = '"' + name.replace('"', '""') + '"' if re.search(r'[",\n]', name) else name
    return "%s,sha256=%s,%d\n" % (quoted, digest, len(data))


def merge(wheel: Path, further: Path, patterns: list[str]) -> list[str]:
    """Add to ``wheel``, in place, with its RECORD; returns the names of what was added.

    :raises ValueError: with every fault; then the wheel is as it was.
    """
    first = members_of(wheel)
    added = additions(first, members_of(further), patterns)
    record = next(name for name in first if _RECORD.match(name))
    lines = "".join(record_line(name, data) for name, (_, data) in sorted(added.items()))
    info, text = first.pop(record)
    merged = {**first, **added, record: (info, lines.encode() + text)}
    made = wheel.with_suffix(".merged")
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in merged.values():
            archive.writestr(entry, data)
    made.replace(wheel)
    return sorted(added)


def main(args: list[str]) -> int:
    """``merge.py WHEEL FURTHER-WHEEL PATTERN…``."""
    try:
        added = merge(Path(args[0]), Path(args[1]), args[2:])
    except ValueError as error:
        for line in str(error).splitlines():
            sys.stdout.write("%s %s\n" % (MARK, line))
        return 1
    sys.stdout.write("merged %s\n" % ", ".join(added))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
