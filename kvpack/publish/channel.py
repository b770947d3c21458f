"""What becomes of a channel: pure functions from a state and a release to the next state.

A channel is never edited: each change makes new listings for the projects that it touches, and one
state that names them. What a change does not touch keeps its listing, so a change costs what it
changes.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from kvpack.publish.model import Entry, Listing, Release, Row, State, Wheel

Action = Literal["publish", "rollback", "retire", "restore"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A state to be committed, and the listings that are new in it."""

    state: State
    listings: tuple[Listing, ...]


def rows_of(release: Release) -> dict[str, list[Wheel]]:
    """The wheels of a release by the page that lists them."""
    found: dict[str, list[Wheel]] = {}
    for wheel in release.wheels:
        found.setdefault(f"{wheel.accelerator}/{wheel.project}", []).append(wheel)
    return found


def published(
    state: State | None, held: Mapping[str, Listing], release: Release, channel: str
) -> Change | None:
    """Add a release; ``None`` if the channel lists all of it already.

    A release that is older than the head and still listed changes nothing either: a pipeline that
    runs an old job again must not move the channel back. ``rollback`` does that on purpose.

    :param held: the listings of the rows that the release touches, where there are any.
    """
    wheels = rows_of(release)
    if state and all(
        any(entry.sha256 == wheel.sha256 and release.id in entry.releases for entry in entries)
        for row, group in wheels.items()
        for entries in [held[row].entries if row in held else ()]
        for wheel in group
    ):
        return None
    listings = [_added(held.get(row), release, group) for row, group in wheels.items()]
    return _change(state, channel, ("publish", release.id), listings)


def _added(listing: Listing | None, release: Release, wheels: list[Wheel]) -> Listing:
    first = wheels[0]
    before = listing or Listing(accelerator=first.accelerator, project=first.project)
    known = {entry.filename: entry for entry in before.entries}
    new = [_entry(release, wheel, known.get(wheel.filename)) for wheel in wheels]
    names = {entry.filename for entry in new}
    kept = [entry for entry in before.entries if entry.filename not in names]
    return before.model_copy(update={"entries": (*kept, *new)})


def _entry(release: Release, wheel: Wheel, known: Entry | None) -> Entry:
    return Entry(
        filename=wheel.filename,
        path=wheel.path,
        sha256=wheel.sha256,
        size=wheel.size,
        metadata=wheel.evidence["metadata"].sha256,
        requires_python=wheel.requires_python,
        uploaded=known.uploaded if known else release.created,
        version=wheel.version,
        target=wheel.target,
        evidence=tuple(wheel.evidence),
        releases=tuple(dict.fromkeys((*(known.releases if known else ()), release.id))),
    )


def rolled_back(state: State, past: State, held: Mapping[str, Listing]) -> Change:
    """List again what an earlier state listed, less what was retired since.

    :param held: the listings of the past state's rows that differ from today's.
    """
    listings = [_without(listing, state.retired) for listing in held.values()]
    gone = [
        Listing.model_validate({"accelerator": name[0], "project": name[1]})
        for row in state.rows
        if row not in past.rows
        for name in [row.split("/", 1)]
    ]
    return _change(state, state.channel, ("rollback", past.head), [*listings, *gone])


def retired(state: State, release: str, why: str, held: Mapping[str, Listing]) -> Change:
    """Stop listing a release; its objects stay."""
    marks = {**state.retired, release: why}
    listings = [_without(listing, marks) for listing in held.values()]
    return _change(state, state.channel, ("retire", release), listings, marks)


def restored(state: State, release: Release, held: Mapping[str, Listing]) -> Change:
    """List a retired release again, in the place that it had: newer wheels stay current."""
    marks = {name: why for name, why in state.retired.items() if name != release.id}
    added = [_added(held.get(row), release, group) for row, group in rows_of(release).items()]
    listings = [
        one.model_copy(update={"entries": tuple(sorted(one.entries, key=lambda e: e.uploaded))})
        for one in added
    ]
    return _change(state, state.channel, ("restore", release.id), listings, marks)


def _without(listing: Listing, releases: Iterable[str]) -> Listing:
    out = set(releases)
    kept = [entry for entry in listing.entries if not set(entry.releases) <= out]
    return listing.model_copy(update={"entries": tuple(kept)})


def _change(
    state: State | None,
    channel: str,
    what: tuple[Action, str],
    listings: list[Listing],
    marks: Mapping[str, str] | None = None,
) -> Change:
    serial = state.serial + 1 if state else 1
    rows = dict(state.rows) if state else {}
    new = []
    for listing in listings:
        digest = listing.digest()
        before = rows.get(listing.row)
        if before is None or before.listing != digest:
            rows[listing.row] = _row(listing, digest, serial)
            new.append(listing)
    action, release = what
    head = release if action in {"publish", "rollback"} or state is None else state.head
    after = State(
        channel=channel,
        serial=serial,
        before=None,  # filled in with ``made`` when it is committed
        action=action,
        release=release,
        head=head,
        made="",
        retired=dict(marks if marks is not None else state.retired if state else {}),
        rows=dict(sorted(rows.items())),
    )
    return Change(state=after, listings=tuple(new))


def _row(listing: Listing, digest: str, serial: int) -> Row:
    gone = superseded(listing)
    current = [entry for entry in listing.entries if entry.filename not in gone]
    versions = [Version(entry.version) for entry in current]
    public = max(versions).public if versions else None
    held = sorted(
        {e.target for e, one in zip(current, versions, strict=True) if one.public == public}
    )
    return Row(
        listing=digest,
        serial=serial,
        wheels=len(listing.entries),
        version=public,
        targets=tuple(held),
    )


@functools.lru_cache(maxsize=1 << 15)
def _cell(filename: str) -> tuple[str, object, object]:
    """The public version and the target of a wheel: each page asks again."""
    _, version, build, tags = parse_wheel_filename(filename)
    return version.public, build, tags


def superseded(listing: Listing) -> dict[str, str]:
    """File name -> the file that took its place.

    Two builds of one version for one target differ in the local version, an action key, and keys
    have no order: an installer would choose by chance. The later published one counts; the others
    are yanked (PEP 592), so that exact pins and locks of them go on working.
    """
    newest: dict[tuple[str, object, object], str] = {}
    found: dict[str, str] = {}
    for entry in listing.entries:
        cell = _cell(entry.filename)
        if cell in newest:
            found[newest[cell]] = entry.filename
        newest[cell] = entry.filename
    return found
