"""The outcome of a question that was just answered, for as long as index pages count as fresh.

uv does not ask an index again for what it read within the time that the index names as fresh (ten
minutes on PyPI: ``Cache-Control: max-age=600``); asking the same question within it gives the same
answer, so it need not be asked. ``--refresh`` asks all the same.
"""

import time
from dataclasses import asdict
from typing import Any

from kvpack import __version__
from kvpack.cli.outcome import Outcome, Wanted
from kvpack.cli.reading import rules, rules_digest
from kvpack.resolve.folder import wheels_in
from kvpack.tools.files import canonical_json, sha256_file, sha256_of
from kvpack.tools.records import Kind
from kvpack.tools.store import Store

FRESH = 600
"""Seconds."""
KIND: Kind = "outcomes"


def key_of(wanted: Wanted, index: str) -> str:
    """Digest of all that decides an outcome, but for the index's own pages.

    :param index: URL of the machine's index; hashed, never kept.
    """
    from pathlib import Path

    folders = [
        {name: sha256_file(path) for name, path in wheels_in(Path(place)).items()}
        for kind, place in wanted.sources
        if kind == "folder"
    ]
    parts: list[Any] = [
        *(__version__, rules(), rules_digest(), index, folders),
        *(wanted.intent, dict(wanted.texts), wanted.accelerator, wanted.python, wanted.glibc),
        *(list(wanted.arches), wanted.torch, [list(one) for one in wanted.sources]),
        *(str(wanted.folder), str(wanted.text_folder), wanted.command, list(wanted.host)),
    ]
    return sha256_of(canonical_json(parts))


def recalled(store: Store, key: str) -> Outcome | None:
    """The outcome, if it is fresh."""
    record = store.read_record(KIND, key)
    if record is None or not 0 <= time.time() - float(record.get("at", 0)) < FRESH:
        return None
    try:
        known = dict(record["outcome"])
        return Outcome(**{**known, "notes": tuple(known["notes"])})
    except (KeyError, TypeError, ValueError):
        return None


def keep(store: Store, key: str, outcome: Outcome) -> None:
    """Remember an outcome."""
    store.write_record(KIND, key, {"at": time.time(), "outcome": asdict(outcome)})
