"""Servers on loopback for publishing: S3 (moto, rclone), nginx, a proxy that fails on purpose."""

import contextlib
import itertools
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sysconfig
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAKVPACKTEST000000",
    "AWS_SECRET_ACCESS_KEY": "hidden-hidden-hidden-hidden-hidden-hide",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


def own_keys(monkeypatch: pytest.MonkeyPatch, keys: Mapping[str, str] = KEYS) -> None:
    """The credentials of these servers in the environment, and none of the machine's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)


_PORTS = itertools.count(random.SystemRandom().randrange(10_000, 30_000))


def free_port() -> int:
    """A port that nobody has, and that nobody is given before a server takes it.

    Not the kernel's choice: it gives the same ones to every connection and to the other worker.
    Below its range each process counts up from a place of its own.
    """
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def wait_for(port: int, process: "subprocess.Popen[bytes]", seconds: float = 180) -> None:
    """Wait until a server answers; the time matters only where it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return
        assert process.poll() is None, f"{process.args!r} ended with code {process.returncode}"
        time.sleep(0.05)
    raise TimeoutError(port)


@contextlib.contextmanager
def moto() -> Iterator[int]:
    """S3 as moto simulates it, in a process of its own, with the bucket ``wheels``."""
    port = free_port()
    words = [str(SCRIPTS / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        make_bucket(port, "wheels")
        yield port
    finally:
        process.kill()
        process.wait()


def make_bucket(port: int, name: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{name}", method="PUT")
    with urllib.request.urlopen(request) as answer:  # noqa: S310  # loopback
        assert answer.status == 200


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[int]:
    """``rclone serve s3``: answers 200 to conditional writes and ignores the condition."""
    port = free_port()
    (folder / "wheels").mkdir(parents=True)
    auth = f"{KEYS['AWS_ACCESS_KEY_ID']},{KEYS['AWS_SECRET_ACCESS_KEY']}"
    words = [str(SCRIPTS / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key",
             auth, str(folder)]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Site:
    """A running nginx."""

    url: str
    secure_url: str
    """With TLS: pip keeps no cache of what came without."""
    certificate: Path
    log: Path


def _certificate(scratch: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
             str(scratch / "key.pem"), "-out", str(scratch / "cert.pem")]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)


@contextlib.contextmanager
def nginx(root: Path, scratch: Path) -> Iterator["Site"]:
    """nginx with the configuration that docs/howto-publish.md gives, with and without TLS."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), "ci/setup test installs nginx-light"
    text = (CHECKOUT / "docs" / "howto-publish.md").read_text(encoding="utf-8")
    (given,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    port, secure = free_port(), free_port()
    scratch.mkdir()
    _certificate(scratch)
    listen = (
        f"127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl; "
        f"ssl_certificate {scratch}/cert.pem; ssl_certificate_key {scratch}/key.pem"
    )
    server = given.replace("127.0.0.1:8080", listen).replace("/srv/wheels", str(root))
    temporary = "".join(
        f"{kind}_temp_path {scratch}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (scratch / "nginx.conf").write_text(
        f"daemon off; pid {scratch}/pid; error_log {scratch}/error.log; worker_processes 1;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{}}\nhttp {{\n"
        "types { text/html html; }\nlog_format plain '$status $request_uri $http_accept';\n"
        f"access_log {scratch}/access.log plain;\n{temporary}\n{server}\n}}\n"
    )
    process = subprocess.Popen([program, "-c", str(scratch / "nginx.conf"), "-p", str(scratch)])
    try:
        wait_for(port, process)
        yield Site(
            f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure}", scratch / "cert.pem",
            scratch / "access.log",
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait()


class Proxy:
    """Passes one request per connection on to a server; some are refused, cut or slowed down.

    Half of the cut ones have arrived: only their answer is lost.
    """

    def __init__(self, port: int, seed: int, *, rate: float = 0.0, delay: float = 0.0) -> None:
        self.upstream = port
        self.rate = rate
        self.delay = delay
        self.faults = 0
        self._random = random.Random(seed)  # noqa: S311  # nothing is secret here
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            chance = self._random.random()
            threading.Thread(target=self._handle, args=(client, chance), daemon=True).start()

    def _handle(self, client: socket.socket, chance: float) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(30)
            time.sleep(self.delay)
            kind = int(chance / self.rate * 4) if chance < self.rate else 4
            self.faults += kind < 4
            if kind == 0:
                _reset(client)
                return
            request = _read(client)
            if kind == 1:
                client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n"
                               b"Connection: close\r\n\r\n")  # fmt: skip
                return
            answer = self._ask(request)
            if kind == 2:
                client.sendall(answer[: len(answer) // 2])
                _reset(client)
            elif kind == 3:
                for start in range(0, len(answer), 1 + len(answer) // 5):
                    client.sendall(answer[start : start + 1 + len(answer) // 5])
                    time.sleep(0.02)
            else:
                client.sendall(answer)

    def _ask(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head) + b"\r\nConnection: close"
        with socket.create_connection(("127.0.0.1", self.upstream), 30) as server:
            server.sendall(head + b"\r\n\r\n" + body)
            found = b""
            while piece := server.recv(1 << 16):
                found += piece
        return found


def _read(client: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        found += _piece(client)
    head, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    while len(body) < (int(length[1]) if length else 0):
        body += _piece(client)
    return head + b"\r\n\r\n" + body


def _piece(client: socket.socket) -> bytes:
    piece = client.recv(1 << 16)
    if not piece:
        raise ConnectionError
    return piece


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    with moto() as port:
        yield port
