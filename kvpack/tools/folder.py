"""A local folder as object storage, with the same conditions as S3; any static host can serve it.

Objects are files; their attributes are not kept (docs/howto-publish.md has them as nginx rules).
``.kvpack/`` holds the lock and files that are still being written; no listing shows it.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from kvpack.errors import StorageFailed
from kvpack.tools.files import disk_full_at, locked
from kvpack.tools.stored import Changed, Data, Exists, Found, Headers, Missing, Stat, Version

CHUNK = 1 << 20
_OWN = ".kvpack"
_CUT_AFTER = 3600
"""Seconds after which an unfinished file has no writer any more."""


class FolderObjects:
    """``Objects`` in a folder. It is made when first written."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        return self._root.as_uri()

    def create(self, key: str, data: Data, headers: Headers) -> None:  # noqa: ARG002  # see above
        with self._written(data) as written:
            target = self._target(key)
            try:
                os.link(written, target)  # atomic, and refuses to replace
            except FileExistsError:
                raise Exists(key) from None

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:  # noqa: ARG002
        with self._written(data) as written, locked(self._root / _OWN / "lock"):
            stat = self.head(key)
            if stat is None or stat.version != version:
                raise Changed(key)
            written.replace(self._target(key))

    def overwrite(self, key: str, data: Data, headers: Headers) -> None:  # noqa: ARG002
        with self._written(data) as written:
            written.replace(self._target(key))

    def get(self, key: str) -> Found | None:
        try:
            with self._path(key).open("rb") as stream:
                status = os.fstat(stream.fileno())
                return Found(stream.read(), _stat(key, status))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def start(self, key: str, size: int) -> Found | None:
        try:
            with self._path(key).open("rb") as stream:
                return Found(stream.read(size), _stat(key, os.fstat(stream.fileno())))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def chunks(self, key: str) -> Iterator[bytes]:
        with self._opened(key) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def range(self, key: str, start: int, stop: int) -> bytes:
        with self._opened(key) as stream:
            stream.seek(start)
            return stream.read(stop - start)

    def head(self, key: str) -> Stat | None:
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if path.is_file():
                return _stat(key, path.stat())
        return None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        start = self._path(prefix) if prefix else self._root
        for folder, below, names in os.walk(start):
            below[:] = sorted(name for name in below if name != _OWN)
            for name in sorted(names):
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    yield _stat(path.relative_to(self._root).as_posix(), path.stat())

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path(key).parent.rmdir()

    def _opened(self, key: str) -> IO[bytes]:
        try:
            return self._path(key).open("rb")
        except FileNotFoundError:
            raise Missing(f"{self.name}: could not read {key}", cause="it is not there") from None

    def _path(self, key: str) -> Path:
        """Where an object lies.

        :raises StorageFailed: if its name leads out of the folder (a listing of another storage).
        """
        parts = key.rstrip("/").split("/")
        if key.startswith("/") or any(part in {"", ".", "..", _OWN} for part in parts):
            raise StorageFailed(
                f"{self.name}: {key!r} is no name for an object in a folder",
                cause="another program wrote it into the storage that is copied from",
                hint="remove it there",
            )
        return self._root / key

    def _target(self, key: str) -> Path:
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def _written(self, data: Data) -> Iterator[Path]:
        """The bytes as a whole, synced file beside all objects, to be given a name."""
        scratch = self._root / _OWN / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        with disk_full_at(self._root):
            handle, name = tempfile.mkstemp(dir=scratch)
            path = Path(name)
            try:
                with os.fdopen(handle, "wb") as stream:
                    if isinstance(data, bytes):
                        stream.write(data)
                    else:
                        with data.open("rb") as source:
                            shutil.copyfileobj(source, stream, CHUNK)
                    stream.flush()
                    os.fchmod(stream.fileno(), 0o666 & ~_umask())
                    os.fsync(stream.fileno())
                yield path
            finally:
                path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what killed writers left, by the clock of the folder: it may be on a server."""
        scratch = self._root / _OWN / "tmp"
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=scratch) as now:
            oldest = os.fstat(now.fileno()).st_mtime - _CUT_AFTER
            for path in scratch.glob("*"):
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()


def _umask() -> int:
    """Whether others may read a folder's files is the user's to say: by umask, as ever."""
    text = Path("/proc/self/status").read_text(encoding="ascii")  # os.umask would change it
    return int(text.partition("Umask:")[2].split(None, 1)[0], 8)


def _stat(key: str, status: os.stat_result) -> Stat:
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    moment = datetime.fromtimestamp(status.st_mtime, UTC)
    return Stat(key, status.st_size, Version(etag), moment)
