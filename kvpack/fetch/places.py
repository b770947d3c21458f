"""The words between whoever knows where a file may be had and whoever fetches it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from kvpack.fetch.model import Registry, Wanted
from kvpack.tools.web import TryFailed, Web, redact


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
    slow: bool = False
    """Whether it cost a time-out."""

    @classmethod
    def of(cls, url: str, error: TryFailed, *, wrong: bool = False) -> "Tried":
        """What a failure was, for the report."""
        return cls(
            url=redact(url),
            reason=error.reason,
            transient=error.transient and not wrong,
            wrong=wrong,
            status=error.status,
            slow=error.slow,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A place where a file may be, or why one that should know it is none."""

    url: str
    """May hold credentials: redact it before it is shown."""
    problem: str = ""
    """Why the file cannot be had through ``url``; empty: try it."""
    transient: bool = False
    """Whether ``problem`` may go away by itself."""
    status: int = 0
    web: Web | None = None
    """What reaches it, if not the registry's own port."""
    told: Callable[[Tried | None], None] | None = None
    """Called with how a try ended: ``None`` if it gave the file."""


class Places(Protocol):
    """Where files may be had: the registries of a machine, or mirrors. Used by several threads."""

    def prepare(self, registries: Iterable[Registry]) -> None:
        """Ask about these registries now, on this thread."""
        ...

    def places(self, wanted: Wanted) -> Iterator[Candidate]:
        """Give the places of a file in the order to try."""
        ...

    def web(self, registry: Registry) -> Web:
        """Give the port that reaches a registry."""
        ...
