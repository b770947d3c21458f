"""A real HTTP server on the loopback that misbehaves as told, and counts."""

import functools
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, cast

from kvpack.fetch.model import Wanted


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How to answer one request."""

    body: bytes = b""
    status: int = 200
    ranges: bool = True
    """Whether a Range header is obeyed."""
    suffix: bool = True
    """Whether a range that counts from the end is understood."""
    cut: int | None = None
    """Close the connection after this many bytes of the body."""
    length: bool = True
    """Whether the answer says how long it is."""
    headers: tuple[tuple[str, str], ...] = ()
    range_header: str | None = None
    """A Content-Range that lies."""
    before: Callable[[], object] | None = None
    """Called before the last byte of the body is sent."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request that came."""

    path: str
    range: str | None
    authorization: str | None
    accept: str | None
    encoding: str | None


@dataclass
class Upstream:
    """The server's routes and what it saw. The last reply of a route is given for ever."""

    url: str
    routes: dict[str, list[Reply]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, *replies: Reply | bytes) -> str:
        """Answer ``path`` with ``replies``, one after the other; its URL is returned."""
        self.routes[path] = [
            Reply(body=reply) if isinstance(reply, bytes) else reply for reply in replies
        ]
        return self.url + path

    def reply(self, seen: Seen) -> Reply:
        with self.guard:
            self.seen.append(seen)
            replies = self.routes.get(seen.path, [Reply(status=404)])
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def count(self, path: str) -> int:
        return sum(seen.path == path for seen in self.seen)

    @property
    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # five, as it is, cost a client a second when a burst comes
    upstream: Upstream


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        seen = Seen(
            path=self.path,
            range=self.headers.get("Range"),
            authorization=self.headers.get("Authorization"),
            accept=self.headers.get("Accept"),
            encoding=self.headers.get("Accept-Encoding"),
        )
        reply = cast("_Server", self.server).upstream.reply(seen)
        start, stop, status = 0, len(reply.body), reply.status
        if seen.range and reply.ranges and status == 200:
            start, stop = _range(seen.range, len(reply.body))
            refused = seen.range.startswith("bytes=-") and not reply.suffix
            status = 206 if start < stop and not refused else 416
        body = reply.body[start:stop] if status in {200, 206} else b""
        self.send_response(status)
        if status == 206:
            total = len(reply.body)
            said = reply.range_header or f"bytes {start}-{stop - 1}/{total}"
            self.send_header("Content-Range", said)
        if reply.length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in (*reply.headers, ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        self._send(body, reply)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, body: bytes, reply: Reply) -> None:
        if self.command == "HEAD":
            return
        sent = body if reply.cut is None else body[: reply.cut]
        self.wfile.write(sent[:-1])
        if reply.before is not None:
            self.wfile.flush()
            reply.before()
        self.wfile.write(sent[-1:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client hung up
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            self.close_connection = True


def _range(header: str, size: int) -> tuple[int, int]:
    """What ``bytes=4-``, ``bytes=4-7`` or ``bytes=-4`` selects of a body."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


@contextmanager
def serving() -> Iterator[Upstream]:
    """Run a server on a free port of the loopback."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.upstream = Upstream(url=f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.upstream
        finally:
            server.shutdown()
            thread.join()


@functools.cache
def refusing() -> str:
    """The URL of a port that refuses connections.

    It is bound, and nobody listens, for as long as this process lives: a port that was given back
    may be another server's a moment later.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        one.detach()
    return f"http://127.0.0.1:{port}"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def deb(data: bytes, *, name: str = "x_1_amd64.deb", size: int | None = -1) -> Wanted:
    """Want a package; ``size`` is that of ``data`` unless said otherwise."""
    return Wanted(
        registry="debian",
        place=f"pool/main/x/{name}",
        filename=name,
        sha256=sha(data),
        size=len(data) if size == -1 else size,
    )


def wheel(data: bytes, *, project: str = "demo") -> Wanted:
    """Want a wheel."""
    name = f"{project}-1.0-py3-none-any.whl"
    place = f"packages/{sha(data)[:2]}/{sha(data)[2:4]}/{sha(data)[4:]}/{name}"
    return Wanted(
        registry="pypi",
        place=place,
        filename=name,
        sha256=sha(data),
        size=len(data),
        project=project,
    )


class Ears:
    """A reporter that remembers what it was told."""

    def __init__(self, on_progress: Callable[[], object] | None = None) -> None:
        self.warnings: list[str] = []
        self.steps: list[str] = []
        self.marks: list[tuple[int, int, str]] = []
        self._on_progress = on_progress

    def step(self, title: str) -> "Ears":
        self.steps.append(title)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def progress(self, done: int, total: int, unit: str) -> None:
        self.marks.append((done, total, unit))
        if self._on_progress is not None:
            self._on_progress()

    def line(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        self.warnings.append(text)
