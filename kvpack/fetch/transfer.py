"""One file from the first place that has its bytes. A place is an alternate for a hash."""

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.fetch.model import Wanted
from kvpack.fetch.registries import Candidate, Registries
from kvpack.tools.files import CHUNK, disk_full_at
from kvpack.tools.store import Store
from kvpack.tools.web import TryFailed, Web, redact


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How hard to try."""

    jobs: int = 8
    """Files at once."""
    rounds: int = 3
    """Times to go through the places that failed for a reason that may pass."""
    pause: float = 1.0
    """Seconds before the second round; each later pause is twice as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One place that did not have the bytes."""

    url: str
    """Without credentials."""
    reason: str
    transient: bool = False
    wrong: bool = False
    """Whether it answered with other bytes."""
    status: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """How a transfer talks to whoever started it."""

    moved: Callable[[int], None]
    """Called with bytes gained (or, negative, thrown away)."""
    warn: Callable[[str], None]
    stop: threading.Event


class Stopped(Exception):  # not a failure: the user, or a full disk, ended the run
    """The run ends: leave everything as it is."""


class WrongBytes(TryFailed):
    """A place answered with other bytes than the wanted ones."""


class _StartAgain(Exception):  # a step of the protocol
    """What was gathered earlier, perhaps elsewhere, does not fit: start at 0."""


class _Partial:
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


def obtain(
    wanted: Wanted, *, store: Store, registries: Registries, watch: Watch, effort: Effort
) -> tuple[Tried, ...]:
    """Bring one file into the store.

    :returns: nothing if it is there, else every place that was tried.
    :raises DiskFull: if the device is full; what came is kept and resumed later.
    :raises Stopped: if ``watch.stop`` was set.
    """
    with store.lock(f"blob-{wanted.sha256}"):
        if store.has(wanted.sha256):  # by another process, while this one waited
            watch.moved(wanted.size or 0)
            return ()
        partial = _Partial(store.partial_path(wanted.sha256), watch)
        try:
            if wanted.size is not None and partial.size > wanted.size:
                partial.clear()
            tried = {}
            if partial.digest != wanted.sha256:
                tried = _rounds(wanted, partial, registries, watch, effort)
        finally:
            partial.close()
        if partial.digest == wanted.sha256:
            store.adopt(partial.path, wanted.sha256)
            return ()
        if partial.size == 0:
            partial.path.unlink(missing_ok=True)
        return tuple(tried.values())


def _rounds(
    wanted: Wanted, partial: _Partial, registries: Registries, watch: Watch, effort: Effort
) -> dict[str, Tried]:
    """Go through the places, and again through those that failed for a passing reason."""
    tried: dict[str, Tried] = {}
    for turn in range(effort.rounds):
        if turn:
            if not any(entry.transient for entry in tried.values()):
                break
            if watch.stop.wait(effort.pause * 2 ** (turn - 1)):
                raise Stopped
        seen = set()
        for candidate in registries.places(wanted):
            earlier = tried.get(candidate.url)
            if candidate.url in seen or (earlier and not earlier.transient):
                continue
            seen.add(candidate.url)
            failure = _try(candidate, wanted, partial, registries.web(wanted.registry), watch)
            if failure is None:
                return {}
            tried[candidate.url] = failure
    return tried


def _try(
    candidate: Candidate, wanted: Wanted, partial: _Partial, web: Web, watch: Watch
) -> Tried | None:
    shown = redact(candidate.url)
    if candidate.problem:
        return Tried(
            url=shown,
            reason=candidate.problem,
            transient=candidate.transient,
            status=candidate.status,
        )
    try:
        try:
            _receive(candidate.url, wanted, partial, web, watch)
        except _StartAgain:
            partial.clear()
            _receive(candidate.url, wanted, partial, web, watch)
    except WrongBytes as error:
        partial.clear()
        watch.warn(f"{shown} answered with other bytes than the locked ones: {error.reason}")
        return Tried(url=shown, reason=error.reason, wrong=True)
    except TryFailed as error:
        return Tried(url=shown, reason=error.reason, transient=error.transient, status=error.status)
    return None


def _receive(url: str, wanted: Wanted, partial: _Partial, web: Web, watch: Watch) -> None:
    """Fill ``partial`` from one place.

    :raises TryFailed: if the place does not answer to the end; what came is kept.
    :raises WrongBytes: if it answered from the first byte on, with other bytes.
    :raises _StartAgain: if the bytes gathered before do not fit to what it answered.
    """
    asked = partial.size
    try:
        with web.open(url, start=asked) as body:
            if body.start != partial.size:
                partial.clear()
            resumed = body.start > 0
            for chunk in body.chunks:
                if watch.stop.is_set():
                    raise Stopped
                _check_size(partial.size + len(chunk), wanted, resumed=resumed)
                partial.append(chunk)
            total = wanted.size if body.total is None else body.total
    except TryFailed as error:
        if error.status == 416 and asked:  # noqa: PLR2004  # Range Not Satisfiable
            raise _StartAgain from error
        raise
    if partial.digest == wanted.sha256:
        return
    if total is not None and partial.size < total:
        reason = f"the answer ended after {partial.size} of {total} bytes"
        raise TryFailed(reason, transient=True)
    if resumed:
        raise _StartAgain
    raise WrongBytes(
        f"expected sha256 {wanted.sha256}, found {partial.digest} ({partial.size} bytes)"
    )


def _check_size(size: int, wanted: Wanted, *, resumed: bool) -> None:
    if wanted.size is None or size <= wanted.size:
        return
    if resumed:
        raise _StartAgain
    raise WrongBytes(
        f"expected sha256 {wanted.sha256} of {wanted.size} bytes, found a longer body "
        "(stopped there)"
    )
