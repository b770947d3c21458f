"""Claims: what many processes use at once and one may remove, told apart by ``flock``.

Who uses something holds its claim with others, until the process ends or drops it; who would remove
it asks first whether nobody does. A claim dies with its process, so ``kill -9`` leaves none behind.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Claim:
    """A claim that is held while this object lives."""

    def __init__(self, path: Path) -> None:
        """Take it; waits for whoever is just removing what it stands for."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    def __del__(self) -> None:
        """Drop it."""
        with contextlib.suppress(OSError):
            os.close(self._handle)


@contextlib.contextmanager
def unclaimed(path: Path) -> Iterator[bool]:
    """Whether nobody holds a claim; while this lasts, whoever wants one waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
