"""How slow an answer may be: silence is the time-outs' affair, a slow drip is not."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kvpack.tools.web import Body, TryFailed

T = TypeVar("T")
SLOWEST = 10_000
"""Bytes per second below which a place is left for another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long one try may take."""

    whole: float | None = None
    """Seconds."""
    slowest: int = 0
    """Bytes per second, on average after ``settle``."""
    settle: float = 3.0
    """Seconds before ``slowest`` counts."""
    until: float | None = None
    """When everything ends, by ``time.monotonic``."""

    def watched(self, body: Body, clock: Callable[[], float] = time.monotonic) -> Iterator[bytes]:
        """The chunks of a body, as long as it is quick enough.

        :raises TryFailed: when it is not.
        """
        start, gained = clock(), 0
        for chunk in body.chunks:
            yield chunk
            gained += len(chunk)
            now = clock()
            took = now - start
            if self.until is not None and now > self.until:
                raise TryFailed("the time-out of the whole command is over", slow=True)
            if self.whole is not None and took > self.whole:
                reason = f"gave {gained} bytes in {took:.0f} s, the time-out of one try"
                raise TryFailed(reason, transient=True, slow=True)
            if took > self.settle and gained < self.slowest * took:
                reason = f"gave {gained} bytes in {took:.1f} s: under {self.slowest} bytes/s"
                raise TryFailed(reason, transient=True, slow=True)

    @property
    def over(self) -> bool:
        return self.until is not None and time.monotonic() > self.until


def patiently(ask: Callable[[], T], pauses: Sequence[float]) -> T:
    """Ask again where the failure may pass.

    :param pauses: seconds before each further try.
    :raises TryFailed: what the last try failed with.
    """
    for pause in pauses:
        try:
            return ask()
        except TryFailed as error:
            if not error.transient:
                raise
        time.sleep(pause)
    return ask()
