"""The members of an archive as plain values, and every rule that they can break.

Nothing here reads or writes a file: ``tools/archive.py`` does.
"""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kvpack.errors import Fault

ZIP_EPOCH = 315_532_800
"""1980-01-01: the first moment that a zip archive can name."""
HOPS = 40
"""Links that Linux follows in one path (``path_resolution(7)``): a longer chain leads nowhere."""
NAME_MAX, PATH_MAX = 255, 3000
"""Bytes of one part of a path, and of a whole path below a folder."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Kind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"
    SPECIAL = "device, pipe or socket"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of an archive, as its headers describe it."""

    name: str
    kind: Kind
    size: int
    mode: int
    mtime: float
    """Seconds since the epoch."""
    target: str = ""
    """Where a link points, as written."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's parts; ``.`` and empty ones do not count."""
        return tuple(part for part in self.name.split("/") if part not in {"", "."})

    @property
    def path(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of what one archive may unpack to."""

    total: int = 4 << 30
    """Bytes of all files together."""
    members: int = 200_000
    ratio: int = 250
    """Unpacked bytes per packed byte: sources reach 20; bombs of gzip 1000, others far more."""
    ratio_from: int = 64 << 20
    """Unpacked bytes below which the ratio does not matter."""

    def broken_by(self, members: int, total: int, packed: int) -> str:
        """Say which bound is passed, if any."""
        if members > self.members:
            return f"more than {self.members} members"
        if total > self.total:
            return f"more than {self.total} bytes unpacked"
        if total > self.ratio_from and total > self.ratio * max(packed, 1):
            return f"{packed} bytes unpack to more than {total}: over {self.ratio} times as much"
        return ""


def check(members: Iterable[Member], archive: str, *, duplicates: bool) -> list[Fault]:
    """Find every rule that ``members`` break.

    :param archive: how messages name the archive.
    :param duplicates: whether a file may come twice (a tar's later one wins; two readers of
        one zip may disagree about which of two is meant).
    """
    known = tuple(members)
    kinds: dict[str, Kind] = {}
    links = {member.path: member for member in known if member.kind is Kind.SYMLINK}
    found: list[tuple[Member, str]] = []
    for member in known:
        found += [(member, message) for message in _name_faults(member.name)]
        found += [(member, message) for message in _mode_faults(member)]
        earlier = kinds.get(member.path)
        if earlier not in {None, member.kind}:
            found.append((member, f"comes twice: as {earlier}, then as {member.kind}"))
        elif earlier is Kind.FILE and not duplicates:
            found.append((member, "comes twice"))
        kinds.setdefault(member.path, member.kind)
    for member in known:
        found += [(member, message) for message in _tree_faults(member, kinds, links)]
    return [
        Fault(place=f"{archive}: {member.name!r}", message=message) for member, message in found
    ]


def _name_faults(name: str) -> Iterator[str]:
    if _CONTROL.search(name):
        yield "its name holds a NUL or control character"
    if "\\" in name:
        yield "its name holds a backslash, which some systems take for a separator"
    if name.startswith("/"):
        yield "an absolute path"
    parts = name.split("/")
    if ".." in parts:
        yield "its path climbs with '..'"
    size = len(name.encode(errors="surrogateescape"))
    if size > PATH_MAX or max(len(part.encode(errors="surrogateescape")) for part in parts) > (
        NAME_MAX
    ):
        yield "its name is too long for a file system"


def _mode_faults(member: Member) -> Iterator[str]:
    if member.kind is Kind.SPECIAL:
        yield "a device, pipe or socket"
    # A folder made in a set-group-ID folder inherits that bit: harmless, and dropped.
    if member.mode & stat.S_ISUID or (member.kind is Kind.FILE and member.mode & stat.S_ISGID):
        yield f"would run with the rights of its owner (mode {member.mode & 0o7777:04o})"


def _tree_faults(
    member: Member, kinds: Mapping[str, Kind], links: Mapping[str, Member]
) -> Iterator[str]:
    if not member.parts and member.kind is not Kind.FOLDER:
        yield "has no name of its own"
    for depth in range(1, len(member.parts)):
        above = "/".join(member.parts[:depth])
        if kinds.get(above, Kind.FOLDER) is not Kind.FOLDER:
            yield f"would be written through {above!r}, which is a {kinds[above]}"
    if member.kind in {Kind.SYMLINK, Kind.HARDLINK}:
        yield from _target_faults(member.target)
    if member.kind is Kind.SYMLINK and _leads_out(member, links):
        yield f"a symbolic link that leads out of the archive, to {member.target!r}"
    if member.kind is Kind.HARDLINK:
        goal = "/".join(part for part in member.target.split("/") if part not in {"", "."})
        if member.target.startswith("/") or ".." in goal.split("/"):
            yield f"a hard link that leads out of the archive, to {member.target!r}"
        elif kinds.get(goal) is not Kind.FILE:
            yield f"a hard link to {member.target!r}, which is no file of the archive"


def _target_faults(target: str) -> Iterator[str]:
    if not target or _CONTROL.search(target):
        yield f"a link to {target!r}, which is no path"
    if len(target.encode(errors="surrogateescape")) > PATH_MAX:
        yield "a link whose target is too long for a file system"


def _leads_out(link: Member, links: Mapping[str, Member]) -> bool:
    """Whether following ``link``, and the links on its way, leaves the archive's folder."""
    here = list(link.parts[:-1])
    todo = [link.target]
    hops = 0
    while todo:
        rest = todo.pop()
        if rest.startswith("/"):
            return True
        first, _, more = rest.partition("/")
        if more:
            todo.append(more.lstrip("/"))
        if first == "..":
            if not here:
                return True
            here.pop()
        elif first not in {"", "."}:
            here.append(first)
            follow = links.get("/".join(here))
            if follow is not None:
                hops += 1
                if hops > HOPS:
                    return False
                here.pop()
                todo.append(follow.target)
    return False


def executable(mode: int) -> bool:
    """Whether the owner may execute a file of this mode."""
    return bool(mode & stat.S_IXUSR)


def member_below_top(members: Iterable[Member], suffix: str) -> Member | None:
    """Find ``<top>/<suffix>``, if all members lie below one folder and it is a file."""
    tops, found = set(), None
    for member in members:
        tops.add(member.parts[:1])
        if member.kind is Kind.FILE and member.parts[1:] == tuple(suffix.split("/")):
            found = member
    tops.discard(())
    return found if len(tops) == 1 else None
