"""One channel in one storage: read it, change it by one conditional write, bring its pages up.

The pointer is the truth. A change first writes everything that the new state names, then swaps the
pointer: the one moment in which the channel changes. The pages that static hosts serve follow from
the state; each is replaced whole and only forwards, after the pointer, so that no page ever lists
what no state listed. docs/architecture.md, "Publishing", says why pages do not come first.
"""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from kvpack.errors import ChannelMoved, ReleaseUnknown, StorageFailed
from kvpack.publish.channel import Change
from kvpack.publish.human import channel_page, project_page, root_page
from kvpack.publish.index import Page, project_pages, root_pages, serial_of
from kvpack.publish.model import (
    Document,
    Listing,
    Pointer,
    Release,
    State,
    list_path,
    pointer_path,
    state_path,
)
from kvpack.publish.storage import JSON, NEVER, THREADS, TRIES, put_page, put_text
from kvpack.tools.files import sha256_of
from kvpack.tools.stored import Changed, Exists, Headers, Objects, Version

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a channel is now."""

    pointer: Pointer
    version: Version
    state: State


def load(objects: Objects, path: str, kind: type[D], *, digest: str | None = None) -> D | None:
    """Read one document.

    :param digest: what its bytes must have.
    :raises StorageFailed: if it is not what kvpack wrote.
    """
    found = objects.get(path)
    if found is None:
        return None
    if digest is not None and sha256_of(found.data) != digest:
        raise StorageFailed(
            f"{objects.name}: {path} does not hold the bytes of its name",
            cause="the object was changed or damaged after it was published",
            hint="repair it from another storage: kvpack mirror sync",
        )
    return parse(objects, path, kind, found.data)


def parse(objects: Objects, path: str, kind: type[D], data: bytes) -> D:
    """Read a document from its bytes.

    :raises StorageFailed: if they are not what kvpack writes.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise StorageFailed(
            f"{objects.name}: {path} is no {kind.__name__.lower()} that this kvpack can read",
            cause=str(error).splitlines()[0],
            hint="a newer kvpack may have written it: upgrade, or compare with a mirror",
        ) from None


def need(objects: Objects, path: str, kind: type[D], *, digest: str | None = None) -> D:
    """Read a document that another one names.

    :raises StorageFailed: if it is absent.
    """
    found = load(objects, path, kind, digest=digest)
    if found is None:
        raise StorageFailed(
            f"{objects.name} lacks {path}, which another object names",
            cause="it was removed, or the storage was copied only in part",
            hint="repair it from another storage: kvpack mirror sync",
        )
    return found


def load_release(objects: Objects, name: str) -> Release:
    """Read a release's manifest.

    :raises ReleaseUnknown: if there is none.
    """
    found = load(objects, f"releases/{name}.json", Release)
    if found is None:
        raise ReleaseUnknown(
            f"{objects.name} has no release {name!r}",
            hint=f"kvpack release list --at {objects.name}",
        )
    return found


class Channel:
    """A channel of a storage.

    :param objects: a storage whose conditions hold (``storage.guarded``).
    """

    def __init__(self, objects: Objects, name: str) -> None:
        self.objects = objects
        self.name = name
        self._own: dict[str, Listing] = {}
        """Listings that were written from here, by digest: they need not be read again."""

    def head(self) -> Head | None:
        """What the channel is now; ``None`` if nothing was ever published to it."""
        found = self.objects.get(pointer_path(self.name))
        if found is None:
            return None
        pointer = parse(self.objects, pointer_path(self.name), Pointer, found.data)
        state = need(self.objects, state_path(pointer.state), State, digest=pointer.state)
        return Head(pointer=pointer, version=found.stat.version, state=state)

    def must_head(self) -> Head:
        """What the channel is now.

        :raises ReleaseUnknown: if nothing was ever published to it.
        """
        found = self.head()
        if found is None:
            raise ReleaseUnknown(
                f"{self.objects.name} has no channel {self.name!r}",
                hint=f"kvpack release list --at {self.objects.name} shows its channels",
            )
        return found

    def listings(self, digests: dict[str, str]) -> dict[str, Listing]:
        """Read listings: row -> digest to row -> listing."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = pool.map(
                lambda digest: (
                    self._own.get(digest)
                    or need(self.objects, list_path(digest), Listing, digest=digest)
                ),
                digests.values(),
            )
            return dict(zip(digests, found, strict=True))

    def rows(self, state: State | None, names: Iterable[str]) -> dict[str, Listing]:
        """The listings of those rows that a state has."""
        held = state.rows if state else {}
        return self.listings({name: held[name].listing for name in names if name in held})

    def history(self, head: Head) -> Iterator[tuple[str, State]]:
        """Digest and state, from the present one back to the first."""
        digest: str | None = head.pointer.state
        while digest is not None:
            state = need(self.objects, state_path(digest), State, digest=digest)
            yield digest, state
            digest = state.before

    def commit(self, change: Callable[[Head | None], Change | None]) -> tuple[Head, bool]:
        """Change the channel; called again with the newer state if another publisher was faster.

        :param change: what to do with a state; ``None``: nothing to do.
        :returns: what is in force now, and whether this call changed it.
        :raises ChannelMoved: if others were faster every time.
        """
        for _ in range(TRIES):
            head = self.head()
            wanted = change(head)
            if wanted is None:
                return (head or self.must_head()), False
            state = wanted.state.model_copy(
                update={
                    "before": head.pointer.state if head else None,
                    "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            )
            for listing in wanted.listings:
                data = listing.text()
                put_text(self.objects, list_path(digest := sha256_of(data)), data)
                self._own[digest] = listing
            put_text(self.objects, state.path, state.text())
            pointer = Pointer(
                channel=self.name, serial=state.serial, release=state.head, state=state.digest()
            )
            if self.point(pointer, head.version if head else None):
                return self.must_head(), True
            time.sleep(random.uniform(0, 0.05))  # noqa: S311  # jitter is no secret
        raise ChannelMoved(
            f"channel {self.name} of {self.objects.name} was changed by others {TRIES} times",
            cause="many publishers at once; nothing was lost, and this release is not listed yet",
            hint="run the same command again",
        )

    def point(self, pointer: Pointer, before: Version | None) -> bool:
        """Swap the pointer; returns whether it is this one now."""
        path, data = pointer_path(self.name), pointer.text()
        headers = Headers(JSON, NEVER)
        try:
            if before is None:
                self.objects.create(path, data, headers)
            else:
                self.objects.swap(path, data, headers, before)
        except (Exists, Changed):
            # Perhaps an earlier try arrived and only its answer was lost. A pointer never
            # returns to earlier bytes: its serial only grows.
            found = self.objects.get(path)
            return found is not None and found.data == data
        return True

    # -- pages ------------------------------------------------------------------------------

    def settle(self, *, everything: bool = False) -> int:
        """Bring the pages of the host up to the pointer; returns how many were written.

        Costs what changed since it was last done to the end: ``channels/<name>.settled.json``
        holds the serial up to which that is known.

        :param everything: do not believe that note.
        """
        head = self.must_head()
        note = f"channels/{self.name}.settled.json"
        found = self.objects.get(note)
        done = 0 if everything or found is None else serial_of(found.data)
        if done >= head.state.serial:
            return 0
        with ThreadPoolExecutor(THREADS) as pool:
            written = list(
                pool.map(lambda given: put_page(self.objects, *given), self._pages(head, done))
            )
        count = sum(written) + self._root_page()
        mark = json.dumps({"kvpack-serial": head.state.serial}).encode()
        put_page(self.objects, Page(note, JSON, mark), head.state.serial)
        return count

    def _pages(self, head: Head, done: int) -> Iterator[tuple[Page, int]]:
        state = head.state
        changed = {name: row for name, row in state.rows.items() if row.serial > done}
        for name, listing in self.listings({n: r.listing for n, r in changed.items()}).items():
            serial = changed[name].serial
            folder = f"{self.name}/{listing.accelerator}/simple"
            pages = [*project_pages(folder, listing, serial)]
            pages.append(project_page(self.name, listing, serial))
            yield from ((page, serial) for page in pages)
        for accelerator in sorted({name.partition("/")[0] for name in changed}):
            rows = {n: r for n, r in state.rows.items() if n.startswith(f"{accelerator}/")}
            serial = max(row.serial for row in rows.values())
            listed = [n.partition("/")[2] for n, row in rows.items() if row.wheels]
            folder = f"{self.name}/{accelerator}/simple"
            yield from ((page, serial) for page in root_pages(folder, listed, serial))
        yield channel_page(state), state.serial

    def _root_page(self) -> int:
        """Bring ``index.html`` up to the channels that there are."""
        for _ in range(TRIES):
            names = channels_of(self.objects)
            written = put_page(self.objects, root_page(names), 0)
            if channels_of(self.objects) == names:
                return int(written)
        return 0  # another publisher is at it


def channels_of(objects: Objects) -> list[str]:
    """The names of all channels."""
    names = [stat.key.removeprefix("channels/") for stat in objects.list("channels/")]
    return sorted(n.removesuffix(".json") for n in names if not n.endswith(".settled.json"))
