"""Files of Go modules that no lock names by their bytes yet: fetched, and held to go.sum."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kvpack.errors import ArchiveUnsafe, DigestMismatch, Fault, FetchFailed, ResolutionFailed
from kvpack.fetch.transfer import Effort
from kvpack.fetch.unlocked import fetch_unlocked
from kvpack.lock.gofile import LockedGoFile, PendingGoFile
from kvpack.report import Reporter
from kvpack.tools.dirhash import hash_mod, hash_zip
from kvpack.tools.store import Store
from kvpack.tools.web import TryFailed, Web, encode_path, redact

_JOBS = 8
_GONE = (404, 410)
"""What a proxy answers where it does not have a file (go.dev/ref/mod#goproxy-protocol)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    wanted: PendingGoFile
    found: LockedGoFile | None = None
    reasons: tuple[str, ...] = ()
    """Why each place did not give it."""
    wrong: bool = False
    """Whether a place gave other bytes."""
    unreachable: bool = False
    """Whether a place did not answer, so that it may have the file."""

    @property
    def fault(self) -> Fault:
        return Fault(place=f"go: {self.wanted.place}", message="; ".join(self.reasons))


def fetch_go_files(
    label: str,
    wanted: Sequence[PendingGoFile],
    *,
    store: Store,
    places: tuple[Sequence[str], Web],
    reporter: Reporter,
    effort: Effort | None = None,
) -> tuple[LockedGoFile, ...]:
    """Bring files of Go modules into the store; all of them, or none is told.

    :param label: how messages call what needs them: ``mooncake 0.3.14``.
    :param places: the URLs of proxies in the order to try, and how they are reached.
    :raises DigestMismatch: if a file is not the one that go.sum names; with every file that failed.
    :raises ResolutionFailed: if proxies answer that they do not have a file.
    :raises FetchFailed: if no proxy answers.
    """
    run = _Run(store, places, effort or Effort(rounds=2), threading.Event())
    outcomes: list[_Outcome] = []
    title = f"Fetching the Go modules of {label}"
    with reporter.step(title) as step, ThreadPoolExecutor(_JOBS) as pool:
        for outcome in pool.map(run.one, wanted):
            outcomes.append(outcome)
            step.progress(len(outcomes), len(wanted), "files")
    failed = [one for one in outcomes if one.reasons]
    if failed:
        raise _failure(label, failed, len(wanted))
    return tuple(one.found for one in outcomes if one.found)


@dataclass(frozen=True)
class _Run:
    store: Store
    places: tuple[Sequence[str], Web]
    effort: Effort
    silent: threading.Event
    """Set once no proxy answered: the others are not asked for, as they would not come either."""

    def one(self, wanted: PendingGoFile) -> _Outcome:
        """Take one file from the first proxy that has it."""
        proxies, web = self.places
        reasons: list[str] = []
        wrong = unreachable = False
        for proxy in proxies:
            url, shown = f"{proxy}/{encode_path(wanted.place)}", redact(proxy)
            if self.silent.is_set():
                reasons.append(f"{shown}: not asked, as no proxy answered before")
                unreachable = True
                continue
            try:
                fetched = fetch_unlocked(url, store=self.store, web=web, effort=self.effort)
                h1 = self._h1(wanted, fetched.sha256)
            except FetchFailed as error:
                tried = error.__cause__
                unreachable |= not (isinstance(tried, TryFailed) and tried.status in _GONE)
                reasons.append(f"{shown}: {error.cause}")
            except ArchiveUnsafe as error:
                wrong = True
                reasons.append(f"{shown}: {error.faults[0].message}")
            else:
                if h1 == wanted.h1:
                    fields = {"sha256": fetched.sha256, "size": fetched.size}
                    found = LockedGoFile.model_validate({**wanted.model_dump(), **fields})
                    return _Outcome(wanted=wanted, found=found)
                wrong = True
                reasons.append(f"{shown}: it is {h1}, go.sum says {wanted.h1}")
        if unreachable and not wrong:
            self.silent.set()
        return _Outcome(wanted=wanted, reasons=tuple(reasons), wrong=wrong, unreachable=unreachable)

    def _h1(self, wanted: PendingGoFile, sha256: str) -> str:
        path = self.store.check(sha256)
        return hash_zip(path, name=wanted.place) if wanted.file == "zip" else hash_mod(path)


def _failure(
    label: str, failed: list[_Outcome], total: int
) -> DigestMismatch | ResolutionFailed | FetchFailed:
    """The one error of all files that failed; what is certain is told before what may pass."""
    what = f"{len(failed)} of {total} files of the Go modules of {label}"
    faults = [one.fault for one in failed]
    if any(one.wrong for one in failed):
        return DigestMismatch(
            f"{what} are not what go.sum names",
            cause="a proxy serves something else under that name, or a module was published anew "
            "under an old version",
            hint="nothing was locked; name another proxy in kvpack.toml ([registries.go] proxies), "
            "or look what changed upstream",
            faults=faults,
        )
    if not any(one.unreachable for one in failed):
        return ResolutionFailed(
            f"{what} are on no proxy",
            cause="the modules are private (GOPRIVATE), were retracted by their host, or go.sum "
            "names what was never published",
            hint="name a proxy that has them in kvpack.toml: [registries.go] proxies",
            faults=faults,
        )
    return FetchFailed(
        f"{what} could not be fetched",
        cause="a proxy of Go modules did not answer",
        hint="run the same command again, or name another proxy in kvpack.toml "
        "([registries.go] proxies) or in GOPROXY",
        faults=faults[:_SHOWN],
    )


_SHOWN = 8
"""Files that are named where all failed for the same reason."""
