"""The uv that kvpack was installed with, and the environment that it runs in."""

import os

from uv import find_uv_bin

_KEPT = ("UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_CONCURRENT_DOWNLOADS")
"""What of uv's environment may count: nothing that names an index or changes a solution."""


def program() -> str:
    """The uv that kvpack was installed with, even where its folder is not on PATH."""
    try:
        return find_uv_bin()
    except FileNotFoundError:
        return "uv"


def environment(cert: str | None = None) -> dict[str, str]:
    """What uv runs in.

    :param cert: CA bundle that pip's configuration names; the system's store counts anyway.
    """
    found = {n: v for n, v in os.environ.items() if not n.startswith("UV_") or n in _KEPT}
    found["UV_PYTHON_DOWNLOADS"] = "never"
    if cert and "SSL_CERT_FILE" not in found:
        found["SSL_CERT_FILE"] = cert
    return found
