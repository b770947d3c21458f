"""Reading from whichever of several places sends a byte first."""

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kvpack.tools.web import Body, TryFailed, Web

Opened = tuple[int, Body | Exception, contextlib.ExitStack]
"""Which place answered, with what, and what closes it."""


class Race:
    """Several places of one file; each later one starts when those before it stay silent.

    :param urls: in their order, each with what reaches it.
    :param after: seconds of silence before the next place is started.
    """

    def __init__(self, urls: Sequence[tuple[str, Web]], after: float) -> None:
        self._urls, self._after = urls, after
        self._answers: queue.SimpleQueue[Opened] = queue.SimpleQueue()
        self._decided = threading.Lock()
        self._over = False
        self.winner = 0
        """Which place is read."""
        self.failed: dict[int, TryFailed] = {}
        """Places that failed before the winner answered."""
        self.silent: list[int] = []
        """Places that had not answered by then."""

    @contextlib.contextmanager
    def open(self, start: int) -> Iterator[Body]:
        """Read from whichever place sends its first byte first.

        :raises TryFailed: the first place's failure, if all that were started failed.
        """
        number, body, stack = self._first(start)
        self.winner = number
        with stack:
            yield body

    def _first(self, start: int) -> tuple[int, Body, contextlib.ExitStack]:
        running: set[int] = set()
        waiting = list(range(len(self._urls)))
        while waiting or running:
            if waiting:
                number = waiting.pop(0)
                running.add(number)
                threading.Thread(target=self._ask, args=(number, start), daemon=True).start()
            try:
                number, answer, stack = self._answers.get(timeout=self._after if waiting else None)
            except queue.Empty:
                continue  # silence: the next place is started beside it
            running.discard(number)
            if isinstance(answer, TryFailed):
                self.failed[number] = answer
                continue
            self._end()
            if isinstance(answer, Exception):
                raise answer
            self.silent = sorted(running)
            return number, answer, stack
        self._end()
        raise self.failed[0]

    def _end(self) -> None:
        """Whoever answers from now on is closed by its own thread, or here."""
        with self._decided:
            self._over = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._answers.get_nowait()[2].close()

    def _ask(self, number: int, start: int) -> None:
        url, web = self._urls[number]
        stack = contextlib.ExitStack()
        answer: Body | Exception
        try:
            body = stack.enter_context(web.open(url, start=start))
            first = next(body.chunks, b"")
            answer = replace(body, chunks=_after(first, body.chunks))
        except Exception as error:  # noqa: BLE001  # raised again by ``_first``
            answer = error
        with self._decided:
            if not self._over:
                self._answers.put((number, answer, stack))
                return
        stack.close()


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
