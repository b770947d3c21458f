"""The store: content-addressed blobs, records and scratch space of one machine.

Layout below the store's folder::

    blobs/sha256/ab/<digest>    read-only bytes under their own digest
    partial/<digest>            a download that was cut; resumed under its lock
    <kind>/<name>.json          records; ``kvpack/tools/records.py`` lists their kinds
    logs/<key>.log              the full log of the newest build with this key
    locks/<name>                advisory locks (``flock``): they die with their process
    tmp/<name>/                 scratch; a folder whose lock is free is left over and removed

Nothing in it is edited in place. Several kvpack processes may use one store at once.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kvpack.errors import DigestMismatch, StoreCorrupt
from kvpack.names import Sha256
from kvpack.tools.files import (
    CHUNK,
    Usage,
    atomic_write,
    disk_full_at,
    files_below,
    is_locked,
    locked,
    measure,
    place_file,
    remove_tree,
    sha256_file,
    sha256_of,
)
from kvpack.tools.records import RECORDS, Kind, droppable, read

CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# a kvpack store; see https://bford.info/cachedir/\n"
_FOLDERS = ("blobs", "partial", *RECORDS, "logs", "locks", "tmp")
CUT_AFTER = 3600
"""Seconds without a write after which an unfinished file has no process any more."""


def default_store() -> Path:
    """``$KVPACK_STORE``, else ``kvpack`` in the user's cache folder (XDG)."""
    if named := os.environ.get("KVPACK_STORE"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "kvpack"


class Store:
    """One store folder. Cheap to create; folders appear when they are first written."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    # -- blobs -----------------------------------------------------------------------------

    def blob_path(self, digest: str) -> Path:
        """Where the bytes with this digest lie, or would lie."""
        return self.root / "blobs" / "sha256" / digest[:2] / digest

    def has(self, digest: str) -> bool:
        return self.blob_path(digest).is_file()

    def partial_path(self, digest: str) -> Path:
        """Where a download of this digest is gathered. Hold ``lock(f"blob-{digest}")``."""
        return self.root / "partial" / digest

    def add_bytes(self, data: bytes) -> Sha256:
        """Keep bytes; the same bytes twice are one blob.

        :raises DiskFull: if the device is full; the store stays as it was.
        """
        digest = sha256_of(data)
        target = self.blob_path(digest)
        if not target.is_file():
            self._prepare()
            with atomic_write(target, mode=0o444) as stream:
                stream.write(data)
        return digest

    def add_file(self, source: Path, *, expected: str | None = None) -> Sha256:
        """Keep a copy of a file's bytes.

        :raises DigestMismatch: if they are not the ``expected`` ones; nothing is kept.
        :raises DiskFull: if the device is full; the store stays as it was.
        """
        digest = sha256_file(source)
        if expected is not None and digest != expected:
            raise DigestMismatch(
                f"{source} has sha256 {digest}, expected {expected}",
                cause="the file was changed, or is another file of the same name",
                hint="remove it and run the same command again",
            )
        target = self.blob_path(digest)
        if not target.is_file():
            self._prepare()
            with atomic_write(target, mode=0o444) as stream, source.open("rb") as original:
                shutil.copyfileobj(original, stream, CHUNK)
        return digest

    def adopt(self, partial: Path, digest: str) -> Path:
        """Move a finished, verified download into its place as a blob, atomically."""
        target = self.blob_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.chmod(0o444)
        partial.replace(target)
        return target

    def read(self, digest: str) -> bytes:
        """A blob's bytes, verified.

        :raises StoreCorrupt: if the blob is absent, or its bytes do not match its name.
        """
        return self.check(digest).read_bytes()

    def check(self, digest: str) -> Path:
        """The path of a blob whose bytes were just verified.

        :raises StoreCorrupt: if the blob is absent, or its bytes do not match its name.
        """
        path = self.blob_path(digest)
        with self._present(digest):
            found = sha256_file(path)
        if found != digest:
            raise self._corrupt(path, digest)
        return path

    def place(self, digest: str, target: Path) -> None:
        """Copy a verified blob to a path outside the store, atomically.

        :raises StoreCorrupt: if the blob is absent, or its bytes do not match its name.
        """
        place_file(self.check(digest), target)

    @contextlib.contextmanager
    def _present(self, digest: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise StoreCorrupt(
                f"the store's blob {digest} is not there",
                cause="it was removed while it was wanted: kvpack store gc, or by hand",
                hint="run the same command again: it is fetched or built anew",
            ) from None

    def _corrupt(self, path: Path, digest: str) -> StoreCorrupt:
        path.unlink(missing_ok=True)
        return StoreCorrupt(
            f"the store's blob {digest} does not hold the bytes of its name",
            cause="the disk, or a program other than kvpack, changed the file; it was removed",
            hint="run the same command again: it is fetched or built anew; "
            "kvpack store verify checks all other blobs",
        )

    # -- records ---------------------------------------------------------------------------

    def record_path(self, kind: Kind, name: str) -> Path:
        """Where a record lies, or would lie."""
        return self.root / kind / f"{name}.json"

    def read_record(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The JSON record ``name``, or ``None`` where there is none or it cannot be read."""
        return read(f"{self.root}/{kind}/{name}.json")

    def write_record(self, kind: Kind, name: str, record: dict[str, Any]) -> None:
        """Write a JSON record atomically. Write it last: a record promises its blobs."""
        self._prepare()
        with atomic_write(self.record_path(kind, name)) as stream:
            stream.write(json.dumps(record, indent=1, sort_keys=True).encode() + b"\n")

    def records(self, kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
        """All records of a kind, by name."""
        for path in sorted((self.root / kind).glob("**/*.json")):
            name = path.relative_to(self.root / kind).as_posix().removesuffix(".json")
            record = self.read_record(kind, name)
            if record is not None:
                yield name, record

    def remove_record(self, kind: Kind, name: str) -> None:
        self.record_path(kind, name).unlink(missing_ok=True)

    def log_path(self, key: str) -> Path:
        path = self.root / "logs" / f"{key}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # -- locks and scratch -----------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Hold the store's lock ``name``; yields whether another process held it before."""
        self._prepare()
        with locked(self.root / "locks" / name) as waited:
            yield waited

    @contextlib.contextmanager
    def scratch(self, purpose: str) -> Iterator[Path]:
        """A temporary folder on the store's device, removed at the end.

        Its lock is held while it is used: what a killed process left is told from what is in use.
        """
        self._prepare()
        self.remove_leftovers()
        name = f"{purpose}-{secrets.token_hex(4)}"
        folder = self.root / "tmp" / name
        lock = self.root / "tmp" / f"{name}.lock"
        with locked(lock), disk_full_at(folder):
            folder.mkdir(parents=True)
            try:
                yield folder
            finally:
                remove_tree(folder)
                lock.unlink(missing_ok=True)

    def remove_leftovers(self) -> list[str]:
        """Remove scratch folders whose process is gone; their names are returned."""
        removed = []
        for folder in (self.root / "tmp").glob("*"):
            if not folder.is_dir():
                continue
            lock = folder.with_name(f"{folder.name}.lock")
            if not is_locked(lock):
                remove_tree(folder)
                lock.unlink(missing_ok=True)
                removed.append(folder.name)
        return removed

    def _prepare(self) -> None:
        tag = self.root / "CACHEDIR.TAG"
        if not tag.exists():
            with atomic_write(tag) as stream:
                stream.write(CACHEDIR_TAG.encode())

    # -- care ------------------------------------------------------------------------------

    def blobs(self) -> Iterator[Sha256]:
        for path in sorted((self.root / "blobs" / "sha256").glob("??/*")):
            if not path.name.startswith("."):
                yield Sha256(path.name)

    def verify(self, *, repair: bool = False) -> list[Sha256]:
        """Blobs whose bytes do not match their name. ``repair`` removes them."""
        bad = [digest for digest in self.blobs() if sha256_file(self.blob_path(digest)) != digest]
        if repair:
            for digest in bad:
                self.blob_path(digest).unlink(missing_ok=True)
        return bad

    def usage(self) -> dict[str, Usage]:
        """Entries and bytes per folder of the store, also of what another kvpack left there."""
        there = sorted(path.name for path in self.root.glob("*") if path.is_dir())
        return {
            folder: measure(files_below(self.root / folder))
            for folder in dict.fromkeys((*_FOLDERS, *there))
        }

    def collect(self, keep: Iterable[str], *, dry: bool = False) -> Usage:
        """Remove every blob that is not in ``keep``, what killed processes left, and void records.

        :param dry: remove nothing.
        :returns: how many files went, or would go, and their bytes.
        """
        kept = set(keep)
        gone = [self.blob_path(digest) for digest in self.blobs() if digest not in kept]
        gone += [
            path
            for path in (self.root / "partial").glob("*")
            if not is_locked(self.root / "locks" / f"blob-{path.name}")
        ]
        gone += self._cut_writes()
        first = measure(gone, remove=not dry)
        # Which blobs are left decides.
        void = droppable(self.root, lambda digest: digest in kept and self.has(digest))
        then = measure(void, remove=not dry)
        if not dry:
            self.remove_leftovers()
        return Usage(first.entries + then.entries, first.size + then.size)

    def _cut_writes(self) -> Iterator[Path]:
        """What ``atomic_write`` of a killed process left beside its target."""
        oldest = time.time() - CUT_AFTER
        for path in (
            found for kind in ("blobs", *RECORDS) for found in (self.root / kind).rglob(".*.tmp")
        ):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < oldest:
                    yield path
