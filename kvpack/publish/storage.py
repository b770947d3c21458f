"""Writing to a storage that may fail at any moment: probed, create-only, read back.

Each function may be called again after it failed half-way, by anybody: the second call finds what
the first one left and goes on.
"""

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kvpack.errors import ObjectConflict, StorageFailed, StorageUnsafe
from kvpack.publish.index import SERIAL_WITHIN, Page, serial_of
from kvpack.publish.model import Stored
from kvpack.tools.files import CHUNK
from kvpack.tools.stored import Changed, Data, Exists, Found, Headers, Objects, Stat, Version

FOREVER = "public, max-age=365000000, immutable"
"""Of what never changes; the figure is uv's advice for indexes."""
SHORT = "public, max-age=60"
"""Of pages: a rollback reaches everybody within a minute."""
NEVER = "no-cache"
"""Of pointers: asked for again each time."""
JSON = "application/json"
KINDS = {
    ".whl": "application/zip",
    ".json": JSON,
    ".toml": "application/toml",
    ".metadata": "text/plain; charset=utf-8",
    ".provenance": JSON,
}
PROBES = ".kvpack-probe/"
TRIES = 20
"""Turns at a page or pointer that others keep changing."""
READS = 3
"""Times that an object is read before it counts as unreadable."""
THREADS = 8


def immutable(path: str) -> Headers:
    """Give the headers of an object that never changes."""
    return Headers(KINDS.get(Path(path).suffix, "application/octet-stream"), FOREVER)


def stored(path: str, data: Data) -> Stored:
    """Describe an object that is still to be written."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in _pieces(data):
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return Stored(path=path, sha256=sha256.hexdigest(), size=size, md5=md5.hexdigest())


def _pieces(data: Data) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


# -- the probe ------------------------------------------------------------------------------------


def guarded(objects: Objects, *, single_writer: bool) -> Objects:
    """Probe a storage before the first write.

    Some servers answer 200 to a conditional write and drop the condition (``rclone serve s3``).
    With those, two publishers overwrite each other in silence.

    :param single_writer: the user's word that nobody else writes: conditions are then looked up
        before each write.
    :raises StorageUnsafe: if it ignores conditions and there may be other writers.
    """
    ignored = probe(objects)
    if not ignored:
        return objects
    if single_writer:
        return SingleWriter(objects)
    raise StorageUnsafe(
        f"{objects.name} ignores conditional writes: {' and '.join(ignored)}",
        cause="it answered 200 where S3 answers 412 (rclone serve s3, some gateways and old "
        "servers do): two publishers would silently lose each other's entries",
        hint="use a storage that honours If-None-Match and If-Match; if this is the only process "
        "that ever writes there: --single-writer",
    )


def probe(objects: Objects) -> list[str]:
    """Try both conditions on a throw-away object; returns what is ignored."""
    key = f"{PROBES}{secrets.token_hex(8)}"
    headers = Headers("text/plain", NEVER)
    ignored = []
    with contextlib.suppress(Exists):  # a lost answer, tried again
        objects.create(key, b"one", headers)
    try:
        first = _read(objects, key)
        try:
            objects.create(key, b"two", headers)
            ignored.append("creating over an object succeeds")
        except Exists:
            pass
        before = _read(objects, key) if ignored else first
        with contextlib.suppress(Changed):
            objects.swap(key, b"three", headers, before.stat.version)
        try:
            objects.swap(key, b"four", headers, first.stat.version)
            ignored.append("replacing a version that is gone succeeds")
        except Changed:
            pass
        if not ignored and (after := _read(objects, key).data) != b"three":
            ignored.append(f"what was written is read back as {after!r}")
    finally:
        with contextlib.suppress(StorageFailed):
            objects.delete(key)
    return ignored


def _read(objects: Objects, key: str) -> Found:
    found = objects.get(key)
    if found is None:
        raise StorageFailed(
            f"{objects.name}: {key} was written but cannot be read",
            cause="the credentials may write but not read, or the storage is not consistent",
            hint="allow reading below the prefix: what is published is read back",
        )
    return found


class SingleWriter:
    """``Objects`` on a storage without conditions: they are looked up before each write."""

    def __init__(self, inner: Objects) -> None:
        self._inner = inner
        self._turn = threading.Lock()
        self.name = inner.name
        self.overwrite = inner.overwrite
        self.get = inner.get
        self.start = inner.start
        self.chunks = inner.chunks
        self.range = inner.range
        self.head = inner.head
        self.list = inner.list
        self.delete = inner.delete

    def create(self, key: str, data: Data, headers: Headers) -> None:
        if self._inner.head(key) is not None:
            raise Exists(key)
        self._inner.overwrite(key, data, headers)

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:
        with self._turn:
            stat = self._inner.head(key)
            if stat is None or stat.version != version:
                raise Changed(key)
            self._inner.overwrite(key, data, headers)


# -- immutable objects ----------------------------------------------------------------------------


def put(objects: Objects, wanted: Stored, data: Data) -> tuple[bool, Stat]:
    """Make an immutable object be there, with exactly these bytes.

    :returns: whether it is new, and what the storage says about it.
    :raises ObjectConflict: if an object of that name holds other bytes.
    """
    stat = objects.head(wanted.path) if isinstance(data, Path) else None
    fresh = False
    if stat is None:
        try:
            objects.create(wanted.path, data, immutable(wanted.path))
            fresh = True
        except Exists:
            pass
    wrong, stat = compare(objects, wanted)
    if wrong is None and stat is not None:
        return fresh, stat
    if fresh:
        raise StorageFailed(
            f"{objects.name}: {wanted.path} was written, but {wrong}",
            cause="the storage or something before it (a gateway, a proxy) changes what it is "
            "given",
            hint="nothing lists the object; remove it by hand once the storage is mended",
        )
    raise ObjectConflict(
        f"{objects.name} has {wanted.path} already, and {wrong}",
        cause="published objects are never replaced: somebody may have locked their digest",
        hint="build under another version; if the object is damaged, compare the stores with: "
        "kvpack mirror verify",
    )


def compare(objects: Objects, wanted: Stored) -> tuple[str | None, Stat | None]:
    """Tell what is wrong with an object; ``None`` if nothing is.

    Where the storage answers the MD5 that the object should have, nothing is downloaded. Any other
    answer (another checksum, encryption, a folder) means reading the bytes.
    """
    stat = objects.head(wanted.path)
    if stat is None:
        return "it is not there", None
    if stat.size != wanted.size:
        return f"it has {stat.size} bytes instead of {wanted.size}", stat
    if stat.md5 == wanted.md5:
        return None, stat
    digest = sha256_at(objects, wanted.path)
    if digest != wanted.sha256:
        return f"its sha256 is {digest} instead of {wanted.sha256}", stat
    return None, stat


def sha256_at(objects: Objects, path: str) -> str:
    """Read an object to its end; one that is cut is begun again."""
    for _ in range(READS - 1):
        with contextlib.suppress(StorageFailed):
            return _sha256_read(objects, path)
    return _sha256_read(objects, path)


def _sha256_read(objects: Objects, path: str) -> str:
    digest = hashlib.sha256()
    for chunk in objects.chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def put_text(objects: Objects, path: str, data: bytes) -> None:
    """Make a small immutable object be there (a list, a state, a release's page)."""
    put(objects, stored(path, data), data)


def put_all(objects: Objects, what: Iterable[tuple[Stored, Data]]) -> list[tuple[bool, Stat]]:
    """Put several objects at once; the first failure ends it."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(put, objects, wanted, data) for wanted, data in what]
        try:
            return [one.result() for one in waiting]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


# -- pages ----------------------------------------------------------------------------------------


def _same(objects: Objects, page: Page, stat: Stat) -> bool:
    if stat.size != len(page.data):
        return False
    whole = objects.get(page.path)
    return whole is not None and whole.data == page.data


def put_page(objects: Objects, page: Page, serial: int) -> bool:
    """Bring a page up to a state, whole and only forwards; returns whether it was written.

    A page of a later state is left alone: its writer knew more. Of the one that is there only the
    first bytes are read, unless it may be the same.
    """
    headers = Headers(page.kind, SHORT)
    for _ in range(TRIES):
        now = objects.start(page.path, SERIAL_WITHIN)
        if now and (serial_of(now.data) > serial or _same(objects, page, now.stat)):
            return False
        try:
            if now is None:
                objects.create(page.path, page.data, headers)
            else:
                objects.swap(page.path, page.data, headers, now.stat.version)
        except (Exists, Changed):
            continue
        return True
    raise StorageFailed(
        f"{objects.name}: {page.path} was changed by others {TRIES} times in a row",
        cause="many publishers at once",
        hint="run the same command again",
    )
