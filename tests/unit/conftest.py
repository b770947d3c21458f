"""A unit test sees no network, no programs and nothing of the machine's own configuration."""

import errno
import os
import socket
from pathlib import Path

import pytest

_SCRUBBED = ("PIP_", "UV_", "KVPACK_", "XDG_", "CONTAINER", "DOCKER_", "SSL_", "REQUESTS_", "CURL_")
_VARIABLES = (
    "GITHUB_ACTIONS", "BUILDKITE", "CI", "NO_COLOR", "FORCE_COLOR", "SOURCE_DATE_EPOCH", "NETRC",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
)  # fmt: skip
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(_SCRUBBED) or name.upper() in _VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))  # no podman, docker, uv, apt-get, git


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not on this machine is as if the cable were out."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in _LOOPBACK:
            raise OSError(errno.ENETUNREACH, f"unit tests have no network: {address}")
        connect(self, address)  # type: ignore[arg-type]  # whatever socket takes

    def guarded_resolve(host: object, *args: object, **more: object) -> object:
        if host not in {*_LOOPBACK, None}:
            raise socket.gaierror(socket.EAI_NONAME, f"unit tests have no network: {host}")
        return resolve(host, *args, **more)  # type: ignore[arg-type]  # whatever socket takes

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
