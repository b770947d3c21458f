"""Reading a release or a channel from any of its copies: every document is held to its digest.

Pointers are all asked, at once: the newest that leads to a state with its digest counts. All that
follows is named by digests, so it does not matter who answers.
"""

import contextlib
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from kvpack.errors import DigestMismatch, Fault, KvpackError, ReleaseUnknown, StorageFailed
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
from kvpack.publish.storage import THREADS
from kvpack.report import Reporter
from kvpack.tools.circuits import Circuits
from kvpack.tools.pace import Limits
from kvpack.tools.web import PAGE_LIMIT, TryFailed, Web, encode_path, redact

D = TypeVar("D", bound=Document)
ABSENT = frozenset({403, 404, 410})
"""What static hosts answer for an object that is not there (S3 without listing: 403)."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one place said about a channel."""

    place: str
    pointer: Pointer | None = None
    problem: str = ""
    status: int = 0
    """HTTP status of a failure; 0 where there was none."""
    wrong: bool = False
    """Whether it answered with something that is no pointer."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The pointer that counts, and its state."""

    pointer: Pointer
    state: State


class Copies:
    """The places that hold the same storage.

    :param web: what reaches them, and how slow they may be.
    :param hedge: seconds that others are waited for, once one place told where a channel is.
        ``None``: as long as they may be silent.
    """

    def __init__(
        self,
        places: Sequence[str],
        web: tuple[Web, Limits],
        circuits: Circuits,
        reporter: Reporter,
        *,
        hedge: float | None = None,
    ) -> None:
        self.places = tuple(dict.fromkeys(place.rstrip("/") for place in places))
        self._web, self._limits = web
        self._circuits, self._reporter = circuits, reporter
        self._hedge = hedge

    # -- channels ----------------------------------------------------------------------------

    def channel(self, name: str) -> Found:
        """The newest state of a channel that any place has, and that verifies.

        :raises ReleaseUnknown: if the places answer, and none has the channel.
        :raises StorageFailed: if none has a pointer that leads to its state.
        """
        said = self._ask_all(name)
        serials = {one.pointer.serial for one in said if one.pointer}
        if len(serials) > 1:
            told = ", ".join(
                f"{redact(one.place)} is at state {one.pointer.serial}"
                for one in said
                if one.pointer
            )
            self._reporter.warn(f"places disagree about {name}: {told}; the newest counts")
        faults = [Fault(place=redact(o.place), message=o.problem) for o in said if o.problem]
        for one in sorted(said, key=lambda s: -s.pointer.serial if s.pointer else 0):
            if one.pointer is None:
                continue
            try:
                state = self.state(one.pointer)
            except KvpackError as error:
                self._reporter.warn(
                    f"{redact(one.place)}: state {one.pointer.serial} of {name} does not verify: "
                    f"{error.what}"
                )
                faults.append(Fault(place=redact(one.place), message=error.what))
                continue
            return Found(pointer=one.pointer, state=state)
        raise self._no_channel(name, said, faults)

    def _no_channel(self, name: str, said: Sequence[Said], faults: list[Fault]) -> KvpackError:
        if said and all(one.status in ABSENT for one in said):
            return ReleaseUnknown(
                f"no place has the channel {name!r}",
                cause="nothing was published to it, or these are no storages of releases",
                hint="kvpack release list --at URL shows a storage's channels",
                faults=faults,
            )
        return StorageFailed(
            f"no place tells what the channel {name!r} is",
            cause="the network, or the hosts themselves",
            hint="run the same command again, or name another place with --from URL",
            faults=faults,
        )

    def _ask_all(self, name: str) -> list[Said]:
        """Ask every place for its pointer, in the order of the places.

        One whose circuit is open is asked only when no other has the channel.
        """
        closed = [place for place in self.places if not self._circuits.is_open(place)]
        rest = [place for place in self.places if place not in closed]
        said = self._ask(closed, name)
        if not any(one.pointer for one in said):
            return said + self._ask(rest, name)
        for place in rest:
            self._reporter.note(f"{redact(place)} failed a moment ago: it is not asked")
        for one in said:
            if one.problem:
                tell = self._reporter.warn if one.wrong else self._reporter.note
                tell(f"{redact(one.place)}: {one.problem}")
        return said

    def _ask(self, places: Sequence[str], name: str) -> list[Said]:
        answers: queue.SimpleQueue[Said] = queue.SimpleQueue()
        for place in places:
            threading.Thread(
                target=lambda place: answers.put(self._pointer(place, name)),
                args=(place,), daemon=True,
            ).start()  # fmt: skip
        found: dict[str, Said] = {}
        while len(found) < len(places):
            known = any(one.pointer for one in found.values())
            try:
                one = answers.get(timeout=self._hedge if known else None)
            except queue.Empty:
                break
            found[one.place] = one
        for place in places:
            if place not in found:
                self._circuits.failed(place, slow=True)
                self._reporter.note(f"{redact(place)} has not answered yet: it is not waited for")
        return [found[place] for place in places if place in found]

    def _pointer(self, place: str, name: str) -> Said:
        try:
            data = self._read(place, pointer_path(name))
            pointer = Pointer.model_validate_json(data)
        except TryFailed as error:
            return Said(place=place, problem=error.reason, status=error.status)
        except ValueError as error:  # pydantic's too
            self._circuits.failed(place)
            first = str(error).splitlines()[0]
            problem = f"what it answers is no pointer of a channel: {first}"
            return Said(place=place, problem=problem, wrong=True)
        except Exception as error:  # noqa: BLE001  # a thread must answer
            return Said(place=place, problem=str(error))
        if pointer.channel != name:
            return Said(
                place=place, problem=f"its pointer is that of {pointer.channel}", wrong=True
            )
        return Said(place=place, pointer=pointer)

    # -- documents by digest -----------------------------------------------------------------

    def state(self, pointer: Pointer) -> State:
        """The state that a pointer names.

        :raises DigestMismatch: if what it names is another channel's, or has another serial.
        """
        state = self._document(state_path(pointer.state), State, _digest_is(pointer.state))
        if (state.channel, state.serial) != (pointer.channel, pointer.serial):
            raise DigestMismatch(
                f"the pointer says {pointer.channel} {pointer.serial}, its state "
                f"{state.channel} {state.serial}"
            )
        return state

    def listings(self, state: State, accelerators: Sequence[str] = ()) -> list[Listing]:
        """What a state lists."""
        digests = [
            row.listing
            for name, row in state.rows.items()
            if row.wheels and (not accelerators or name.partition("/")[0] in accelerators)
        ]
        with ThreadPoolExecutor(THREADS) as pool:
            return list(
                pool.map(lambda d: self._document(list_path(d), Listing, _digest_is(d)), digests)
            )

    def release(self, name: str) -> Release:
        """A release's manifest: its id is the digest of its content.

        :raises ReleaseUnknown: if the places answer, and none has it.
        """

        def check(data: bytes) -> str:
            try:
                release = Release.model_validate(json.loads(data))
            except ValueError:
                return "is no manifest that this kvpack can read"
            return "" if release.sealed("").id == name == release.id else "has other content"

        return self._document(f"releases/{name}.json", Release, check)

    def _document(self, path: str, kind: type[D], check: Callable[[bytes], str]) -> D:
        """Read a document from the first place that has the right one.

        :param check: what is wrong with its bytes.
        """
        faults, absent = [], True
        for place in self._circuits.ordered(self.places):
            try:
                data = self._read(place, path)
            except TryFailed as error:
                absent = absent and error.status in ABSENT
                faults.append(Fault(place=f"{redact(place)}/{path}", message=error.reason))
                continue
            absent = False
            wrong = check(data)
            if wrong:
                self._circuits.failed(place)
                self._reporter.warn(f"{redact(place)}: {path} {wrong}: it is not used")
                faults.append(Fault(place=f"{redact(place)}/{path}", message=wrong))
                continue
            with contextlib.suppress(ValueError, ValidationError):
                return kind.model_validate(json.loads(data))
            reason = "a newer kvpack wrote it"
            faults.append(Fault(place=f"{redact(place)}/{path}", message=reason))
        raise (ReleaseUnknown if absent else StorageFailed)(
            f"no place has {path}",
            cause="it was never published there" if absent else "the hosts, or the network",
            hint="kvpack release list --at URL"
            if absent
            else "run the same command again, or name another place with --from URL",
            faults=faults,
        )

    def _read(self, place: str, path: str) -> bytes:
        """Read a small object, and note how the place did.

        :raises TryFailed: if it cannot be read.
        """
        try:
            data = self._whole(f"{place}/{encode_path(path)}")
        except TryFailed as error:
            if error.status in ABSENT:
                self._circuits.worked(place)
            else:
                self._circuits.failed(place, slow=error.slow)
            raise
        self._circuits.worked(place)
        return data

    def _whole(self, url: str) -> bytes:
        data = bytearray()
        with self._web.open(url) as body:
            for chunk in self._limits.watched(body):
                data += chunk
                if len(data) > PAGE_LIMIT:
                    raise TryFailed(f"it is longer than {PAGE_LIMIT} bytes")
            if body.total is not None and len(data) < body.total:
                reason = f"the answer ended after {len(data)} of {body.total} bytes"
                raise TryFailed(reason, transient=True)
        return bytes(data)


def _digest_is(sha256: str) -> Callable[[bytes], str]:
    def check(data: bytes) -> str:
        found = hashlib.sha256(data).hexdigest()
        return "" if found == sha256 else f"has sha256 {found}"

    return check
