"""The kinds of records that a store holds: what each is, and when the care of the store drops it.

A record that vouches for something that is there (a blob, an image of the engine) is never dropped.
All kinds are in the one table, so that none is forgotten by ``kvpack store usage`` and ``gc``.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "actions", "audits", "catalogues", "cells", "changes", "circuits", "claims",
    "engine", "facts", "outcomes", "pip", "proofs", "roots", "sources",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Records that can be made again: one may go once all that is said here holds."""

    blob: Literal["name", "sha256"] | None = None
    """The blob that it is about is gone. Its digest begins the record's name, or is in a field."""
    days: float = 0
    """It was neither written nor read for so long, as far as the disk notes reading (atime)."""


KEPT = None
"""Nothing but its own command removes it."""
RECORDS: Mapping[Kind, Cache | None] = {
    # What builds gave; ``gc --keep-results`` drops results. The newest of each target: ``why``.
    "actions": KEPT,
    "cells": KEPT,
    # What commits gave, and verdicts on wheels: void without those bytes.
    "sources": Cache(blob="sha256"),
    "changes": Cache(blob="sha256"),
    "audits": Cache(blob="name"),
    # Images in the engine, the engine itself, the catalogues whose locks keep blobs.
    "roots": KEPT,
    "engine": KEPT,
    "catalogues": KEPT,
    # What wheels hold, read once: worth most after their bytes have left the store.
    "claims": Cache(blob="name", days=90),
    "facts": Cache(blob="name", days=90),
    # Answers. ``outcomes`` and ``circuits`` count for minutes, the others while nothing changes.
    "proofs": Cache(days=90),
    "pip": Cache(days=90),
    "outcomes": Cache(days=1),
    "circuits": Cache(days=1),
}


def read(path: Path | str) -> dict[str, Any] | None:
    """The JSON record in a file, or ``None`` where there is none or it cannot be read."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  # of thousands of targets: half the time
            record = json.loads(stream.read())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def droppable(root: Path, has: Callable[[str], bool]) -> Iterator[Path]:
    """The records below a store's folder that may go.

    :param has: whether the blob with a digest is there.
    """
    for kind, cache in RECORDS.items():
        if cache is not None:
            for path in sorted((root / kind).glob("**/*.json")):
                with contextlib.suppress(FileNotFoundError):
                    if _is_old(path, cache) and not _has_blob(path, cache, has):
                        yield path


def _is_old(path: Path, cache: Cache) -> bool:
    status = path.stat()
    return time.time() - max(status.st_mtime, status.st_atime) >= cache.days * 86400


def _has_blob(path: Path, cache: Cache, has: Callable[[str], bool]) -> bool:
    if cache.blob is None:
        return False
    named = path.name[:64] if cache.blob == "name" else (read(path) or {}).get("sha256", "")
    return has(str(named))
