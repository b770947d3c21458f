"""A replica of an index on the loopback that records what is asked and then answers alone.

The first time an address (with its range) is asked, the machine's own index answers and the answer
is kept; afterwards nothing leaves the machine. So two programs can be timed on the same pages,
without the network's noise. Links of pages are rewritten to the replica.
"""

import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import quote, unquote, urljoin

_KEPT = ("Content-Type", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")
TRIES = 4
_HREF = re.compile(r'(<a\s[^>]*href=")([^"]+)(")', re.IGNORECASE)


@dataclass
class Answer:
    """One answer of the index, as it is given again."""

    status: int
    headers: dict[str, str]
    body: bytes
    length: str


@dataclass
class Replica:
    """What was asked, and the answers."""

    index: str
    """URL of the real index."""
    url: str = ""
    kept: dict[tuple[str, str, str], Answer] = field(default_factory=dict)
    asked: int = 0
    """Requests that had to leave the machine."""
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    def answer(self, method: str, path: str, wanted: str) -> Answer:
        key = (method, path, wanted)
        if key not in self.kept:
            answer = self._ask(method, path, wanted)
            with self.guard:
                self.asked += 1
                self.kept[key] = answer
        return self.kept[key]

    def _ask(self, method: str, path: str, wanted: str) -> Answer:
        page = path.startswith("/simple/")
        if page:
            target = self.index.rstrip("/") + path.removeprefix("/simple")
        else:
            target = unquote(path.removeprefix("/files/"))
        headers = {"Accept": "text/html", **({"Range": wanted} if wanted else {})}
        request = urllib.request.Request(target, method=method, headers=headers)  # noqa: S310
        for _ in range(TRIES - 1):
            try:
                return self._once(request, target, method, page=page)
            except urllib.error.URLError:  # a resolver that is busy
                time.sleep(0.5)
        return self._once(request, target, method, page=page)

    def _once(
        self, request: urllib.request.Request, target: str, method: str, *, page: bool
    ) -> Answer:
        try:
            with urllib.request.urlopen(request, context=ssl.create_default_context()) as reply:  # noqa: S310
                body = b"" if method == "HEAD" else reply.read()
                kept = {name: reply.headers[name] for name in _KEPT if reply.headers[name]}
                length = reply.headers["Content-Length"] or str(len(body))
                status = reply.status
        except urllib.error.HTTPError as error:
            return Answer(error.code, {}, b"", "0")
        if page:
            body = _HREF.sub(lambda m: self._local(m, target), body.decode()).encode()
            length = str(len(body))
        return Answer(status, kept, body, length)

    @staticmethod
    def _local(match: re.Match[str], page: str) -> str:
        url, hash_, fragment = urljoin(page, match[2]).partition("#")
        local = f"/files/{quote(url, safe='')}/{url.rpartition('/')[2]}"
        return f"{match[1]}{local}{hash_}{fragment}{match[3]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        replica = cast("_Server", self.server).replica
        path = self.path
        if path.startswith("/files/"):  # the name at the end is for installers
            path = path.rpartition("/")[0]
        answer = replica.answer(self.command, path, self.headers.get("Range", ""))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", answer.length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    replica: Replica


@contextmanager
def replica_of(index: str) -> Iterator[Replica]:
    """Serve a replica of an index while the block runs."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.replica = Replica(index)
    server.replica.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.replica
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
