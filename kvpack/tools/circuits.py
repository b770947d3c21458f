"""Places that failed lately are asked last, for a while: a circuit for each place.

Remembered in the store, so that a hundred runs do not pay a hundred time-outs. A circuit never
makes a run fail: a place whose circuit is open is still asked when all others have failed.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from kvpack.tools.files import sha256_of
from kvpack.tools.records import Kind

KIND: Kind = "circuits"
"""The kind of the records."""
FAILURES = 2
"""Failures in a row after which a circuit opens. One that took a whole time-out counts twice."""
OPEN = 60.0
"""Seconds for which it stays open; the next try after that decides again."""


class Memory(Protocol):
    """Where records are kept: ``kvpack.tools.store.Store``."""

    def read_record(self, kind: Kind, name: str) -> dict[str, Any] | None: ...
    def write_record(self, kind: Kind, name: str, record: dict[str, Any]) -> None: ...


class Circuits:
    """What is known of places by their URLs. Thread-safe.

    :param memory: what other processes learn from; ``None``: nothing outlives this object.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self, memory: Memory | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._memory, self._clock = memory, clock
        self._guard = threading.Lock()
        self._known: dict[str, tuple[int, float]] = {}

    def ordered(self, places: Iterable[str]) -> list[str]:
        """The places in their order, those with an open circuit behind the others."""
        known = list(places)
        return [p for p in known if not self.is_open(p)] + [p for p in known if self.is_open(p)]

    def is_open(self, place: str) -> bool:
        return self._failures(place) >= FAILURES

    def failed(self, place: str, *, slow: bool = False) -> None:
        """A place failed in a way that says something about the next file too.

        :param slow: it cost a time-out.
        """
        with self._guard:
            self._note(place, self._failures(place) + (2 if slow else 1))

    def worked(self, place: str) -> None:
        with self._guard:
            if self._failures(place):
                self._note(place, 0)

    def _note(self, place: str, count: int) -> None:
        moment = self._clock()
        self._known[place] = (count, moment)
        if self._memory is not None:
            self._memory.write_record(KIND, _name(place), {"failures": count, "at": moment})

    def _failures(self, place: str) -> int:
        if place not in self._known:
            self._known[place] = self._remembered(place)
        count, moment = self._known[place]
        # A moment in the future: the clock was set back since.
        return count if 0 <= self._clock() - moment < OPEN else 0

    def _remembered(self, place: str) -> tuple[int, float]:
        record = self._memory.read_record(KIND, _name(place)) if self._memory else None
        try:
            return (int(record["failures"]), float(record["at"])) if record else (0, 0.0)
        except (KeyError, TypeError, ValueError):
            return 0, 0.0


def _name(place: str) -> str:
    """A digest: a URL may hold credentials."""
    return sha256_of(place.rstrip("/").encode())[:16]
