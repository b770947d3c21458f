"""Files that are whole or absent: atomic writes, digests, advisory locks, temporary folders."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.errors import DiskFull
from kvpack.names import Sha256

CHUNK = 1 << 20
"""Bytes read at a time."""


def sha256_of(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


def sha256_file(path: Path) -> Sha256:
    """Digest of a file's content, read in chunks."""
    with path.open("rb") as stream:
        return Sha256(hashlib.file_digest(stream, "sha256").hexdigest())


def canonical_json(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN (RFC 8785 in spirit)."""
    return _CANONICAL.encode(value).encode()


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


@contextlib.contextmanager
def disk_full_at(place: Path) -> Iterator[None]:
    """Turn "no space left" below ``place`` into an error that says so.

    :raises DiskFull: on ENOSPC or EDQUOT.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DiskFull(
            f"no space left on the device that holds {place}",
            cause=f"{error.strerror} while writing {error.filename or place}",
            hint="free some space (kvpack store gc), or name another store with --store DIR; "
            "then run the same command again: nothing was lost",
        ) from error


@contextlib.contextmanager
def atomic_write(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Write a file that appears whole under its name, or not at all.

    The bytes go to a neighbour with a random name and are synced before the rename, so that a
    kill or a power cut leaves the old file or the new one.

    :raises DiskFull: if the device is full; the neighbour is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_at(path.parent):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically (UTF-8)."""
    with atomic_write(path) as stream:
        stream.write(text.encode())


def place_file(source: Path, target: Path) -> None:
    """Make ``target`` a whole copy of ``source``, atomically; a hard link is never used.

    A link would let an edit of the user's copy reach the store.
    """
    with atomic_write(target) as stream, source.open("rb") as original:
        shutil.copyfileobj(original, stream, CHUNK)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock on ``path``; yields whether another process held it before.

    ``flock`` locks die with their process, so ``kill -9`` never leaves one behind. The file is
    opened again when it was replaced while waiting (``store gc`` may remove it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = True
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _same_file(handle, path):
                yield waited
                return
        finally:
            os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock ``path`` now."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _same_file(handle: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino)


@dataclass(frozen=True)
class Usage:
    """What files take: how many there are, and their bytes."""

    entries: int
    size: int


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder; folders that vanish meanwhile are passed over."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def measure(files: Iterable[Path], *, remove: bool = False) -> Usage:
    """What files take, or took if they are removed; another process may take some away first."""
    sizes = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            size = path.lstat().st_size
            if remove:
                path.unlink()
            sizes.append(size)
    return Usage(len(sizes), sum(sizes))


def remove_tree(path: Path) -> None:
    """Remove a folder whatever its modes say (sources unpack read-only folders)."""

    def make_writable(_function: object, name: str, _info: object) -> None:
        stuck = Path(name)
        with contextlib.suppress(OSError):
            stuck.parent.chmod(0o700)
            if stuck.is_symlink() or not stuck.is_dir():  # never through a link: it leads out
                stuck.unlink(missing_ok=True)
            else:
                stuck.chmod(0o700)
                shutil.rmtree(stuck, ignore_errors=True)

    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path, onerror=make_writable)
