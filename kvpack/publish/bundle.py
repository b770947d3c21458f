"""A bundle: one canonical tar for an air-gapped site, with a manifest of every member.

The same inputs give the same bytes: members are sorted, all times are one, nothing is compressed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from kvpack.base import Sha256, Text, Value
from kvpack.publish.model import EVIDENCE, Document, Wheel
from kvpack.publish.storage import stored
from kvpack.tools.files import atomic_write, sha256_of
from kvpack.tools.members import ZIP_EPOCH
from kvpack.tools.stored import Data
from kvpack.tools.tree import write_files

TOP = "kvpack-bundle"
"""The one folder of every bundle: its name is part of its bytes."""
MANIFEST, SUMS, README = "MANIFEST.json", "SHA256SUMS", "README.txt"


class Piece(Value):
    """A member, below ``TOP``."""

    path: Text
    sha256: Sha256
    size: int
    """Bytes."""


class Manifest(Document):
    """``MANIFEST.json``: every member but itself and ``SHA256SUMS``."""

    manifest_schema: Literal[1] = Field(default=1, alias="schema")
    title: Text
    releases: tuple[Text, ...]
    """Ids; their manifests are members."""
    left_out: tuple[Text, ...] = ()
    """What its maker knows to be missing."""
    members: tuple[Piece, ...]

    @property
    def count(self) -> int:
        """Files in the bundle: the members, this manifest and ``SHA256SUMS``."""
        return len(self.members) + 2

    @property
    def sums(self) -> bytes:
        """``SHA256SUMS``, for those who have no kvpack."""
        lines = [f"{piece.sha256}  {piece.path}\n" for piece in self.members]
        return "".join([f"{self.digest()}  {MANIFEST}\n", *lines]).encode()


def evidence_path(wheel: Wheel, kind: str) -> str:
    """Where the evidence of a wheel lies: not beside it, where installers look for wheels."""
    return f"evidence/{wheel.filename}{EVIDENCE[kind]}"


def manifest_of(
    title: str, releases: tuple[str, ...], left_out: tuple[str, ...], parts: Mapping[str, Data]
) -> Manifest:
    """Describe the members."""
    pieces = []
    for path in sorted(parts):
        one = stored(path, parts[path])
        pieces.append(Piece(path=path, sha256=one.sha256, size=one.size))
    return Manifest(title=title, releases=releases, left_out=left_out, members=tuple(pieces))


def write(manifest: Manifest, parts: Mapping[str, Data], target: Path) -> str:
    """Write the tar, whole or not at all; returns the digest of its manifest."""
    first: list[tuple[str, Data]] = [
        (MANIFEST, manifest.text()), (SUMS, manifest.sums), (README, parts[README]),
    ]  # fmt: skip
    rest = [(piece.path, parts[piece.path]) for piece in manifest.members if piece.path != README]
    with atomic_write(target) as stream:
        write_files(
            ((f"{TOP}/{path}", data) for path, data in [*first, *rest]), stream, epoch=ZIP_EPOCH
        )
    return sha256_of(manifest.text())
