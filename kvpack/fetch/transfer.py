"""One file from the first place that has its bytes. A place is an alternate for a hash."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from kvpack.fetch.hedge import Race
from kvpack.fetch.model import Wanted
from kvpack.fetch.partial import Partial, Watch
from kvpack.fetch.places import Candidate, Places, Tried
from kvpack.tools.pace import Limits
from kvpack.tools.store import Store
from kvpack.tools.web import Body, TryFailed, Web, redact


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How hard to try."""

    jobs: int = 8
    """Files at once."""
    rounds: int = 3
    """Times to go through the places that failed for a reason that may pass."""
    pause: float = 1.0
    """Seconds before the second round; each later pause is twice as long."""
    jitter: float = 0.25
    """By what part pauses are longer or shorter, so that many machines do not come at once."""
    hedge: float | None = None
    """Seconds without a first byte after which the next place is started beside the first."""
    limits: Limits = field(default_factory=Limits)


class Stopped(Exception):  # not a failure: the user, or a full disk, ended the run
    """The run ends: leave everything as it is."""


class WrongBytes(TryFailed):
    """A place answered with other bytes than the wanted ones."""


class _StartAgain(Exception):  # a step of the protocol
    """What was gathered earlier, perhaps elsewhere, does not fit: start at 0."""


def obtain(
    wanted: Wanted, *, store: Store, registries: Places, watch: Watch, effort: Effort
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
        partial = Partial(store.partial_path(wanted.sha256), watch)
        try:
            if wanted.size is not None and partial.size > wanted.size:
                partial.clear()
            tried = {}
            if partial.digest != wanted.sha256:
                tried = _Search(wanted, partial, registries, (watch, effort)).run()
        finally:
            partial.close()
        if partial.digest == wanted.sha256:
            store.adopt(partial.path, wanted.sha256)
            return ()
        if partial.size == 0:
            partial.path.unlink(missing_ok=True)
        return tuple(tried.values())


class _Search:
    """Goes through the places of one file, and again through those that failed for a time."""

    def __init__(
        self, wanted: Wanted, partial: Partial, places: Places, how: tuple[Watch, Effort]
    ) -> None:
        self._wanted, self._partial, self._places = wanted, partial, places
        self._watch, self._effort = how
        self._tried: dict[str, Tried] = {}

    def run(self) -> dict[str, Tried]:
        """Every place that was tried; none if the bytes are there."""
        for turn in range(self._effort.rounds):
            if turn and not self._again(turn):
                break
            seen: set[str] = set()
            places = self._places.places(self._wanted)
            for candidate in places:
                if candidate.url in seen or self._is_lost(candidate):
                    continue
                if self._effort.limits.over:
                    self._note(candidate, TryFailed("not asked: the time-out is over"))
                    continue
                seen.add(candidate.url)
                if self._try(candidate, places):
                    return {}
        return self._tried

    def _again(self, turn: int) -> bool:
        """Wait for another round, if any place may answer then."""
        effort = self._effort
        if effort.limits.over or not any(entry.transient for entry in self._tried.values()):
            return False
        pause = effort.pause * 2 ** (turn - 1)
        jitter = random.uniform(-effort.jitter, effort.jitter)  # noqa: S311  # no secret
        if self._watch.stop.wait(pause * (1 + jitter)):
            raise Stopped
        return True

    def _is_lost(self, candidate: Candidate) -> bool:
        earlier = self._tried.get(candidate.url)
        return earlier is not None and not earlier.transient

    def _note(self, candidate: Candidate, error: TryFailed, *, wrong: bool = False) -> None:
        tried = Tried.of(candidate.url, error, wrong=wrong)
        self._tried[candidate.url] = tried
        if candidate.told is not None:
            candidate.told(tried)

    def _try(self, candidate: Candidate, rest: Iterator[Candidate]) -> bool:
        """Try one place; with hedging, those behind it too, if it is silent."""
        if candidate.problem:
            problem = TryFailed(
                candidate.problem, transient=candidate.transient, status=candidate.status
            )
            self._tried[candidate.url] = Tried.of(candidate.url, problem)
            return False
        several = [candidate]
        if self._effort.hedge is not None:
            several += [one for one in rest if not one.problem and not self._is_lost(one)]
        while several:
            registry = self._wanted.registry
            ways = [(one.url, one.web or self._places.web(registry)) for one in several]
            heat = _Heat(several, ways, self._effort)
            try:
                self._fill(heat)
            except WrongBytes as error:
                self._partial.clear()
                shown = redact(heat.read.url)
                self._watch.warn(f"{shown} answered with other bytes than the locked ones: {error}")
                self._note(heat.read, error, wrong=True)
            except TryFailed as error:
                self._note(heat.read, error)
            else:
                if heat.read.told is not None:
                    heat.read.told(None)
                return True
            finally:
                for one, failure in heat.failed:
                    self._note(one, failure)
            several = [one for one in several if one.url not in self._tried]
        return False

    def _fill(self, heat: "_Heat") -> None:
        arguments = (heat, self._wanted, self._partial, self._watch)
        try:
            _receive(*arguments)
        except _StartAgain:
            self._partial.clear()
            _receive(*arguments)


class _Heat:
    """One try: at one place, or a race of several."""

    def __init__(
        self, several: Sequence[Candidate], ways: list[tuple[str, Web]], effort: Effort
    ) -> None:
        self._several, self._ways, self._effort = several, ways, effort
        self.read = several[0]
        """The place that answered, or the first one."""
        self.failed: list[tuple[Candidate, TryFailed]] = []

    @contextlib.contextmanager
    def open(self, start: int) -> Iterator[Body]:
        """:raises TryFailed: if nothing answers, or what answers is too slow."""
        limits = self._effort.limits
        if len(self._ways) == 1:
            url, web = self._ways[0]
            with web.open(url, start=start) as body:
                yield replace(body, chunks=limits.watched(body))
            return
        race = Race(self._ways, self._effort.hedge or 0)
        try:
            with race.open(start) as body:
                self.read = self._several[race.winner]
                self._ways = [self._ways[race.winner]]
                yield replace(body, chunks=limits.watched(body))
        finally:
            self.failed = [
                (self._several[number], error)
                for number, error in race.failed.items()
                if self._several[number] is not self.read
            ]


def _receive(heat: _Heat, wanted: Wanted, partial: Partial, watch: Watch) -> None:
    """Fill ``partial`` from one place.

    :raises TryFailed: if the place does not answer to the end; what came is kept.
    :raises WrongBytes: if it answered from the first byte on, with other bytes.
    :raises _StartAgain: if the bytes gathered before do not fit to what it answered.
    """
    asked = partial.size
    try:
        with heat.open(asked) as body:
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
        # Too slow, but whole. Not so if more came: how it was cut into chunks must not decide.
        if partial.digest == wanted.sha256 and not isinstance(error, WrongBytes):
            return
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
