"""Mirrors: byte copies of a storage that follow its channels.

A mirror is never written to from two sides: each of its channels follows the primary's states. The
order is that of publishing: files, then the documents that name them, then the pointer in one
conditional write, then the pages.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kvpack.errors import MirrorBehind, StorageFailed
from kvpack.publish.commit import Channel, Head, load, need
from kvpack.publish.model import (
    Release,
    State,
    Stored,
    list_path,
    state_path,
)
from kvpack.publish.release import own_index, write_manifest
from kvpack.publish.storage import (
    THREADS,
    compare,
    put,
    put_all,
    put_text,
    stored,
)
from kvpack.tools.files import disk_full_at
from kvpack.tools.stored import Data, Objects

SPOOLED = 8 << 20
"""Bytes from which on an object that is copied between storages goes through a file."""


@dataclass(kw_only=True)
class Copied:
    """What a repair did."""

    objects: int = 0
    size: int = 0
    """Bytes."""
    pages: int = 0
    channels: list[str] = field(default_factory=list)
    """Channels whose pointer moved."""


class Source:
    """Where copies come from: a primary, and files of this machine that it holds too."""

    def __init__(self, objects: Objects, local: dict[str, Data] | None = None) -> None:
        self.objects = objects
        self._local = local or {}

    @contextmanager
    def data(self, wanted: Stored) -> Iterator[Data]:
        """Lend the bytes of an object, verified; large ones as a file that goes afterwards.

        :raises StorageFailed: if the primary itself holds other bytes.
        """
        with ExitStack() as held:
            data = self._local.get(wanted.path)
            if data is None:
                data = held.enter_context(self._fetched(wanted))
            if stored(wanted.path, data).sha256 != wanted.sha256:
                raise StorageFailed(
                    f"{self.objects.name}: {wanted.path} has not the sha256 that its release says",
                    cause="the primary's object is damaged; it was not copied",
                    hint=f"repair the primary from a good mirror: kvpack mirror sync MIRROR "
                    f"{self.objects.name}",
                )
            yield data

    @contextmanager
    def _fetched(self, wanted: Stored) -> Iterator[Data]:
        if wanted.size < SPOOLED:
            yield b"".join(self.objects.chunks(wanted.path))
            return
        # Without a name, so that kill -9 leaves nothing.
        with disk_full_at(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
            for chunk in self.objects.chunks(wanted.path):
                file.write(chunk)
            file.flush()
            yield Path(f"/proc/self/fd/{file.fileno()}")


def follow(source: Source, target: Objects, name: str) -> Copied:
    """Bring one channel of a mirror to its primary's state. Costs what the mirror lacks.

    :raises MirrorBehind: if the mirror has states that the primary never had.
    """
    done = Copied()
    primary, mirror = Channel(source.objects, name), Channel(target, name)
    head, there = primary.must_head(), mirror.head()
    if there is None or there.pointer != head.pointer:
        _check_ahead(head, there, target)
        for digest, state in _lacking(primary, head, target):
            before = load(source.objects, state_path(state.before), State) if state.before else None
            _copy_state(source, target, (digest, state, before), done)
        moved = mirror.point(head.pointer, there.version if there else None)
        if not moved:
            raise MirrorBehind(
                f"{target.name}: channel {name} was changed while it was brought up",
                cause="another kvpack is writing to the mirror",
                hint=f"kvpack mirror sync {source.objects.name} {target.name}",
            )
        done.channels.append(name)
    done.pages += mirror.settle()
    return done


def _check_ahead(head: Head, there: Head | None, target: Objects) -> None:
    if there is not None and there.pointer.serial >= head.pointer.serial:
        raise MirrorBehind(
            f"{target.name}: channel {there.pointer.channel} is at state {there.pointer.serial}, "
            f"its primary at {head.pointer.serial}, and they differ",
            cause="something was published to the mirror itself, or the primary was set back",
            hint="decide which of them is right: kvpack release list --at URL shows both; publish "
            "to one storage only, and let --mirror write the others",
        )


def _lacking(primary: Channel, head: Head, target: Objects) -> list[tuple[str, State]]:
    """The primary's states that the mirror does not have, the oldest first."""
    found = []
    for digest, state in primary.history(head):
        if target.head(state_path(digest)) is not None:
            break
        found.append((digest, state))
    return found[::-1]


def _copy_state(
    source: Source, target: Objects, what: tuple[str, State, State | None], done: Copied
) -> None:
    """Copy all that a state names and the one before it does not; the state comes last."""
    digest, state, before = what
    old = {name: row.listing for name, row in before.rows.items()} if before else {}
    changed = {
        name: row.listing for name, row in state.rows.items() if old.get(name) != row.listing
    }
    primary = Channel(source.objects, state.channel)
    known = primary.listings({name: old[name] for name in changed if name in old})
    names = {state.release}
    for name, listing in primary.listings(changed).items():
        held = known[name].entries if name in known else ()
        names |= {one for entry in set(listing.entries) - set(held) for one in entry.releases}
    for name in sorted(names):
        _copy_release(source, target, name, done)
    for one in sorted(set(changed.values())):
        _copy_text(source, target, list_path(one))
    _copy_text(source, target, state_path(digest))


def _copy_release(source: Source, target: Objects, name: str, done: Copied) -> None:
    release = need(source.objects, f"releases/{name}.json", Release)
    if target.head(release.path) is not None:
        return  # here, a manifest is written after all that belongs to it
    with ThreadPoolExecutor(THREADS) as pool:
        fresh = list(pool.map(lambda one: _copy(source, target, one), release.objects))
    done.objects += sum(fresh)
    done.size += sum(o.size for o, new in zip(release.objects, fresh, strict=True) if new)
    put_all(target, [(stored(path, data), data) for path, data in own_index(release)])
    write_manifest(release, target)


def _copy(source: Source, target: Objects, wanted: Stored) -> bool:
    if compare(target, wanted)[0] is None:
        return False
    with source.data(wanted) as data:
        return put(target, wanted, data)[0]


def _copy_text(source: Source, target: Objects, path: str) -> None:
    found = source.objects.get(path)
    if found is None:
        raise StorageFailed(f"{source.objects.name} lacks {path}", hint="kvpack mirror verify")
    put_text(target, path, found.data)
