"""``Web`` for any place of a storage: a static host, a folder, or object storage itself.

Nothing is tried again here: whoever reads has other places.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote

from kvpack.errors import StorageFailed
from kvpack.tools.http import Http
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Missing, Objects
from kvpack.tools.web import PAGE_LIMIT, Body, HttpSettings, Page, TryFailed, Web, parse

BUCKETS = ("s3", "gs", "az")
PIECE = 8 << 20
"""Bytes of one range request to object storage."""


class AnyWeb:
    """``Web`` for ``http``, ``https``, ``file``, ``s3``, ``gs`` and ``az`` URLs.

    :param settings: how long a server may be silent, and what it is trusted by.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        environment: Mapping[str, str] | None = None,
        web: Web | None = None,
        bucket: Callable[[str], Objects] | None = None,
    ) -> None:
        known = os.environ if environment is None else environment
        self._web = web or Http(settings, environment=known)
        self._open = bucket or (
            lambda url: ObstoreObjects(url, environment=known, silence=settings.read)
        )
        self._buckets: dict[str, Objects] = {}
        self._guard = threading.Lock()

    def close(self) -> None:
        self._web.close()

    @contextlib.contextmanager
    def open(self, url: str, *, start: int = 0, stop: int | None = None) -> Iterator[Body]:
        if parse(url).scheme not in BUCKETS:
            with self._web.open(url, start=start, stop=stop) as body:
                yield body
            return
        objects, key = self._bucket(url)
        with _as_tries():
            stat = objects.head(key)
        if stat is None:
            raise TryFailed("there is no such object", status=404)
        if start > stat.size:
            raise TryFailed(f"it has only {stat.size} bytes", status=416)
        begin = max(stat.size + start, 0) if start < 0 else start
        end = stat.size if stop is None else min(stop, stat.size)
        yield Body(start=begin, total=stat.size, chunks=_pieces(objects, key, begin, end))

    def text(self, url: str, *, accept: str = "*/*", limit: int = PAGE_LIMIT) -> Page:
        if parse(url).scheme not in BUCKETS:
            return self._web.text(url, accept=accept, limit=limit)
        objects, key = self._bucket(url)
        with _as_tries():
            found = objects.get(key)
        if found is None:
            raise TryFailed("there is no such object", status=404)
        if len(found.data) > limit:
            raise TryFailed(f"the page is longer than {limit} bytes")
        kind = "application/json" if key.endswith(".json") else "text/html"
        return Page(url=url, text=found.data.decode(errors="replace"), content_type=kind)

    def _bucket(self, url: str) -> tuple[Objects, str]:
        parts = parse(url)
        root = f"{parts.scheme}://{parts.netloc}"
        with self._guard:
            if root not in self._buckets:
                self._buckets[root] = self._open(root)
            return self._buckets[root], unquote(parts.path).lstrip("/")


def _pieces(objects: Objects, key: str, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        with _as_tries():
            piece = objects.range(key, begin, min(begin + PIECE, end))
        if not piece:
            return
        begin += len(piece)
        yield piece


@contextlib.contextmanager
def _as_tries() -> Iterator[None]:
    """A storage's failure as that of one place."""
    try:
        yield
    except Missing as error:
        raise TryFailed("there is no such object", status=404) from error
    except StorageFailed as error:
        slow = "time" in error.cause.lower() and "out" in error.cause.lower()
        raise TryFailed(error.cause or error.what, transient=True, slow=slow) from error
