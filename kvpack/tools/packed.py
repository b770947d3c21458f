"""Tar and zip archives as a row of members and a row of contents."""

import bz2
import calendar
import contextlib
import gzip
import lzma
import math
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol, cast

from kvpack.tools.files import CHUNK
from kvpack.tools.members import Kind, Member

HEADER_LIMIT = 16 << 20
"""Bytes of one extended header (a tar's long names), and of a member that is read whole."""
LINK_LIMIT = 4096
"""Bytes of a link's target (``PATH_MAX`` of Linux)."""
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
"""What the standard library raises on bad archives. An ``OSError`` is one if it has no errno."""


class Archive(Protocol):
    """An archive that can be read several times."""

    packed: int
    """Bytes of the archive itself."""

    def members(self) -> Iterator[Member]: ...
    def contents(self) -> Iterator[tuple[Member, IO[bytes]]]: ...


def opened(path: Path) -> Archive:
    """Tell the format from the first bytes: a blob of the store has no file name.

    :raises EOFError: if the file is empty.
    """
    magic = _magic(path)
    if not magic:
        raise EOFError("an empty file")
    return _Zip(path) if is_zip(path) else _Tar(path, magic)


def is_zip(path: Path) -> bool:
    return _magic(path)[:4] in {b"PK\x03\x04", b"PK\x05\x06"}


def _magic(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(6)


class _Careful:
    """A stream that refuses to read much at once: tarfile reads extended headers whole."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close
        self._stream = stream

    def read(self, size: int) -> bytes:
        if not 0 <= size <= HEADER_LIMIT:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


class _Tar:
    def __init__(self, path: Path, magic: bytes) -> None:
        self._path, self._magic = path, magic
        self.packed = path.stat().st_size

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[tarfile.TarFile, _Careful]]:
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(self._stream())
            careful = _Careful(stream)
            tar = tarfile.open(  # noqa: SIM115  # on the stack
                fileobj=cast("IO[bytes]", careful),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
            )
            yield stack.enter_context(tar), careful

    def _stream(self) -> IO[bytes]:
        for magic, opened in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open)):
            if self._magic.startswith(magic):
                return cast("IO[bytes]", opened(self._path))
        if self._magic == b"\xfd7zXZ\x00":
            return lzma.open(self._path)
        return self._path.open("rb")

    def members(self) -> Iterator[Member]:
        with self._open() as (tar, stream):
            for info in tar:
                yield _tar_member(info)
            _check_end(tar, stream)

    def contents(self) -> Iterator[tuple[Member, IO[bytes]]]:
        with self._open() as (tar, _):
            for info in tar:
                stream = tar.extractfile(info) if info.isreg() else None
                if stream is not None:
                    yield _tar_member(info), stream


def _tar_member(info: tarfile.TarInfo) -> Member:
    kind = Kind.SPECIAL
    for test, meaning in (
        (info.isreg(), Kind.FILE),
        (info.isdir(), Kind.FOLDER),
        (info.issym(), Kind.SYMLINK),
        (info.islnk(), Kind.HARDLINK),
    ):
        kind = meaning if test else kind
    return Member(
        name=info.name,
        kind=kind,
        size=info.size if kind is Kind.FILE else 0,
        mode=info.mode,
        mtime=_sane(info.mtime),
        target=info.linkname if kind in {Kind.SYMLINK, Kind.HARDLINK} else "",
    )


def _check_end(tar: tarfile.TarFile, stream: _Careful) -> None:
    """Read what follows the last member: tarfile takes a damaged header for the end.

    :raises EOFError: if a compressed stream is cut, which only its last bytes tell.
    """
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at offset {tar.offset}")
    for _ in range(64):
        if not stream.read(CHUNK):
            return
    raise tarfile.ReadError("much data after the last member")


class _Zip:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.packed = path.stat().st_size

    def members(self) -> Iterator[Member]:
        with zipfile.ZipFile(self._path) as archive:
            for info in archive.infolist():
                yield _zip_member(archive, info)

    def contents(self) -> Iterator[tuple[Member, IO[bytes]]]:
        with zipfile.ZipFile(self._path) as archive:
            for info in archive.infolist():
                member = _zip_member(archive, info)
                if member.kind is Kind.FILE:
                    with archive.open(info) as stream:
                        yield member, stream


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    kinds = {stat.S_IFLNK: Kind.SYMLINK, stat.S_IFREG: Kind.FILE, 0: Kind.FILE}
    kind = kinds.get(stat.S_IFMT(mode), Kind.SPECIAL)
    if info.is_dir() or stat.S_ISDIR(mode):
        kind = Kind.FOLDER
    target = ""
    if kind is Kind.SYMLINK:
        with archive.open(info) as stream:
            target = stream.read(LINK_LIMIT).decode(errors="surrogateescape")
    return Member(
        name=info.orig_filename,  # zipfile cuts ``filename`` at a NUL
        kind=kind,
        size=info.file_size,
        mode=mode,
        mtime=_sane(calendar.timegm((*info.date_time, 0, 0, 0))),
        target=target,
    )


def _sane(mtime: float) -> float:
    return min(max(mtime, 0.0), float(1 << 33)) if math.isfinite(mtime) else 0.0
