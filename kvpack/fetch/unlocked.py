"""Files that no lock names yet: fetched once while locking, so that their digests are known."""

import hashlib
import time
from pathlib import Path
from urllib.parse import unquote

from kvpack.errors import DigestMismatch, Fault, FetchFailed
from kvpack.fetch.model import Fetched
from kvpack.fetch.transfer import Effort
from kvpack.tools.files import CHUNK, disk_full_at
from kvpack.tools.store import Store
from kvpack.tools.web import TryFailed, Web, redact


def pypi_place(path: Path, filename: str) -> str:
    """Tell where PyPI keeps a file: its place is made of the BLAKE2b-256 digest of its bytes.

    So a lock made behind a mirror that has another layout names the same place as any other.
    """
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    name = digest.hexdigest()
    return f"packages/{name[:2]}/{name[2:4]}/{name[4:]}/{filename}"


def fetch_unlocked(
    url: str, *, store: Store, web: Web, sha256: str | None = None, effort: Effort | None = None
) -> Fetched:
    """Bring the bytes at ``url`` into the store and tell what they are.

    :param web: from ``Registries.web``: how to reach that URL.
    :param sha256: what an index says they are. If the store has them, nothing is fetched.
    :raises FetchFailed: if the URL does not answer to the end.
    :raises DigestMismatch: if the bytes are not those of ``sha256``; nothing is kept.
    :raises DiskFull: if the device is full.
    """
    filename = unquote(url.partition("#")[0].partition("?")[0].rpartition("/")[2])
    if sha256 is None or not store.has(sha256):
        with store.scratch("unlocked") as folder:
            path = folder / "download"
            _download(url, path, web, effort or Effort())
            sha256 = _keep(url, path, store, sha256)
    blob = store.check(sha256)
    return Fetched(sha256=sha256, size=blob.stat().st_size, place=pypi_place(blob, filename))


def _keep(url: str, path: Path, store: Store, sha256: str | None) -> str:
    try:
        return store.add_file(path, expected=sha256)
    except DigestMismatch as error:
        raise DigestMismatch(
            f"{redact(url)} answered with other bytes than its index names",
            cause=error.what,
            hint="nothing was kept; run the same command again, or name another index in "
            "kvpack.toml: [registries.pypi] index",
            faults=[Fault(place=redact(url), message=error.what)],
        ) from error


def _download(url: str, path: Path, web: Web, effort: Effort) -> None:
    for turn in range(effort.rounds):
        try:
            with web.open(url) as body, disk_full_at(path), path.open("wb") as stream:
                for chunk in body.chunks:
                    stream.write(chunk)
        except TryFailed as error:
            if error.transient and turn + 1 < effort.rounds:
                time.sleep(effort.pause * 2**turn)
                continue
            raise FetchFailed(
                f"{redact(url)} could not be fetched",
                cause=error.reason,
                hint="run the same command again, or name another mirror in kvpack.toml",
                faults=[Fault(place=redact(url), message=error.reason)],
            ) from error
        else:
            return
