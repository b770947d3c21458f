"""Locked files into the store, several at once, each from the first place that has its bytes."""

import contextlib
import queue
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from kvpack.errors import DigestMismatch, Fault, FetchFailed, KvpackError, OfflineMissing
from kvpack.fetch.model import Wanted
from kvpack.fetch.partial import Watch
from kvpack.fetch.places import Places, Tried
from kvpack.fetch.transfer import Effort, obtain
from kvpack.names import counted
from kvpack.report import Reporter, Step
from kvpack.tools.store import Store

_HINTS = {
    "pypi": "name another index or mirror in kvpack.toml: [registries.pypi] index, files",
    "debian": "name another mirror in kvpack.toml: [registries.debian] mirrors",
    "go": "name another proxy in kvpack.toml ([registries.go] proxies) or in GOPROXY",
    "storage": "name another place that holds it: --from URL, or kvpack.toml [mirrors]",
    "url": "look whether the file was moved; then change the recipe and run: kvpack lock",
}
_GONE = (
    "the pool no longer holds this version: name a mirror that keeps old ones in kvpack.toml "
    "([registries.debian] mirrors), or take newer packages, for example with: "
    "kvpack lock --upgrade debian-bookworm"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    wanted: Wanted
    tried: tuple[Tried, ...] = ()
    """Empty: it is in the store."""
    error: BaseException | None = None
    """What ends the whole run: a full disk, a bad configuration, a bug."""


@dataclass(frozen=True, slots=True)
class _Moved:
    size: int


@dataclass(frozen=True, slots=True)
class _Warned:
    text: str


_Events = queue.SimpleQueue[_Outcome | _Moved | _Warned]


def fetch(
    wanted: Iterable[Wanted],
    *,
    store: Store,
    registries: Places,
    reporter: Reporter,
    offline: bool = False,
    effort: Effort | None = None,
) -> None:
    """Bring every wanted file into the store, verified.

    A failure does not stop the others: what they bring stays for the next run, and so do the
    bytes of a download that was cut.

    :raises OfflineMissing: if ``offline``, with every file that the store lacks.
    :raises FetchFailed: with every file that no place had, and why each place failed.
    :raises DigestMismatch: if places answered for each of those files, with other bytes.
    :raises DiskFull: if the device is full; what came is resumed later.
    :raises ConfigInvalid: if the registries' configuration has faults.
    """
    missing = {entry.sha256: entry for entry in wanted if not store.has(entry.sha256)}
    if not missing:
        return
    if offline:
        raise _offline(list(missing.values()))
    todo = sorted(missing.values(), key=lambda entry: (-(entry.size or 0), entry.place))
    registries.prepare(entry.registry for entry in todo)
    run = _Run(todo, store, registries, effort or Effort())
    with reporter.step(f"Fetching {counted(len(todo), 'file')}") as step, run:
        failed = run.follow(step, reporter)
    if failed:
        raise _failure(failed, len(todo))


class _Run:
    """The threads of one fetch. They report by events: a face need not be thread-safe.

    They are daemons, so an interrupt need not wait for a server that does not answer.
    """

    def __init__(
        self, todo: Sequence[Wanted], store: Store, registries: Places, effort: Effort
    ) -> None:
        self._todo, self._store, self._registries, self._effort = todo, store, registries, effort
        self._events: _Events = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        for entry in todo:
            self._tasks.put(entry)
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        for number in range(min(self._effort.jobs, len(self._todo))):
            name = f"kvpack-fetch-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()

    def _work(self) -> None:
        watch = Watch(
            moved=lambda size: self._events.put(_Moved(size)),
            warn=lambda text: self._events.put(_Warned(text)),
            stop=self._stop,
        )
        with contextlib.suppress(queue.Empty):
            while not self._stop.is_set():
                self._events.put(self._one(self._tasks.get_nowait(), watch))

    def _one(self, wanted: Wanted, watch: Watch) -> _Outcome:
        try:
            tried = obtain(
                wanted,
                store=self._store,
                registries=self._registries,
                watch=watch,
                effort=self._effort,
            )
        except Exception as error:  # noqa: BLE001  # raised again by ``follow``
            return _Outcome(wanted=wanted, error=error)
        return _Outcome(wanted=wanted, tried=tried)

    def follow(self, step: Step, reporter: Reporter) -> list[_Outcome]:
        """Tell the progress until every file has its outcome; those that failed are returned.

        :raises KvpackError: what ends the whole run, at once.
        """
        sizes = [entry.size for entry in self._todo if entry.size is not None]
        in_bytes = len(sizes) == len(self._todo)
        total = sum(sizes) if in_bytes else len(self._todo)
        unit = "B" if in_bytes else "files"
        done = ended = 0
        failed = []
        while ended < len(self._todo):
            match self._events.get():
                case _Moved(size):
                    done += size if in_bytes else 0
                case _Warned(text):
                    reporter.warn(text)
                case outcome:
                    if outcome.error is not None:
                        raise outcome.error
                    ended += 1
                    done += 0 if in_bytes else 1
                    if outcome.tried:
                        failed.append(outcome)
            step.progress(done, total, unit)
        return failed


# -- errors ---------------------------------------------------------------------------------


def _named(wanted: Wanted) -> str:
    return wanted.place if wanted.registry == "url" else f"{wanted.registry}: {wanted.place}"


def _offline(missing: Sequence[Wanted]) -> OfflineMissing:
    return OfflineMissing(
        f"the store lacks {counted(len(missing), 'file')}, and --offline forbids fetching",
        cause="they were never fetched into this store, or it was cleared since",
        hint="with a network, run: kvpack fetch RECIPE",
        faults=[
            Fault(place=_named(entry), message=f"sha256 {entry.sha256} is not in the store")
            for entry in missing
        ],
    )


def _failure(failed: Sequence[_Outcome], total: int) -> KvpackError:
    ordered = sorted(failed, key=lambda outcome: _named(outcome.wanted))
    faults = [
        Fault(
            place=_named(outcome.wanted),
            message="\n".join(f"{tried.url}: {tried.reason}" for tried in outcome.tried),
            hint=_hint(outcome),
        )
        for outcome in ordered
    ]
    what = f"{len(failed)} of {counted(total, 'file')} could not be fetched"
    if all(any(tried.wrong for tried in outcome.tried) for outcome in failed):
        return DigestMismatch(
            f"{what}: what came is not what the lock names",
            cause="a proxy or mirror serves something else under that name (a login page, "
            "a file that was packed again), or upstream replaced the file",
            hint="none of those bytes were kept; name another mirror in kvpack.toml, or look "
            "what changed upstream before locking it anew",
            faults=faults,
        )
    return FetchFailed(
        what,
        cause=_cause([tried for outcome in failed for tried in outcome.tried]),
        hint="run the same command again: all that came is kept and resumed",
        faults=faults,
    )


def _cause(tried: Sequence[Tried]) -> str:
    if any(entry.transient for entry in tried):
        return "a server or the network fails at the moment"
    if all(entry.status for entry in tried):
        return "the servers answer, but do not have these files, or not for you"
    return "no server could be reached: no network, a proxy that is not set, or a wrong address"


def _hint(outcome: _Outcome) -> str:
    tried = outcome.tried
    if outcome.wanted.registry == "debian" and all(entry.status in {404, 410} for entry in tried):
        return _GONE
    return _HINTS[outcome.wanted.registry]
