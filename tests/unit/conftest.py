"""A unit test sees no network, no programs and nothing of the machine's own configuration."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

_SCRUBBED = (
    "PIP_", "UV_", "KVPACK_", "XDG_", "CONTAINER", "DOCKER_", "SSL_", "REQUESTS_", "CURL_", "AWS_",
    "AZURE_", "GOOGLE_", "GIT_", "GITHUB_", "BUILDKITE", "CIBW_", "LC_", "TTY_",
    "MC_", "MOONCAKE_", "MORI_", "NIXL_", "PYTORCH_",  # what the doctor reads
)  # fmt: skip
_VARIABLES = (
    "CI", "NO_COLOR", "FORCE_COLOR", "SOURCE_DATE_EPOCH", "NETRC", "HTTP_PROXY", "HTTPS_PROXY",
    "ALL_PROXY", "NO_PROXY", "LINES", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "PYTHONWARNINGS",
    "PYTHONDEVMODE", "PYTHONUTF8", "PYTHONIOENCODING", "LD_PRELOAD", "WITH_NVIDIA_PEERMEM",
)  # fmt: skip
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(scope="module", autouse=True)
def _anywhere() -> Iterator[None]:
    """The same variables on every machine, for the fixtures of a module too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_SCRUBBED) or name.upper() in _VARIABLES:
                patch.delenv(name)
        patch.setenv("HOME", f"{os.devnull}/home")  # where nobody, root included, can write
        patch.setenv("COLUMNS", "80")
        patch.setenv("PIP_CONFIG_FILE", os.devnull)  # nor /etc/pip.conf
        yield


@pytest.fixture(autouse=True)
def _no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent/bin")  # no podman, docker, uv, apt-get, git


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
