"""The uv that kvpack was installed with: its environment, how it is asked, how it fails."""

import os
import sys
from pathlib import Path

from uv import find_uv_bin

from kvpack.errors import DiskFull, ToolFailed
from kvpack.names import version_key

NEWEST_GLIBC = "2.40"
"""The newest that uv's ``--python-platform`` knows; wheels for it load on newer ones."""
_SILENT_SERVER = ("Failed to fetch", "error sending request", "operation timed out")
"""uv's words for an index that does not answer."""
_NO_SPACE = ("(os error 28)", "(os error 122)")
"""ENOSPC and EDQUOT on Linux, as uv's chain of reasons ends with them."""
_UNWRITABLE = (
    *("Failed to initialize cache", "Failed to write to the client cache"),
    *("Could not acquire lock", "(os error 13)", "(os error 30)"),
)
"""uv's words for a cache that it cannot use; EACCES and EROFS (measured on uv 0.13.8)."""
_SHOWN = 20
"""Lines of what uv says that are shown: its chain of reasons ends with the cause."""
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


def platform(glibc: str, arch: str) -> str:
    """What ``--python-platform`` is for an environment: ``x86_64-manylinux_2_36``."""
    glibc = min(glibc, NEWEST_GLIBC, key=version_key)
    return f"{arch}-manylinux_{glibc.replace('.', '_')}"


def compile_wheels(python: str, output: Path) -> list[str]:
    """The command that resolves what it reads into a pylock: wheels alone, no configuration.

    :param python: whose markers count; uv is told them, so it need not be installed.
    """
    args = [program(), "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    args += ["--python", sys.executable]  # any will do: the markers are told
    args += ["--only-binary", ":all:", "--no-sources", "--no-config", "--system-certs"]
    return [*args, "--python-version", python, "--output-file", str(output)]


def is_unanswered(errors: str) -> bool:
    """Whether uv failed because an index does not answer, not because nothing fits."""
    return any(words in errors for words in _SILENT_SERVER)


def local_fault(errors: str) -> DiskFull | ToolFailed | None:
    """The error, if uv failed on this machine's disk and no index or requirement is to blame."""
    cache = os.environ.get("UV_CACHE_DIR", "~/.cache/uv")
    if any(words in errors for words in _NO_SPACE):
        return DiskFull(
            f"no space left for uv's cache ({cache}) or its temporary files",
            cause=said(errors),
            hint="free some space (uv cache prune), or name another cache: UV_CACHE_DIR=DIR; "
            "then run the same command again: nothing was lost",
        )
    if any(words in errors for words in _UNWRITABLE):
        return ToolFailed(
            f"uv cannot use its cache ({cache}) or its temporary files",
            cause=said(errors),
            hint="name a folder that can be written: UV_CACHE_DIR=DIR, TMPDIR=DIR",
        )
    return None


def said(errors: str) -> str:
    """What uv said last, for a message."""
    return "uv says:\n  " + "\n  ".join(errors.strip().splitlines()[-_SHOWN:])
