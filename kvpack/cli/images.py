"""Images that were made here, each kept under the key of what decides its bytes."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.cli.context import Context
from kvpack.cli.supply import AnyWanted, supply
from kvpack.errors import RootFailed, ToolFailed
from kvpack.report import Step
from kvpack.tools.claims import Claim
from kvpack.tools.engine import Engine
from kvpack.tools.engineimages import NAMED, OURS, STORE
from kvpack.tools.files import sha256_of
from kvpack.tools.store import Store


class Hashing:
    """Passes a stream on and keeps its digest and size."""

    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.size, self.digest = out, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        self.out.write(data)
        return len(data)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An image that is wanted."""

    key: str
    what: str
    """In messages: ``the builder root debian-bookworm``."""
    name: str
    title: str
    """Of the step that makes it."""
    parts: list[AnyWanted]
    """What it is made of."""
    below: str = ""
    """Digest of the image that it lies on."""


def claim_path(store: Store, record: str) -> Path:
    """The claim on an image; whoever holds it keeps ``kvpack store gc`` from removing the image."""
    return store.root / "locks" / f"claim-{record}"


def labels(store: Store, key: str) -> list[str]:
    """Changes that mark an image as kvpack's, and as this store's."""
    return [f"LABEL {OURS}={key}", f"LABEL {STORE}={store_mark(store)}"]


def store_mark(store: Store) -> str:
    """What tells one store from others on this machine."""
    return sha256_of(str(store.root).encode())[:16]


def laid_digest(below: str, layer: str) -> str:
    """The digest of an image that is a layer over another one."""
    return sha256_of(f"{below} {layer}".encode())


def kept(
    context: Context, engine: Engine, wanted: Kept, make: Callable[[str, Step], Hashing]
) -> tuple[str, str]:
    """The id of the image that this store's record vouches for, made if need be; its digest.

    A name can be moved to another image, and an import that was killed can leave a cut one under
    it; so a name is only trusted to lead to the id that was recorded after a whole import.

    :param make: makes the image under the name that it is given; returns the stream it wrote.
    :raises RootFailed: if the engine does not take it, or does not keep it; where none is to be
        made, also if it is not there.
    """
    record = f"{wanted.key}-{engine.name}"
    if context.looked is not None:
        context.looked.add(record)
        return _remembered(context, record, wanted)
    if record not in context.claims:
        context.claims[record] = Claim(claim_path(context.store, record))
    known = _recorded(context, record, engine)
    if known is None:
        with context.store.lock(f"root-{record}"):
            known = _recorded(context, record, engine)
            if known is None:
                _make(context, engine, (wanted, record), make)
                known = _recorded(context, record, engine)
    if known is None:
        raise RootFailed(
            f"{engine.name} does not keep {wanted.what}",
            cause="its image was gone right after it was imported",
            hint=f"is something pruning images? {engine.name} image ls",
        )
    return known


def _remembered(context: Context, record: str, wanted: Kept) -> tuple[str, str]:
    """What the store's record says, without a question to the engine."""
    made = context.store.read_record("roots", record)
    if made is None or "id" not in made:
        raise RootFailed(f"{wanted.what} was not made yet")
    return str(made["id"]), str(made["sha256"])


def _recorded(context: Context, record: str, engine: Engine) -> tuple[str, str] | None:
    """Image id and digest of what was made here and is still the same image."""
    made = context.store.read_record("roots", record)
    if made is None or "id" not in made:
        return None
    if engine.image_id(str(made["image"]), context.console) != made["id"]:
        return None
    return str(made["id"]), str(made["sha256"])


def _make(
    context: Context, engine: Engine, named: tuple[Kept, str], make: Callable[[str, Step], Hashing]
) -> None:
    (wanted, record), console = named, context.console
    supply(context, wanted.parts)
    # A name of its own: a killed import leaves a cut image under a name that no record knows.
    unique = secrets.token_hex(4)
    image = f"{NAMED}{wanted.name}:{wanted.key[:16]}-{unique}"
    with console.step(wanted.title) as step:
        try:
            stream = make(image, step)
        except ToolFailed as error:
            raise RootFailed(
                f"{engine.name} did not take {wanted.what}",
                cause=f"{error.what}; {error.cause}",
                hint="check the engine's storage: a full disk, or a storage driver that does not "
                f"work here ({engine.name} info)",
            ) from error
    sha256 = stream.digest.hexdigest()
    digest = {
        "sha256": sha256,
        "chain": laid_digest(wanted.below, sha256) if wanted.below else sha256,
        "size": stream.size,
        "image": image,
        "id": engine.image_id(image, console),
    }
    context.store.write_record("roots", record, digest)
    console.detail(f"root {image}: sha256 {digest['sha256']}, {stream.size} bytes")
