"""What a storage says about one of its wheels: channel, state, listing, manifest, by digest.

It needs nothing but reading objects by their path, so any static host can be asked.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from kvpack.publish.model import (
    Document,
    Listing,
    Pointer,
    Release,
    State,
    Wheel,
    list_path,
    pointer_path,
    state_path,
)
from kvpack.tools.files import sha256_of

D = TypeVar("D", bound=Document)
Read = Callable[[str], bytes | None]


@dataclass(frozen=True, kw_only=True)
class Manifested:
    """A wheel as a release's manifest has it."""

    release: str
    wheel: Wheel
    manifest: Release


class Unlisted(Exception):
    """The storage says nothing about the wheel; why."""


def manifested(read: Read, channel: str, filename: str, release: str | None) -> Manifested:
    """Find a wheel in the manifest of a release.

    :param release: which one; ``None``: the newest of those that the channel lists it for.
    :raises Unlisted: if nothing lists it.
    :raises ValueError: if what lists it was tampered with or cannot be read.
    """
    release = release or _release(read, channel, filename)
    path = f"releases/{release}.json"
    found = _document(path, read(path), Release)
    if found.sealed("").id != release:
        raise ValueError(f"{path} is not the manifest of that release: its content has another id")
    for wheel in found.wheels:
        if wheel.filename == filename:
            return Manifested(release=release, wheel=wheel, manifest=found)
    raise Unlisted(f"release {release} has no {filename}")


def _release(read: Read, channel: str, filename: str) -> str:
    pointer = read(pointer_path(channel))
    if pointer is None:
        raise Unlisted(f"there is no channel {channel} (--channel, --release)")
    head = _document(pointer_path(channel), pointer, Pointer)
    state = _by_digest(read, state_path(head.state), head.state, State)
    for row in state.rows.values():
        listing = _by_digest(read, list_path(row.listing), row.listing, Listing)
        for entry in listing.entries:
            if entry.filename == filename:
                return entry.releases[-1]
    raise Unlisted(f"channel {channel} does not list it (--channel, --release)")


def _by_digest(read: Read, path: str, digest: str, kind: type[D]) -> D:
    data = read(path)
    if data is not None and sha256_of(data) != digest:
        raise ValueError(f"{path} does not hold the bytes of its name")
    return _document(path, data, kind)


def _document(path: str, data: bytes | None, kind: type[D]) -> D:
    if data is None:
        raise ValueError(f"{path} is not there, although another object names it")
    try:
        return kind.model_validate(json.loads(data))
    except (ValidationError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
