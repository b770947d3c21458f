"""The zip around a wheel: what its directory says, and every member read once, in pieces.

A hostile archive is described, never unpacked: names are judged before anything is read, sizes
before anything is inflated, and what a member holds goes to memory or an unnamed temporary file.
"""

import hashlib
import lzma
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from kvpack.audit import elf, policy
from kvpack.audit.model import ElfFile
from kvpack.errors import Fault
from kvpack.tools.files import CHUNK, disk_full_at

_ENCRYPTED = 0x1
_IN_MEMORY = 16 << 20
"""Bytes of an ELF file up to which no temporary file is made."""

READ_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OSError),
)
"""What zipfile lets through for damaged members and unknown compression methods."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What one member holds."""

    digest: bytes
    """By the algorithm that RECORD names for it."""
    size: int
    """Bytes after inflation."""
    elf: ElfFile | None = None
    damage: str = ""
    """Why an ELF file could not be described."""


def structure_faults(infos: Sequence[zipfile.ZipInfo], wheel: str) -> list[Fault]:
    """Faults of the zip directory: names and kinds of members. Nothing is read for them."""
    faults = [
        Fault(place=f"{wheel}: {info.orig_filename!r}", message=message, hint=_HINT_HOSTILE)
        for info in infos
        for message in _member_faults(info)
    ]
    return [*faults, *_clashes([info.filename for info in infos], wheel)]


_HINT_HOSTILE = "do not install this wheel; build it again with a tool that writes plain members"


def _member_faults(info: zipfile.ZipInfo) -> Iterator[str]:
    # ZipInfo cuts a name at NUL: only orig_filename shows what the archive really says.
    yield from _path_faults(info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        yield "a symbolic link: installers would write its target as text, or follow it"
    elif kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        yield f"a special file (mode {info.external_attr >> 16:o}), neither file nor folder"


def _path_faults(name: str) -> Iterator[str]:
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or name[1:2] == ":":
        yield "an absolute path: it would be written outside the environment"
    elif ".." in parts:
        yield "the path leaves the wheel with '..'"
    elif {"", "."} & set(parts):
        yield "the path has an empty or '.' part, so two spellings name one file"
    if "\\" in name:
        yield "a backslash in the path: a folder separator on some systems, a letter on others"
    if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in name):
        yield "a control character in the path (NUL cuts the name in many programs)"


def _clashes(names: Sequence[str], wheel: str) -> Iterator[Fault]:
    for name, count in Counter(names).items():
        if count > 1:
            message = f"{count} members have this name: installers disagree about which one wins"
            yield Fault(place=f"{wheel}: {name}", message=message, hint=_HINT_HOSTILE)
    unique = sorted(set(names))
    folded = defaultdict(list)
    for name in unique:
        folded[unicodedata.normalize("NFC", name).casefold()].append(name)
    for group in folded.values():
        if len(group) > 1:
            message = f"differs only in case or spelling from {', '.join(map(repr, group[1:]))}"
            hint = "rename one: on a case-insensitive file system one overwrites the other"
            yield Fault(place=f"{wheel}: {group[0]}", message=message, hint=hint)
    files = {name for name in unique if not name.endswith("/")}
    for name in sorted(files & {parent for one in unique for parent in _parents(one)}):
        yield Fault(place=f"{wheel}: {name}", message="a file, and a folder of other members")


def _parents(name: str) -> Iterator[str]:
    parts = name.removesuffix("/").split("/")
    yield from ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def refusals(infos: Sequence[zipfile.ZipInfo], wheel: str) -> list[Fault]:
    """Faults that forbid reading any member: encryption, and sizes that only a bomb has."""
    limits = policy.rules()["limits"]
    faults = [
        Fault(place=f"{wheel}: {info.filename}", message="encrypted: no installer can read it")
        for info in infos
        if info.flag_bits & _ENCRYPTED
    ]
    total = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    if len(infos) > limits["members"]:
        message = f"{len(infos)} members, more than {limits['members']}"
        faults.append(Fault(place=wheel, message=message))
    if total > limits["total-bytes"] or (
        total > limits["ratio-from"] and total > packed * limits["ratio"]
    ):
        message = f"{packed} bytes claim to hold {total}: an archive bomb; no member was read"
        faults.append(Fault(place=wheel, message=message, hint=_HINT_HOSTILE))
    return faults


def is_executable(info: zipfile.ZipInfo) -> bool:
    """Whether installers give the member mode ``x`` (pip's rule: a regular file with any x bit)."""
    mode = info.external_attr >> 16
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def read_text(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a small member whole.

    :raises ValueError: if it claims more bytes than any text of a wheel has.
    :raises KeyError: if there is no such member; else one of ``READ_ERRORS``.
    """
    limit = policy.rules()["limits"]["text-bytes"]
    info = archive.getinfo(name)
    if info.file_size > limit:
        raise ValueError(f"{info.file_size} bytes, more than the {limit} that are read")
    return archive.read(info)


class Look(Protocol):
    """Somebody who wants to see a member's content, too, while it is at hand."""

    def __call__(self, stream: IO[bytes], *, is_elf: bool) -> None: ...


def read_content(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, algorithm: str, look: Look | None = None
) -> Content:
    """Read one member once: digest, size, and what it is if it is an ELF file.

    :param look: called with a seekable copy of the content.
    :raises DiskFull: if the temporary folder cannot hold a large ELF file; else ``READ_ERRORS``.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with (
        disk_full_at(Path(tempfile.gettempdir())),
        archive.open(info) as stream,
        # pyelftools seeks, and seeking back in a zip member means inflating it again.
        tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy,
    ):
        size = 0
        is_elf = False
        while chunk := stream.read(CHUNK):
            is_elf = chunk.startswith(elf.MAGIC) if size == 0 else is_elf
            size += len(chunk)
            digest.update(chunk)
            if is_elf or look:
                copy.write(chunk)
        found, damage = _describe(copy, info) if is_elf else (None, "")
        if look:
            look(copy, is_elf=found is not None)
    return Content(digest=digest.digest(), size=size, elf=found, damage=damage)


def _describe(copy: IO[bytes], info: zipfile.ZipInfo) -> tuple[ElfFile | None, str]:
    try:
        return elf.read_elf(copy, info.filename, executable_bit=is_executable(info)), ""
    except elf.ElfDamagedError as error:
        return None, str(error)
