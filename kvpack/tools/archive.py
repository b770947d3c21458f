"""Unpacking tar and zip archives that nobody vouches for.

An archive is read twice: first its headers, against every rule of ``tools/members.py``, then its
files. All files are written before the first link is made, so nothing can be written through one.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from kvpack.errors import ArchiveUnsafe, Fault
from kvpack.tools.files import CHUNK, disk_full_at, remove_tree
from kvpack.tools.members import (
    ZIP_EPOCH,
    Kind,
    Limits,
    Member,
    check,
    executable,
    member_below_top,
)
from kvpack.tools.packed import DAMAGE, HEADER_LIMIT, Archive, is_zip, opened

ZIP_END = 4_354_819_198
"""2107-12-31: the last moment that a zip archive can name."""


def unpack(
    archive: Path, target: Path, *, name: str | None = None, limits: Limits | None = None
) -> None:
    """Unpack into the new folder ``target``, whole or not at all.

    Kept: execute bits and times. Dropped: owners and all other mode bits.

    :param name: how messages name the archive, where its path says little (a blob of the store).
    :raises ArchiveUnsafe: with every fault; nothing is left behind.
    :raises DiskFull: if the device is full; nothing is left behind.
    """
    shown = name or archive.name
    members, faults = _scan(archive, shown, limits or Limits())
    faults = [*check(members, shown, duplicates=not is_zip(archive)), *faults]
    if faults:
        raise _unsafe(shown, faults)
    target.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_at(target):
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with _damage_as_fault(shown):
                _write(opened(archive), members, folder)
            folder.replace(target)
        except BaseException:
            remove_tree(folder)
            raise


def contents(
    archive: Path, *, name: str | None = None, limits: Limits | None = None
) -> Iterator[tuple[Member, IO[bytes]]]:
    """Read the files of an archive one after the other; nothing is unpacked.

    :raises ArchiveUnsafe: before the first one, with every fault that ``unpack`` would refuse.
    """
    shown = name or archive.name
    members, faults = _scan(archive, shown, limits or Limits())
    faults = [*check(members, shown, duplicates=False), *faults]
    faults += [
        Fault(place=f"{shown}: {member.name!r}", message=f"is no file, but a {member.kind}")
        for member in members
        if member.kind in {Kind.SYMLINK, Kind.HARDLINK}
    ]
    if faults:
        raise _unsafe(shown, faults)
    with _damage_as_fault(shown):
        yield from opened(archive).contents()


def newest_mtime(archive: Path, *, name: str | None = None) -> int:
    """Tell when the newest member was changed: seconds since the epoch, within a zip's range.

    :raises ArchiveUnsafe: if the archive cannot be read to its end.
    """
    members = _read_headers(archive, name or archive.name)
    newest = max((int(member.mtime) for member in members), default=0)
    return min(max(newest, ZIP_EPOCH), ZIP_END)


def read_member(archive: Path, suffix: str, *, name: str | None = None) -> bytes | None:
    """Read ``<top>/<suffix>``, where ``<top>`` is the one folder that holds all members.

    :returns: ``None`` where there is no such file, or no single top folder.
    :raises ArchiveUnsafe: if the archive cannot be read, or the member is over 16 MiB.
    """
    shown = name or archive.name
    wanted = member_below_top(_read_headers(archive, shown), suffix)
    if wanted is None:
        return None
    if wanted.size > HEADER_LIMIT:
        fault = Fault(place=f"{shown}: {wanted.name!r}", message=f"over {HEADER_LIMIT} bytes")
        raise _unsafe(shown, [fault])
    data = None
    with _damage_as_fault(shown):
        for member, stream in opened(archive).contents():
            if member.name == wanted.name:
                data = stream.read(HEADER_LIMIT)
    return data


def read_folder(
    archive: Path, folder: str, suffix: str, *, name: str | None = None
) -> dict[str, bytes]:
    """Read every ``<top>/<folder>/*<suffix>``, by file name; files below other folders are not.

    :raises ArchiveUnsafe: as ``read_member``.
    """
    shown = name or archive.name
    _, faults = _scan(archive, shown, Limits())
    if faults:
        raise _unsafe(shown, faults)
    way, found = tuple(folder.split("/")), dict[str, bytes]()
    with _damage_as_fault(shown):
        for member, stream in opened(archive).contents():
            file = member.parts[-1] if member.parts else ""
            if member.parts[1:-1] != way or not file.endswith(suffix):
                continue
            if member.size > HEADER_LIMIT:
                fault = Fault(
                    place=f"{shown}: {member.name!r}", message=f"over {HEADER_LIMIT} bytes"
                )
                raise _unsafe(shown, [fault])
            if member.kind is Kind.FILE:
                found[file] = stream.read(HEADER_LIMIT)
    return found


# -- reading --------------------------------------------------------------------------------


def _read_headers(archive: Path, shown: str) -> list[Member]:
    members, faults = _scan(archive, shown, Limits())
    if faults:
        raise _unsafe(shown, faults)
    return members


def _scan(archive: Path, shown: str, limits: Limits) -> tuple[list[Member], list[Fault]]:
    """Read all headers, up to the first that cannot be read or passes a bound."""
    found: list[Member] = []
    total = 0
    try:
        source = opened(archive)
        for member in source.members():
            found.append(member)
            total += member.size
            broken = limits.broken_by(len(found), total, source.packed)
            if member.size < 0:
                broken = f"{member.name!r} has the size {member.size}"
            if broken:
                return found, [Fault(place=shown, message=broken)]
    except DAMAGE as error:
        return found, [_damage(error, shown)]
    return found, []


def _damage(error: Exception, shown: str) -> Fault:
    """Name what is damaged.

    :raises OSError: the error itself, if it is about the machine and not the archive.
    """
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    return Fault(
        place=shown,
        message=f"damaged or cut: {str(error) or type(error).__name__}",
        hint="fetch it again; if the bytes are the locked ones, report it where it is published",
    )


@contextlib.contextmanager
def _damage_as_fault(shown: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise _unsafe(shown, [_damage(error, shown)]) from error


def _unsafe(shown: str, faults: Sequence[Fault]) -> ArchiveUnsafe:
    count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
    return ArchiveUnsafe(
        f"{shown} was refused: {count}",
        cause="it is damaged, or made to write outside its folder or to fill the disk",
        hint="nothing was unpacked; compare it with what its project publishes",
        faults=faults,
    )


# -- writing --------------------------------------------------------------------------------


def _write(source: Archive, members: Sequence[Member], folder: Path) -> None:
    for member, stream in source.contents():
        path = folder / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with path.open("xb") as copy:
            shutil.copyfileobj(stream, copy, CHUNK)
        _finish(path, member)
    for member in members:
        path = folder / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.kind is Kind.FOLDER:
            path.mkdir(exist_ok=True)
        elif member.kind is Kind.HARDLINK:
            # A copy: an edit of one of two linked files would change the other.
            shutil.copy2(folder / member.target, path)
    for member in members:
        if member.kind is Kind.SYMLINK:
            path = folder / member.path
            path.unlink(missing_ok=True)
            path.symlink_to(member.target)
            os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
    for made, _, _ in os.walk(folder):
        Path(made).chmod(0o755)  # whatever the umask is: a build must see the same everywhere
    folders = (member for member in members if member.kind is Kind.FOLDER)
    for member in sorted(folders, key=lambda member: -len(member.parts)):
        os.utime(folder / member.path, (member.mtime, member.mtime))


def _finish(path: Path, member: Member) -> None:
    path.chmod(0o755 if executable(member.mode) else 0o644)
    os.utime(path, (member.mtime, member.mtime))
