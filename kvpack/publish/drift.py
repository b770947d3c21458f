"""Comparing two storages by hash, and repairing one of them by copying.

Nothing is downloaded that a checksum of both sides answers (the MD5 that S3 gives as ETag).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from kvpack.publish.commit import Channel, Head, channels_of, need
from kvpack.publish.inputs import inputs_of
from kvpack.publish.mirror import Copied, Source, follow
from kvpack.publish.model import Release, Stored
from kvpack.publish.storage import PROBES, THREADS, compare, immutable, put, sha256_at, stored
from kvpack.tools.stored import Data, Found, Objects, Stat


@dataclass(frozen=True, kw_only=True)
class Drift:
    """An object that a mirror does not have as its primary has it."""

    kind: Literal["missing", "differs", "surplus", "behind"]
    path: str
    detail: str


def releases_of(objects: Objects) -> list[Release]:
    """All releases of a storage, the newest first."""
    paths = [s.key for s in objects.list("releases/") if s.key.count("/") == 1]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda path: need(objects, path, Release), paths))
    return sorted(found, key=lambda one: (one.created, one.id), reverse=True)


def check_self(objects: Objects) -> list[Drift]:
    """Compare a storage with what its own manifests say."""
    wanted = {one.path: one for release in releases_of(objects) for one in release.objects}
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(lambda one: (one, compare(objects, one)), wanted.values())
        return [
            Drift(kind="missing" if stat is None else "differs", path=one.path, detail=wrong)
            for one, (wrong, stat) in results
            if wrong is not None
        ]


def verify(primary: Objects, mirror: Objects) -> list[Drift]:
    """Compare two storages object by object, downloading only what no checksum tells apart."""
    here, there = _listed(primary), _listed(mirror)
    found = [
        Drift(kind="missing", path=path, detail=f"{here[path].size} bytes")
        for path in sorted(here.keys() - there.keys())
    ]
    found += [
        Drift(kind="surplus", path=path, detail=f"{there[path].size} bytes")
        for path in sorted(there.keys() - here.keys())
    ]
    known = {one.path: one for release in releases_of(primary) for one in release.objects}
    both = sorted(here.keys() & there.keys())
    with ThreadPoolExecutor(THREADS) as pool:
        details = pool.map(
            lambda path: _differs(primary, mirror, (here[path], there[path], known.get(path))), both
        )
        found += [
            Drift(kind="behind" if _follows(path) else "differs", path=path, detail=detail)
            for path, detail in zip(both, details, strict=True)
            if detail
        ]
    return found


def _listed(objects: Objects) -> dict[str, Stat]:
    """Every object but probes, shared results, and the notes that each storage keeps for itself."""
    return {
        stat.key: stat
        for stat in objects.list()
        if not stat.key.startswith((PROBES, "shared/")) and not stat.key.endswith(".settled.json")
    }


def _follows(path: str) -> bool:
    """Whether an object is one that changes with its channel."""
    fixed = ("files/", "locks/", "releases/", "lists/", "states/", "inputs/")
    return not path.startswith(fixed)


def _differs(
    primary: Objects, mirror: Objects, what: tuple[Stat, Stat, Stored | None]
) -> str | None:
    here, there, wanted = what
    if wanted is not None:
        return compare(mirror, wanted)[0]
    if here.size != there.size:
        return f"{there.size} bytes instead of {here.size}"
    if here.md5 is not None and here.md5 == there.md5:
        return None
    ours, theirs = sha256_at(primary, here.key), sha256_at(mirror, there.key)
    return None if ours == theirs else f"sha256 {theirs} instead of {ours}"


# -- repairing ------------------------------------------------------------------------------------


def sync(primary: Objects, mirror: Objects) -> Copied:
    """Make a mirror hold what its primary holds; what it has beyond that stays.

    Objects that are damaged on the mirror are written again: the one place where something that
    was published is replaced, and only by the bytes that its release names.
    """
    done, source = Copied(), Source(primary)
    releases = releases_of(primary)
    for release in releases:
        for wanted in release.objects:
            wrong, stat = compare(mirror, wanted)
            if wrong is None:
                continue
            with source.data(wanted) as data:
                _write(mirror, wanted.path, data, stat)
            done.objects += 1
            done.size += wanted.size
    for path, found in _texts(primary):
        there = mirror.get(path)
        if there is None or there.data != found.data:
            _write(mirror, path, found.data, there.stat if there else None)
            done.objects += 1
            done.size += len(found.data)
    for wanted in inputs_of(primary, mirror):
        with source.data(wanted) as data:
            _write(mirror, wanted.path, data, mirror.head(wanted.path))
        done.objects += 1
        done.size += wanted.size
    for name in channels_of(primary):
        one = follow(source, mirror, name)
        done.channels += one.channels
        done.pages += one.pages + Channel(mirror, name).settle(everything=True)
    return done


def _texts(primary: Objects) -> Iterator[tuple[str, Found]]:
    """The immutable documents; manifests after what they name, states after lists."""
    for folder in ("lists/", "releases/", "states/"):
        for stat in primary.list(folder):
            found = primary.get(stat.key)
            if found is not None:
                yield stat.key, found


def _write(mirror: Objects, path: str, data: Data, stat: Stat | None) -> None:
    if stat is None:
        put(mirror, stored(path, data), data)
        return
    mirror.swap(path, data, immutable(path), stat.version)


def heads(objects: Objects) -> dict[str, Head]:
    """Every channel of a storage as it is now."""
    found = {name: Channel(objects, name).head() for name in channels_of(objects)}
    return {name: head for name, head in found.items() if head is not None}
