"""A download that is being gathered: its file, its digest so far, and who is told."""

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.tools.files import CHUNK, disk_full_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """How a transfer talks to whoever started it."""

    moved: Callable[[int], None]
    """Called with bytes gained (or, negative, thrown away)."""
    warn: Callable[[str], None]
    stop: threading.Event


class Partial:
    """The bytes gathered so far, their digest kept along. Only under the blob's lock."""

    def __init__(self, path: Path, watch: Watch) -> None:
        self.path, self._watch = path, watch
        self.size = 0
        self._hash = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_at(path):
            self._stream: IO[bytes] = path.open("ab")
        self._read_back()

    def _read_back(self) -> None:
        left = os.fstat(self._stream.fileno()).st_size
        with self.path.open("rb") as stream:
            while left > 0 and (chunk := stream.read(min(CHUNK, left))):
                self._count(chunk)
                left -= len(chunk)

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
        self._watch.moved(len(chunk))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def append(self, chunk: bytes) -> None:
        with disk_full_at(self.path):
            self._stream.write(chunk)
        self._count(chunk)

    def clear(self) -> None:
        with disk_full_at(self.path):
            self._stream.flush()
        self._stream.truncate(0)
        self._watch.moved(-self.size)
        self.size, self._hash = 0, hashlib.sha256()

    def close(self) -> None:
        """Close; what was written is on the disk before the file can become a blob."""
        with disk_full_at(self.path), self._stream:
            self._stream.flush()
            if self.path.is_file():
                os.fsync(self._stream.fileno())
