"""Locked inputs in a storage, each under its sha256: what any machine may fetch them from.

``inputs/<2 digits>/<sha256>`` is immutable and has no other name: a lock says what it is.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kvpack.publish.model import Stored
from kvpack.publish.storage import THREADS, compare, put_all, stored
from kvpack.tools.stored import Objects

FOLDER = "inputs/"


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """What a run left."""

    new: int
    size: int
    """Bytes of the new ones."""


def present(objects: Objects, places: Sequence[str]) -> set[str]:
    """Which of these objects a storage has, by name alone."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(objects.head, places)
        return {place for place, stat in zip(places, found, strict=True) if stat is not None}


def put_inputs(objects: Objects, files: Iterable[tuple[str, Path]]) -> Mirrored:
    """Write files under their places, create-only and read back; what is there is compared.

    :raises ObjectConflict: if an object there has other bytes.
    """
    wanted = [(stored(place, path), path) for place, path in files]
    results = put_all(objects, wanted)
    sizes = [one.size for (one, _), (fresh, _) in zip(wanted, results, strict=True) if fresh]
    return Mirrored(new=len(sizes), size=sum(sizes))


def inputs_of(objects: Objects, other: Objects) -> Iterator[Stored]:
    """The inputs of a storage that another one lacks or has otherwise.

    An input's name is its digest; the MD5 is the storage's own answer, to spare downloads.
    """
    for stat in objects.list(FOLDER):
        sha256 = stat.key.rpartition("/")[2]
        wanted = Stored(path=stat.key, sha256=sha256, size=stat.size, md5=stat.md5 or "")
        if compare(other, wanted)[0] is not None:
            yield wanted
