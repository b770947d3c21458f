"""Reads the distributions of an environment from their own files. Nothing of it is run."""

import base64
import csv
import hashlib
import io
import json
import posixpath
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import HeaderParser
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kvpack.doctor.environment import Distribution
from kvpack.report import Step

_THREADS = 4
_BATCH = 64
"""Files that a thread takes at a time: handing over one costs more than its size takes to read."""
_EXEMPT = (".pyc", ".dist-info/RECORD", ".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")
"""What RECORD cannot vouch for, or what is made anew at will."""


@dataclass(frozen=True)
class Row:
    """One line of RECORD."""

    path: Path
    """Where the file is."""
    digest: str
    """``sha256=…``; empty: none."""
    size: int | None


@dataclass(frozen=True)
class Found:
    """One distribution on disk, before its files are compared."""

    site: Path
    folder: Path
    """Its ``.dist-info`` or ``.egg-info``."""
    name: str
    version: str
    spec: str
    requires: tuple[str, ...]
    editable: bool
    record: str | None
    """RECORD's text; ``None``: there is none."""
    rows: tuple[Row, ...] | None
    """``None``: RECORD is damaged."""


def find(sites: Iterable[Path]) -> tuple[list[Found], list[str]]:
    """All distributions; a name in an earlier folder of the path hides those in later ones.

    :returns: the distributions, and the names that one folder has twice.
    """
    found: dict[str, Found] = {}
    doubled: list[str] = []
    for site in sites:
        here: dict[str, Found] = {}
        for folder in sorted([*site.glob("*.dist-info"), *site.glob("*.egg-info")]):
            one = _read(site, folder)
            if one is None:
                continue
            first = here.setdefault(one.name, one)
            if first.version != one.version:  # Debian has both kinds of folder for some
                doubled.append(one.name)
            found.setdefault(one.name, one)
    return list(found.values()), sorted(set(doubled))


def _read(site: Path, folder: Path) -> Found | None:
    metadata = _text(folder / "METADATA") or _text(folder / "PKG-INFO") or _text(folder)
    if metadata is None:
        return None
    headers = HeaderParser().parsestr(metadata)
    name, version = headers.get("Name"), headers.get("Version")
    if not name or not version:
        return None
    record = _text(folder / "RECORD")
    url = _direct_url(folder)
    return Found(
        site=site,
        folder=folder,
        name=canonicalize_name(name),
        version=version,
        spec=_spec(canonicalize_name(name), version, url),
        requires=tuple(_requires(headers.get_all("Requires-Dist") or [])),
        editable=bool(url.get("dir_info", {}).get("editable")),
        record=record,
        rows=() if record is None else _rows(record, site),
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _direct_url(folder: Path) -> dict[str, Any]:
    """``direct_url.json`` (PEP 610); empty if there is none that can be read."""
    try:
        found = json.loads(_text(folder / "direct_url.json") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _spec(name: str, version: str, url: dict[str, Any]) -> str:
    """What installs the same again. Credentials of a URL are left out."""
    place = str(url.get("url", ""))
    parts = urlsplit(place)
    if not place or "@" in parts.netloc or "vcs_info" in url:
        return f"{name}=={version}"
    return f"{name} @ {place}"


def _requires(lines: list[str]) -> Iterator[str]:
    for line in lines:
        try:
            yield canonicalize_name(Requirement(line).name)
        except InvalidRequirement:
            continue


def _rows(record: str, site: Path) -> tuple[Row, ...] | None:
    rows = []
    try:
        for row in csv.reader(io.StringIO(record), strict=True):
            if not row or row[0].endswith("/"):
                continue
            path, digest, size = row
            rows.append(Row(site / path, digest, int(size) if size.isdecimal() else None))
    except (csv.Error, ValueError):
        return None
    return tuple(rows)


def compare(
    found: list[Found], prefix: Path, step: Step, *, quick: bool = False
) -> Iterator[Distribution]:
    """Compare files with RECORD: size first, then (not ``quick``) sha256.

    :param prefix: of the environment; paths are told relative to it.
    """
    jobs = [
        (one, row)
        for one in found
        for row in one.rows or ()
        if not str(row.path).endswith(_EXEMPT) and "__pycache__" not in row.path.parts
    ]
    damage: dict[str, tuple[list[str], list[str]]] = {one.name: ([], []) for one in found}
    with ThreadPoolExecutor(_THREADS) as pool:
        batches = (jobs[first : first + _BATCH] for first in range(0, len(jobs), _BATCH))
        states = chain.from_iterable(
            pool.map(lambda batch: [_state(row, quick=quick) for _, row in batch], batches)
        )
        for number, ((one, row), state) in enumerate(zip(jobs, states, strict=True), 1):
            step.progress(number, len(jobs), "files")
            if state:
                missing, changed = damage[one.name]
                (missing if state == "missing" else changed).append(placed(row.path, one, prefix))
    for one in found:
        missing, changed = damage[one.name]
        yield Distribution(
            name=one.name,
            version=one.version,
            spec=one.spec,
            record="absent"
            if one.record is None
            else "read"
            if one.rows is not None
            else "damaged",
            editable=one.editable,
            requires=tuple(sorted(set(one.requires))),
            top_level=tuple(sorted(_top_level(one))),
            missing=tuple(missing),
            changed=tuple(changed),
        )


def placed(path: Path, one: Found, prefix: Path) -> str:
    """A path as findings tell it: ``site-packages/…``, ``bin/…``."""
    plain = posixpath.normpath(path)  # RECORD has ../../../bin/x
    for folder, shown in ((_inside(one.site), "site-packages/"), (_inside(prefix), "")):
        if plain.startswith(folder):
            return shown + plain.removeprefix(folder)
    return plain


def _inside(folder: Path) -> str:
    """How paths in a folder begin: text, since environments have tens of thousands of them."""
    return posixpath.join(folder, "")


def _state(row: Row, *, quick: bool) -> str:
    try:
        size = row.path.stat().st_size
        if row.size is not None and size != row.size:
            return "changed"
        algorithm, _, value = row.digest.partition("=")
        if quick or not value or algorithm not in hashlib.algorithms_available:
            return ""
        with row.path.open("rb") as stream:
            actual = hashlib.file_digest(stream, algorithm).digest()
    except FileNotFoundError:
        return "missing"
    except OSError:  # not allowed to read it: nothing is known
        return ""
    return "" if base64.urlsafe_b64encode(actual).rstrip(b"=").decode() == value else "changed"


def _top_level(one: Found) -> set[str]:
    site = _inside(one.site)
    paths = [str(row.path) for row in one.rows or ()]
    names = {
        path.removeprefix(site).partition("/")[0]
        for path in paths
        if path.startswith(site) and ".." not in path.split("/")
    }
    return {
        name.partition(".")[0] for name in names
        if not name.endswith((".dist-info", ".libs", ".data")) and not name.startswith(".")
    }  # fmt: skip
