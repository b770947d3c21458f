"""Static hosts on loopback that fail in one way each."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from tests.unit.fetch.upstream import refusing

FAULTS = (
    "refused",
    "silent",
    "503",
    "404",
    "truncated",
    "wrong",
    "login",
    "drip",
    "reset",
    "black hole",
)
"""``wrong`` serves other bytes for wheels alone, ``login`` one page for everything."""


class Host(ThreadingHTTPServer):
    """Serves a folder as object storage would, and does ``fault`` instead where it applies."""

    daemon_threads = True
    request_queue_size = 128  # five, as it is, cost a client a second when a burst comes

    def __init__(self, root: Path, fault: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.fault = root, fault
        self.seen: list[str] = []
        self.ranges: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host = cast("Host", self.server)
        self.close_connection = True
        path = unquote(self.path).lstrip("/")
        host.seen.append(path)
        file = host.root / path
        data = file.read_bytes() if file.is_file() else None
        status = 200 if data is not None else 404
        if host.fault in {"503", "404"}:
            status, data = int(host.fault), None
        if host.fault == "login":
            status, data = 200, b"<html>please log in</html>"
        if host.fault == "wrong" and path.endswith(".whl"):
            data = bytes(len(data or b""))
        self._answer(status, data or b"", host.fault)

    def _answer(self, status: int, data: bytes, fault: str) -> None:
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if found and status == 200:
            cast("Host", self.server).ranges.append(found[0])
            start, status = int(found[1]), 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        body = data[start:]
        if fault == "truncated":
            self.wfile.write(body[: len(body) // 2])
        elif fault == "drip":
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()


@contextlib.contextmanager
def serving(root: Path, fault: str = "") -> Iterator[Host]:
    """A host that answers, right or wrong."""
    host = Host(root, fault)
    threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield host
    finally:
        host.shutdown()
        host.server_close()


@dataclass(frozen=True)
class Mute:
    """A host that says nothing."""

    url: str
    held: list[socket.socket]
    """Every connection that was made to it."""


@contextlib.contextmanager
def silence(*, reset: bool = False) -> Iterator[Mute]:
    """A host that accepts connections and says nothing, or cuts them."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    if reset:
                        connection.close()
                    else:
                        held.append(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield Mute(f"http://127.0.0.1:{listener.getsockname()[1]}", held)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


@contextlib.contextmanager
def dropping() -> Iterator[str]:
    """The URL of a host that takes no connection and refuses none: its queue is full.

    Linux drops what comes then, as a firewall or a host that is gone would.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as s:
        address = listener.getsockname()
        for _ in range(4):
            waiting = s.enter_context(socket.socket())
            waiting.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                waiting.connect(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextlib.contextmanager
def failing(fault: str, root: Path) -> Iterator[str]:
    """The URL of a host with a fault."""
    if fault == "refused":
        yield refusing()
    elif fault == "black hole":
        with dropping() as url:
            yield url
    elif fault in {"silent", "reset"}:
        with silence(reset=fault == "reset") as host:
            yield host.url
    else:
        with serving(root, fault) as host:
            yield host.url
