"""Publishing a release, and what else moves a channel: rollback, retire, restore."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from packaging.version import Version

from kvpack.errors import Fault, ObjectConflict, ReleaseUnknown, StorageFailed, UsageError
from kvpack.publish import channel as moves
from kvpack.publish.channel import Change
from kvpack.publish.commit import Channel, Head, load, load_release
from kvpack.publish.gather import Prepared
from kvpack.publish.index import project_pages, root_pages
from kvpack.publish.model import RESERVED, STABLE, Listing, Release, State
from kvpack.publish.storage import immutable, put_all, stored
from kvpack.report import Reporter
from kvpack.tools.stored import Exists, Objects


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publication left."""

    release: Release
    new_objects: int
    serial: int
    """The state of the channel that is in force."""
    moved: bool
    """Whether this call changed the channel."""
    pages: int
    """Pages that were written."""


def check_channel(name: str, release: Release | None = None) -> None:
    """Hold the rules of channels before anything is written.

    :raises UsageError: if no channel can have that name.
    :raises ObjectConflict: if a pre-release would reach ``stable``.
    """
    if name in RESERVED:
        raise UsageError(
            f"--channel {name}: the storage keeps its own objects under that name",
            hint="choose another name, such as stable or rc",
        )
    wheels = release.wheels if release and name == STABLE else ()
    early = [wheel for wheel in wheels if Version(wheel.version).is_prerelease]
    if early:
        raise ObjectConflict(
            f"channel {STABLE} takes no pre-release",
            cause="installers choose a pre-release where an index has nothing else",
            hint="publish it to another channel: --channel rc",
            faults=[Fault(place=one.filename, message=f"version {one.version}") for one in early],
        )


def publish(prepared: Prepared, channel: Channel, reporter: Reporter) -> Published:
    """Write a release and make a channel list it. Safe to run again at any point.

    Objects first, each read back; then the manifest and the release's own index; then the
    channel's pointer in one conditional write; then the pages that follow from it.
    """
    objects = channel.objects
    check_channel(channel.name, prepared.release)
    with reporter.step(f"Writing {len(prepared.data)} objects to {objects.name}"):
        release, count = write_objects(prepared, objects)
    rows = moves.rows_of(release)

    def add(head: Head | None) -> Change | None:
        state = head.state if head else None
        if state and release.id in state.retired:
            raise _is_retired(release.id, channel, state.retired[release.id])
        return moves.published(state, channel.rows(state, rows), release, channel.name)

    head, moved = channel.commit(add)
    with reporter.step(f"Bringing the pages of {channel.name} up to date"):
        pages = channel.settle()
    return Published(
        release=release, new_objects=count, serial=head.state.serial, moved=moved, pages=pages
    )


def _is_retired(release: str, channel: Channel, why: str) -> ReleaseUnknown:
    return ReleaseUnknown(
        f"release {release} was retired from {channel.name}",
        cause=why or "nobody said why",
        hint=f"kvpack release restore {release} --channel {channel.name} "
        f"--at {channel.objects.name} lists it again",
    )


def write_objects(prepared: Prepared, objects: Objects) -> tuple[Release, int]:
    """Write all that a release stands for, its manifest last; returns how many were new."""
    results = put_all(objects, [(one, prepared.data[one.path]) for one in prepared.release.objects])
    newest = max(stat.modified for _, stat in results)
    release = prepared.release.sealed(newest.strftime("%Y-%m-%dT%H:%M:%SZ"))
    release = write_manifest(release, objects)
    put_all(objects, [(stored(path, data), data) for path, data in own_index(release)])
    return release, sum(fresh for fresh, _ in results)


def write_manifest(release: Release, objects: Objects) -> Release:
    """Write the manifest; one that is there already says when the release was created."""
    with contextlib.suppress(Exists):
        objects.create(release.path, release.text(), immutable(release.path))
    held = load(objects, release.path, Release)
    if held is None or held.sealed("").id != release.id:
        raise StorageFailed(
            f"{objects.name}: {release.path} is not the manifest of that release",
            cause="the object was changed or damaged after it was written",
            hint="repair it from another storage: kvpack mirror sync",
        )
    return held


def own_index(release: Release) -> list[tuple[str, bytes]]:
    """The index of this release alone: it never changes, so its users see all or nothing."""
    found = []
    accelerators: dict[str, list[str]] = {}
    for row, wheels in moves.rows_of(release).items():
        accelerator, _, project = row.partition("/")
        accelerators.setdefault(accelerator, []).append(project)
        change = moves.published(None, {}, release, "x")
        assert change is not None  # noqa: S101  # a channel that has nothing lists nothing
        listing = next(one for one in change.listings if one.row == row)
        assert len(listing.entries) == len(wheels)  # noqa: S101
        found += project_pages(f"releases/{release.id}/{accelerator}/simple", listing, 0)
    for accelerator, projects in accelerators.items():
        found += root_pages(f"releases/{release.id}/{accelerator}/simple", projects, 0)
    return [(page.path, page.data) for page in found]


# -- moving the pointer ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A channel before and after."""

    before: State
    after: State
    changed: bool
    gone: tuple[str, ...]
    """Wheels that are no longer listed."""
    listed: tuple[str, ...]
    """Wheels that are listed again."""
    pages: int


def roll_back(channel: Channel, name: str) -> Moved:
    """Make a channel list what it listed when ``name`` was published to it.

    :raises ReleaseUnknown: if it never was.
    """

    def back(head: Head | None) -> Change | None:
        now = _must(channel, head)
        if now.state.head == name and now.state.action in {"publish", "rollback"}:
            return None
        past = _past(channel, now, name)
        if name in now.state.retired:
            raise _is_retired(name, channel, now.state.retired[name])
        differ = {
            row: one.listing
            for row, one in past.rows.items()
            if row not in now.state.rows or now.state.rows[row].listing != one.listing
        }
        return moves.rolled_back(now.state, past, channel.listings(differ))

    return _move(channel, back)


def _past(channel: Channel, head: Head, name: str) -> State:
    """The newest state in which a release was the head."""
    seen = []
    for _, state in channel.history(head):
        if state.head == name and state.action in {"publish", "rollback"}:
            return state
        seen.append(state.head)
    raise ReleaseUnknown(
        f"release {name!r} was never published to {channel.name}",
        cause="a rollback goes to what the channel was: " + ", ".join(dict.fromkeys(seen)),
        hint=f"publish it there, or choose one of: kvpack release list --at {channel.objects.name}",
    )


def retire(channel: Channel, name: str, why: str) -> Moved:
    """Stop listing a release; nothing is removed."""
    release = load_release(channel.objects, name)

    def out(head: Head | None) -> Change | None:
        state = _must(channel, head).state
        if name in state.retired:
            return None
        return moves.retired(state, name, why, channel.rows(state, moves.rows_of(release)))

    return _move(channel, out)


def restore(channel: Channel, name: str) -> Moved:
    """List a retired release again."""
    release = load_release(channel.objects, name)

    def back(head: Head | None) -> Change | None:
        state = _must(channel, head).state
        if name not in state.retired:
            return None
        return moves.restored(state, release, channel.rows(state, moves.rows_of(release)))

    return _move(channel, back)


def _must(channel: Channel, head: Head | None) -> Head:
    return head or channel.must_head()


def _move(channel: Channel, change: Callable[[Head | None], Change | None]) -> Moved:
    before = channel.must_head()
    after, changed = channel.commit(change)
    pages = channel.settle()
    gone, listed = _difference(channel, before.state, after.state)
    return Moved(
        before=before.state, after=after.state, changed=changed, gone=gone, listed=listed,
        pages=pages,
    )  # fmt: skip


def _difference(
    channel: Channel, before: State, after: State
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """File names that are no longer listed, and that are newly listed."""

    def files(state: State, other: State) -> set[str]:
        digests = {
            row: one.listing
            for row, one in state.rows.items()
            if row not in other.rows or other.rows[row].listing != one.listing
        }
        found: Mapping[str, Listing] = channel.listings(digests)
        return {entry.filename for listing in found.values() for entry in listing.entries}

    old, new = files(before, after), files(after, before)
    return tuple(sorted(old - new)), tuple(sorted(new - old))
