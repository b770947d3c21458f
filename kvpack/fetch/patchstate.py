"""What a patch still does to a source: needed, already upstream, partly, or in conflict."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from kvpack.fetch.gittext import Hunk, hunks_of


class State(StrEnum):
    NEEDED = "needed"
    """It applies, and its reverse does not."""
    UPSTREAM = "already upstream"
    """Its reverse applies: the source holds the change."""
    PARTLY = "partly upstream"
    """The reverse of some hunks applies."""
    CONFLICTS = "conflicts"
    """Neither applies."""
    EXCLUDED = "not for this version"
    """Its ``when`` excludes the version."""
    UNKNOWN = "unknown"
    """The change of its commit, or the source, cannot be had."""


class Refuses(Protocol):
    """A tree that says why it does not take a patch; empty: it does (``kvpack/tools/apply.py``)."""

    def refuses(self, patch: bytes, *, reverse: bool = False) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A patch's state on one source."""

    state: State
    hunks: tuple[str, ...] = ()
    """Where it is not plain: the hunks that the source holds not yet, or that do not apply."""


def judge(patch: bytes, tree: Refuses) -> Verdict:
    """Try a patch, then its parts. The tree stays as it is."""
    if not tree.refuses(patch, reverse=True):
        return Verdict(state=State.UPSTREAM)
    whole = tree.refuses(patch)
    if not whole:
        return Verdict(state=State.NEEDED)
    hunks = hunks_of(patch)
    held = [hunk for hunk in hunks if not tree.refuses(hunk.text, reverse=True)]
    if held:
        rest = tuple(hunk.place for hunk in hunks if hunk not in held)
        return Verdict(state=State.PARTLY, hunks=rest)
    return Verdict(state=State.CONFLICTS, hunks=_refused(hunks, tree) or (whole,))


def _refused(hunks: list[Hunk], tree: Refuses) -> tuple[str, ...]:
    told = ((hunk.place, tree.refuses(hunk.text)) for hunk in hunks)
    return tuple(f"{place}: {why}" for place, why in told if why)
