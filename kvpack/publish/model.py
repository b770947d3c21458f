"""What a storage of releases holds, as frozen values; each object's place is a function of them.

::

    files/<project>/<wheel>                  immutable; its evidence beside it, under suffixes
    locks/<recipe>/<sha256>.toml             immutable; those of native libraries too
    releases/<id>.json                       immutable: a Release, the digest of its content
    releases/<id>/<accelerator>/simple/…     immutable: an index of this release alone
    lists/<sha256>.json                      immutable: a Listing, all that a project's page lists
    states/<sha256>.json                     immutable: a State of a channel, naming the one before
    channels/<name>.json                     the Pointer: the one conditional write that commits
    <channel>/<accelerator>/simple/…         pages that any static host serves, made from the State
"""

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from kvpack.base import Name, Sha256, Text, Value
from kvpack.names import Accelerator, normalize
from kvpack.publish.envelope import PROVENANCE, STATEMENT

EVIDENCE = {
    "metadata": ".metadata",
    "audit": ".audit.json",
    "sbom": ".cdx.json",
    "action": ".action.json",
    "statement": STATEMENT,
    "provenance": PROVENANCE,
}
"""Kind -> what is appended to the wheel's name. ``.metadata`` and ``.provenance`` are those of
PEP 658 and PEP 740."""
RESERVED = ("files", "locks", "releases", "lists", "states", "channels", "inputs", "shared")
"""Top-level folders that no channel may be named like."""
STABLE = "stable"
"""The channel that never takes a pre-release."""
ID_SHOWN = 16
"""Digits of a release's id: 64 bits of its digest."""


class Document(Value):
    """A value that is an object of its own: one canonical text, found under its digest."""

    def text(self) -> bytes:
        """The bytes that are stored: the same value is the same object, whoever writes it."""
        given = self.as_json()
        return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        return hashlib.sha256(self.text()).hexdigest()


class Stored(Value):
    """An immutable object."""

    path: Text
    sha256: Sha256
    size: int
    """Bytes."""
    md5: str
    """Compared with an ETag, to tell damage without a download; it proves nothing."""


class Wheel(Stored):
    """A wheel of a release."""

    filename: Text
    project: Name
    """Normalized name."""
    version: Text
    accelerator: Accelerator
    target: Text
    """``cp311-manylinux_2_39_x86_64-cpu``."""
    key: Sha256
    requires_python: str | None
    evidence: dict[str, Stored]
    """Kind (``EVIDENCE``) -> object."""


class LibraryLock(Value):
    """The lock of a native library that wheels of a release were built with."""

    recipe: Name
    version: Text
    lock: Stored


class Promise(Value):
    """What a release says about one recipe."""

    recipe: Name
    version: Text
    lock: Stored
    targets: tuple[Text, ...]
    """Ids of all targets that the release promises."""
    missing: tuple[Text, ...] = ()
    """Those that it lacks: only with ``--allow-partial``."""
    libraries: tuple[LibraryLock, ...] = ()
    """Native libraries below its targets, those of libraries too. Releases of schema 1 have none,
    whatever their wheels were built with."""

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without libraries, the text that it always had: ids are digests of it."""
        found: dict[str, Any] = plain(self)
        return found if self.libraries else {k: v for k, v in found.items() if k != "libraries"}


class Release(Document):
    """Wheels that were published together, with their locks and evidence."""

    release_schema: Literal[1, 2] = Field(default=1, alias="schema")
    """2: promises name the locks of native libraries. Without any, it is 1 as before."""
    id: str = ""
    """The first digits of the digest of ``promises`` and ``wheels``."""
    created: str
    """When its newest wheel reached the storage, by the storage's clock (RFC 3339, UTC)."""
    partial: bool
    promises: tuple[Promise, ...]
    wheels: tuple[Wheel, ...]

    @model_validator(mode="after")
    def _names_its_format(self) -> Self:
        if any(one.libraries for one in self.promises) != (self.release_schema > 1):
            raise ValueError("schema 2 is of releases that name locks of native libraries")
        return self

    def sealed(self, created: str) -> Self:
        """The release with its id: not a function of when, where or by whom it was published."""
        content = self.model_copy(update={"id": "", "created": ""})
        return self.model_copy(update={"id": content.digest()[:ID_SHOWN], "created": created})

    @property
    def path(self) -> str:
        return f"releases/{self.id}.json"

    @property
    def objects(self) -> tuple[Stored, ...]:
        """Everything that it stands for; the wheels come last."""
        evidence = [one for wheel in self.wheels for one in wheel.evidence.values()]
        return (*self.locks, *evidence, *self.wheels)

    @property
    def locks(self) -> tuple[Stored, ...]:
        """Those of its recipes and of the native libraries below them, each once."""
        found = [promise.lock for promise in self.promises]
        found += [one.lock for promise in self.promises for one in promise.libraries]
        return tuple({one.path: one for one in found}.values())

    @property
    def title(self) -> str:
        """``dlslime 0.1.7, msgpack 1.2.4``."""
        return ", ".join(f"{one.recipe} {one.version}" for one in self.promises)


class Entry(Value):
    """A wheel as a page lists it."""

    filename: Text
    path: Text
    sha256: Sha256
    size: int
    metadata: Sha256
    """Of the METADATA beside it (PEP 658)."""
    requires_python: str | None
    uploaded: str
    version: Text
    target: Text
    evidence: tuple[str, ...]
    """Kinds of evidence beside it."""
    releases: tuple[str, ...]
    """Ids of the releases that hold it; it is listed while one of them is."""


class Listing(Document):
    """All wheels of one project for one accelerator in a channel, in order of publication."""

    listing_schema: Literal[1] = Field(default=1, alias="schema")
    accelerator: Accelerator
    project: Name
    entries: tuple[Entry, ...] = ()

    @property
    def row(self) -> str:
        return f"{self.accelerator}/{self.project}"

    @property
    def path(self) -> str:
        return list_path(self.digest())


class Row(Value):
    """What a state says about one project for one accelerator."""

    listing: Sha256
    serial: int
    """The state in which it last changed: a page is only ever replaced by one of a later state."""
    wheels: int
    version: str | None = None
    """The newest one; none if nothing is listed any more."""
    targets: tuple[str, ...] = ()
    """Those of the newest version."""


class State(Document):
    """What a channel lists. States form a chain; the pointer names the one in force."""

    state_schema: Literal[1] = Field(default=1, alias="schema")
    channel: Name
    serial: int
    """One more than that of the state before: order does not depend on clocks."""
    before: Sha256 | None
    action: Literal["publish", "rollback", "retire", "restore"]
    release: str
    """The newest release that it lists; for ``retire`` and ``restore`` the one that they name."""
    head: str
    """The release that the channel stands for."""
    made: str
    retired: dict[str, str] = Field(default_factory=dict)
    """Release -> why it is not listed, until it is restored."""
    rows: dict[str, Row] = Field(default_factory=dict)
    """``cuda13/mooncake`` -> row. A row that was once there stays: its page is then empty."""

    @property
    def path(self) -> str:
        return state_path(self.digest())


class Pointer(Document):
    """``channels/<name>.json``: the truth about a channel."""

    pointer_schema: Literal[1] = Field(default=1, alias="schema")
    channel: Name
    serial: int
    release: str
    state: Sha256


def list_path(digest: str) -> str:
    return f"lists/{digest}.json"


def state_path(digest: str) -> str:
    return f"states/{digest}.json"


def pointer_path(channel: str) -> str:
    return f"channels/{channel}.json"


def file_path(project: str, filename: str) -> str:
    return f"files/{normalize(project)}/{filename}"
