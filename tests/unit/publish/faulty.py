"""A storage that fails as networks and servers do, decided by a seed, not by time or threads."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from kvpack.errors import StorageFailed
from kvpack.tools.stored import Data, Found, Headers, Objects, Stat, Version, explained

TRIES = 4


class Killed(BaseException):
    """``kill -9``: nothing that this process does arrives any more."""


class Faulty:
    """``Objects`` that fail by chance.

    :param rate: of tries that fail, as ``ObstoreObjects`` has several for each operation. Half of
        them never arrive; half arrive and only their answer is lost, so that the condition of the
        next try fails because of the writer's own.
    :param kill_after: operations that arrive before the process is gone.
    :param between: called once, before the operation with this number or name.
    :param lose: the operation whose first answer is lost.
    :ivar refused: the numbers of operations that the server refuses, and what it answers.
    """

    def __init__(
        self,
        inner: Objects,
        seed: int,
        *,
        rate: float = 0.0,
        kill_after: int | None = None,
        between: tuple[int | str, Callable[[], None]] | None = None,
        lose: str = "",
    ) -> None:
        self.inner = inner
        self.name = inner.name
        self.seed = seed
        self.rate = rate
        self.kill_after = kill_after
        self.between = between
        self.lose = lose
        self.refused = (range(0), "")
        self.count = 0
        self._seen: Counter[str] = Counter()
        self._guard = threading.Lock()

    def _chance(self, what: str) -> float:
        with self._guard:
            self._seen[what] += 1
            self.count += 1
            count, due = self.count, self.between
            if due is not None and due[0] in {count, what}:
                self.between = None
            else:
                due = None
        if due is not None:
            due[1]()
        if self.kill_after is not None and count > self.kill_after:
            raise Killed
        if count in self.refused[0]:
            cause, hint = explained(self.refused[1])
            raise StorageFailed(f"refused: {what}", cause=cause, hint=hint)
        text = f"{self.seed} {what} {self._seen[what]}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48

    def _failed(self, what: str) -> StorageFailed:
        return StorageFailed(f"injected: {what}")

    def _write(self, what: str, call: Callable[[], None]) -> None:
        for _ in range(TRIES):
            chance = self._chance(what)
            lost = what == self.lose and self._seen[what] == 1
            if chance >= self.rate / 2:
                call()
            if chance >= self.rate and not lost:
                return
        raise self._failed(what)

    def create(self, key: str, data: Data, headers: Headers) -> None:
        self._write(f"create {key}", lambda: self.inner.create(key, data, headers))

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:
        self._write(f"swap {key}", lambda: self.inner.swap(key, data, headers, version))

    def overwrite(self, key: str, data: Data, headers: Headers) -> None:
        self._write(f"overwrite {key}", lambda: self.inner.overwrite(key, data, headers))

    def _read(self, what: str) -> None:
        if all(self._chance(what) < self.rate for _ in range(TRIES)):
            raise self._failed(what)

    def get(self, key: str) -> Found | None:
        self._read(f"get {key}")
        return self.inner.get(key)

    def start(self, key: str, size: int) -> Found | None:
        self._read(f"start {key}")
        return self.inner.start(key, size)

    def chunks(self, key: str) -> Iterator[bytes]:
        self._read(f"chunks {key}")
        yield from self.inner.chunks(key)

    def range(self, key: str, start: int, stop: int) -> bytes:
        self._read(f"range {key}")
        return self.inner.range(key, start, stop)

    def head(self, key: str) -> Stat | None:
        self._read(f"head {key}")
        return self.inner.head(key)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        self._read(f"list {prefix}")
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self._read(f"delete {key}")
        self.inner.delete(key)


class Deaf:
    """A server that ignores conditions and answers 200, as ``rclone serve s3`` does."""

    def __init__(self, inner: Objects) -> None:
        self.inner = inner
        self.name = inner.name
        self.get, self.start, self.chunks, self.range = (
            inner.get,
            inner.start,
            inner.chunks,
            inner.range,
        )
        self.head, self.list, self.delete = inner.head, inner.list, inner.delete
        self.overwrite = inner.overwrite

    def create(self, key: str, data: Data, headers: Headers) -> None:
        self.inner.overwrite(key, data, headers)

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:  # noqa: ARG002
        self.inner.overwrite(key, data, headers)
