"""A source tree as one canonical tar: the same files give the same bytes, on any machine.

Sorted by path, below the one folder ``source``; every time is the commit's; modes are 0644 or 0755;
owners are 0; nothing is compressed (a compressor's output depends on its version). GNU format, as
``tarfile`` has written it since Python 3.8.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.errors import Fault
from kvpack.tools.members import Kind, Member, check

TOP = "source"
_LFS = b"version https://git-lfs.github.com/spec/"
"""The first words of a pointer (git-lfs, docs/spec.md)."""
_LFS_SIZE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A file, a link or an (empty) folder; a link's data is its target."""

    path: str
    kind: Kind
    data: bytes = b""
    executable: bool = False


def write_tree(nodes: Iterable[Node], target: Path, *, epoch: int) -> None:
    """Write the canonical tar. ``nodes`` come sorted by ``key_of`` and are read once."""
    with target.open("wb") as stream, tarfile.open(
        fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8",
        errors="surrogateescape",
    ) as tar:  # fmt: skip
        done: set[str] = set()
        for node in nodes:
            for folder in _above(f"{TOP}/{node.path}"):
                if folder not in done:
                    done.add(folder)
                    tar.addfile(_info(folder, tarfile.DIRTYPE, epoch, 0o755))
            name = f"{TOP}/{node.path}"
            if node.kind is Kind.FOLDER:
                if name not in done:
                    done.add(name)
                    tar.addfile(_info(name, tarfile.DIRTYPE, epoch, 0o755))
            elif node.kind is Kind.SYMLINK:
                info = _info(name, tarfile.SYMTYPE, epoch, 0o777)
                info.linkname = node.data.decode(errors="surrogateescape")
                tar.addfile(info)
            else:
                info = _info(name, tarfile.REGTYPE, epoch, 0o755 if node.executable else 0o644)
                info.size = len(node.data)
                tar.addfile(info, io.BytesIO(node.data))


def write_files(
    files: Iterable[tuple[str, bytes | Path]], stream: IO[bytes], *, epoch: int
) -> None:
    """Write files as one canonical tar, in the order in which they come; nothing is compressed."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        for name, data in files:
            info = _info(name, tarfile.REGTYPE, epoch, 0o644)
            if isinstance(data, bytes):
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                continue
            with data.open("rb") as source:
                info.size = data.stat().st_size
                tar.addfile(info, source)


def key_of(path: str) -> list[bytes]:
    """What paths are sorted by: folder after folder, bytes as they are."""
    return [part.encode(errors="surrogateescape") for part in path.split("/")]


@dataclass(frozen=True, slots=True)
class Looked:
    """What the rules need to know of a node."""

    member: Member
    pointer: bool


def look(node: Node) -> Looked:
    """Keep of a node what ``faults_of`` judges."""
    target = node.data.decode(errors="surrogateescape") if node.kind is Kind.SYMLINK else ""
    member = Member(
        name=node.path,
        kind=node.kind,
        size=len(node.data),
        mode=0o755 if node.executable else 0o644,
        mtime=0,
        target=target,
    )
    is_pointer = node.kind is Kind.FILE and len(node.data) <= _LFS_SIZE
    return Looked(member, is_pointer and node.data.startswith(_LFS))


def faults_of(looked: Iterable[Looked], shown: str) -> list[Fault]:
    """Every reason to refuse a tree: what leads out of it, what git would run, LFS pointers."""
    known = list(looked)
    faults = check([one.member for one in known], shown, duplicates=False)
    faults += [fault for one in known for fault in _own_faults(one, shown)]
    return faults


def _own_faults(one: Looked, shown: str) -> Iterator[Fault]:
    place = f"{shown}: {one.member.name!r}"
    if ".git" in {part.lower() for part in one.member.parts}:
        yield Fault(place=place, message="a path of git's own folder: git would obey it")
    if one.pointer:
        yield Fault(
            place=place,
            message="a pointer of Git LFS: the file itself is not in the repository",
            hint="kvpack fetches no LFS objects: use an sdist or an archive that holds the file, "
            "or a mirror of the repository without LFS",
        )


def _above(name: str) -> Iterator[str]:
    parts = name.split("/")
    for depth in range(1, len(parts)):
        yield "/".join(parts[:depth])


def _info(name: str, kind: bytes, epoch: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.mode = kind, epoch, mode
    return info
