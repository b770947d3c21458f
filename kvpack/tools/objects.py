"""Object storage on obstore (S3, GCS, Azure): the only import of it. The port is in ``stored``.

Writes are conditional: ``create`` never replaces, ``swap`` replaces only the version that was read.
Both may be tried again after an answer was lost, so ``Exists`` and ``Changed`` can mean that an
earlier try of one's own arrived: callers compare bytes before they believe in another writer.

Credentials come from the provider chain (environment, files, the machine's role) and are neither
kept nor shown here. obstore costs 50 ms to import, so it is imported when a URL is opened.
"""

import contextlib
import mmap
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kvpack.errors import StorageFailed, UsageError
from kvpack.names import did_you_mean
from kvpack.tools.aws_files import profile
from kvpack.tools.folder import FolderObjects
from kvpack.tools.stored import (
    Changed,
    Data,
    Exists,
    Found,
    Headers,
    Missing,
    Objects,
    Stat,
    Version,
    explained,
    is_final,
    is_mute,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

T = TypeVar("T")
SCHEMES = ("s3", "gs", "az", "file")
TRIES = 4
"""Tries of one operation, each with obstore's own retries inside."""
PATIENCE = 20
"""Seconds after which an operation that failed is not tried again."""
SLOWEST = 250_000
"""Bytes per second below which a transfer counts as stalled."""
CHUNK = 4 << 20
"""Bytes of one piece of a streamed object."""
MAPPED = 8 << 20
"""Bytes from which on a file is sent from the page cache instead of a copy of it."""


def open_objects(url: str, *, environment: Mapping[str, str] | None = None) -> Objects:
    """Open a storage by URL; a plain path is a folder.

    :raises UsageError: if the URL is none that kvpack knows.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or scheme == "file":
        path = Path(rest.removeprefix("localhost") if mark else url)
        if not url or (mark and not path.is_absolute()):
            raise UsageError(
                f"{url!r} names no folder", hint="write file:///absolute/folder, or a path"
            )
        (folder := FolderObjects(path.absolute())).clean()
        return folder
    if scheme not in SCHEMES or not rest or "@" in rest.partition("/")[0]:
        cause = "credentials come from the environment, never from a URL" if "@" in rest else ""
        raise UsageError(
            f"{scheme}://… is no object storage that kvpack knows",
            cause=cause or did_you_mean(scheme, SCHEMES),
            hint="write s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or a folder",
        )
    return ObstoreObjects(url, environment=os.environ if environment is None else environment)


class ObstoreObjects:
    """``Objects`` on a store of obstore.

    :param pause: waits between tries; seconds.
    :param silence: seconds without a byte after which a read fails, and is then not tried again:
        for readers that have other places. ``None``: the patience that a publisher needs.
    """

    def __init__(
        self,
        url: str,
        *,
        environment: Mapping[str, str],
        store: "ObjectStore | None" = None,
        pause: Callable[[float], None] = time.sleep,
        silence: float | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._silence = silence
        self._environment = environment
        self._clients: dict[int, ObjectStore] = {}
        self._store = store
        self._pause = pause

    @property
    def name(self) -> str:
        return self._url

    def create(self, key: str, data: Data, headers: Headers) -> None:
        self._put(key, data, headers, "create")

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:
        given = {"e_tag": version.etag, "version": version.id}
        self._put(key, data, headers, {name: one for name, one in given.items() if one is not None})

    def overwrite(self, key: str, data: Data, headers: Headers) -> None:
        self._put(key, data, headers, "overwrite")

    def _put(self, key: str, data: Data, headers: Headers, mode: Any) -> None:  # noqa: ANN401  # obstore's PutMode
        import obstore  # noqa: PLC0415  # see the module's docstring

        given = data if isinstance(data, bytes) else _content(data)
        size = given.stat().st_size if isinstance(given, Path) else len(given)
        attributes = {"Content-Type": headers.kind, "Cache-Control": headers.cache}
        store = self._client(size)
        self._tried(
            f"write {key}",
            lambda: obstore.put(
                store, key, given, mode=mode, attributes=attributes, use_multipart=False
            ),
        )

    def get(self, key: str) -> Found | None:
        import obstore  # noqa: PLC0415

        def read() -> Found:
            result = obstore.get(self._client(0), key)
            return Found(bytes(result.bytes()), _stat(result.meta))

        return self._absent(key, read)

    def start(self, key: str, size: int) -> Found | None:
        return self._absent(key, lambda: self._start(key, size))

    def _start(self, key: str, size: int) -> Found:
        import obstore  # noqa: PLC0415
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            result = obstore.get(self._client(0), key, options={"range": (0, size)})
        except BaseError:  # an empty object has no range
            result = obstore.get(self._client(0), key)
        return Found(bytes(result.bytes()), _stat(result.meta))

    def chunks(self, key: str) -> Iterator[bytes]:
        import obstore  # noqa: PLC0415

        stat = self.head(key)
        store = self._client(stat.size if stat else 0)
        result = self._tried(f"read {key}", lambda: obstore.get(store, key))
        pieces = iter(result.stream(min_chunk_size=CHUNK))
        while True:
            try:
                yield bytes(next(pieces))
            except StopIteration:
                return
            except Exception as error:
                raise self._failed(f"read {key}", error) from error

    def range(self, key: str, start: int, stop: int) -> bytes:
        import obstore  # noqa: PLC0415

        store = self._client(stop - start)
        return self._tried(
            f"read {key}", lambda: bytes(obstore.get_range(store, key, start=start, end=stop))
        )

    def head(self, key: str) -> Stat | None:
        import obstore  # noqa: PLC0415
        from obstore.exceptions import BaseError  # noqa: PLC0415

        def read() -> Stat:
            try:
                return _stat(obstore.head(self._client(0), key))
            except BaseError as error:
                if is_mute(str(error)):
                    return self._start(key, 1).stat
                raise

        return self._absent(key, read)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        import obstore  # noqa: PLC0415

        def read() -> list[Stat]:
            found = obstore.list(self._client(0), prefix or None)
            return [_stat(meta) for page in found for meta in page]

        yield from self._tried(f"list {prefix or 'everything'}", read)

    def delete(self, key: str) -> None:
        import obstore  # noqa: PLC0415

        with contextlib.suppress(Missing):
            self._tried(f"remove {key}", lambda: obstore.delete(self._client(0), key))

    # -- clients, tries, errors -----------------------------------------------------------------

    def _client(self, size: int) -> "ObjectStore":
        """A store whose time-out fits a transfer of so many bytes."""
        if self._store is not None:
            return self._store
        from obstore.store import from_url  # noqa: PLC0415

        seconds = 1 << (30 + size // SLOWEST).bit_length()
        if seconds not in self._clients:
            options: ClientConfig = {
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=5),
                "user_agent": "kvpack",
            }
            retries: RetryConfig = {
                "max_retries": 4 if self._silence is None else 0,
                "retry_timeout": timedelta(seconds=seconds),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=50),
                    "max_backoff": timedelta(seconds=2),
                },
            }
            if self._silence is not None:
                silence = timedelta(seconds=self._silence)
                options |= {"connect_timeout": silence, "read_timeout": silence}
            config: dict[str, Any] = {}
            if self._url.startswith("s3://"):
                config = {**profile(self._environment)}
            endpoint = str(config.get("endpoint", ""))
            if self._environment.get("AWS_ALLOW_HTTP") or endpoint.startswith("http://"):
                options["allow_http"] = True
            try:
                self._clients[seconds] = from_url(
                    self._url, client_options=options, retry_config=retries, **config
                )
            except Exception as error:
                raise self._failed("be opened", error) from error
        return self._clients[seconds]

    def _absent(self, key: str, read: Callable[[], T]) -> T | None:
        try:
            return self._tried(f"read {key}", read)
        except Missing:
            return None

    def _tried(self, what: str, call: Callable[[], T]) -> T:
        """Call it until it answers; conditions and absence are answers."""
        from obstore import exceptions as bad  # noqa: PLC0415

        start, left = time.monotonic(), TRIES if self._silence is None else 1
        while True:
            left -= 1
            try:
                return call()
            except bad.AlreadyExistsError:
                raise Exists(what) from None
            except bad.PreconditionError:
                raise Changed(what) from None
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                    raise self._failed(what, error) from error
                raise Missing(f"{self.name}: could not {what}", cause="it is not there") from error
            except (UsageError, StorageFailed):
                raise
            except (bad.PermissionDeniedError, bad.UnauthenticatedError) as error:
                raise self._failed(what, error) from error
            except (bad.BaseError, OSError) as error:
                if not left or is_final(str(error)) or time.monotonic() - start > PATIENCE:
                    raise self._failed(what, error) from error
            self._pause(random.uniform(0.1, 0.5))  # noqa: S311  # jitter is no secret

    def _failed(self, what: str, error: Exception) -> StorageFailed:
        cause, hint = explained(str(error))
        verb = "could not" if not what.startswith("be ") else "cannot"
        return StorageFailed(f"{self.name}: {verb} {what}", cause=cause, hint=hint)


def _content(file: Path) -> "Path | mmap.mmap":
    """Map a large file: obstore would copy it into memory, and parts cannot be create-only.

    Multipart uploads take no condition (object_store's issue 289; Google's have none at all).
    """
    with file.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size < MAPPED:
            return file
        # If somebody cuts the file meanwhile, this process ends (SIGBUS), as with kill -9.
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _stat(meta: Mapping[str, Any]) -> Stat:
    moment: datetime = meta["last_modified"]
    version = Version(meta["e_tag"], meta["version"])
    return Stat(str(meta["path"]), int(meta["size"]), version, moment.astimezone(UTC))
