"""The pages of an index as text: PEP 503 HTML and PEP 691 JSON, from a listing alone.

Links are relative, so that a byte copy of a storage is a mirror. ``+`` is always ``%2B``: S3 reads
a bare one in a path as a space. Every page says in which state it last changed (``kvpack-serial``):
writers never replace a page of a later state.
"""

import functools
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kvpack.publish.channel import superseded
from kvpack.publish.model import EVIDENCE, Entry, Listing

API_VERSION = "1.1"
"""PEP 700: sizes, upload times and the list of versions."""
HTML_KIND = "text/html; charset=utf-8"
JSON_KIND = "application/vnd.pypi.simple.v1+json"
SERIAL_WITHIN = 4096
"""The first bytes of a page, which say of which state it is."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the kind that a host must answer with."""

    path: str
    kind: str
    data: bytes


def project_pages(folder: str, listing: Listing, serial: int) -> list[Page]:
    """Give the two pages of a project.

    :param folder: the index that they belong to: ``stable/cpu/simple``.
    """
    place = f"{folder}/{listing.project}"
    root = "../" * (place.count("/") + 1)
    yanked = {name: f"superseded by {instead}" for name, instead in superseded(listing).items()}
    look = (root, yanked)
    entries = sorted(listing.entries, key=lambda entry: entry.filename)
    return [
        Page(f"{place}/index.html", HTML_KIND, _project_html(listing, entries, look, serial)),
        Page(f"{place}/index.json", JSON_KIND, _project_json(listing, entries, look, serial)),
    ]


def root_pages(folder: str, projects: Iterable[str], serial: int) -> list[Page]:
    """Give the two pages that list the projects of an index."""
    names = sorted(projects)
    links = "".join(f'<a href="{quote(name)}/">{html.escape(name)}</a><br>\n' for name in names)
    document = {"meta": _meta(serial), "projects": [{"name": name} for name in names]}
    return [
        Page(f"{folder}/index.html", HTML_KIND, _html("Simple index", links, serial)),
        Page(f"{folder}/index.json", JSON_KIND, _json(document)),
    ]


def serial_of(data: bytes) -> int:
    """The state in which a page last changed; -1 if it is none of kvpack's."""
    found = re.search(rb"kvpack-serial\D{1,20}(\d+)", data[:SERIAL_WITHIN])
    return int(found[1]) if found else -1


def file_url(root: str, path: str) -> str:
    return root + _quoted(path)


@functools.lru_cache(maxsize=1 << 15)
def _quoted(path: str) -> str:
    """Quote a path; each is on three pages, and a project may have thousands."""
    return quote(path, safe="/")


Look = tuple[str, dict[str, str]]
"""The way up to the storage's root, and why files are yanked."""


def _project_html(listing: Listing, entries: list[Entry], look: Look, serial: int) -> bytes:
    root, yanked = look
    lines = [f"<h1>Links for {html.escape(listing.project)}</h1>\n"]
    for entry in entries:
        digest = f"sha256={entry.metadata}"
        attributes = {"data-core-metadata": digest, "data-dist-info-metadata": digest}
        if entry.requires_python:
            attributes["data-requires-python"] = entry.requires_python
        if entry.filename in yanked:
            attributes["data-yanked"] = yanked[entry.filename]
        shown = "".join(f' {key}="{html.escape(one)}"' for key, one in attributes.items())
        url = f"{file_url(root, entry.path)}#sha256={entry.sha256}"
        lines.append(f'<a href="{html.escape(url)}"{shown}>{html.escape(entry.filename)}</a><br>\n')
    return _html(f"Links for {listing.project}", "".join(lines), serial)


def _project_json(listing: Listing, entries: list[Entry], look: Look, serial: int) -> bytes:
    root, yanked = look
    files = []
    for entry in entries:
        metadata = {"sha256": entry.metadata}
        file: dict[str, Any] = {
            "filename": entry.filename,
            "url": file_url(root, entry.path),
            "hashes": {"sha256": entry.sha256},
            "size": entry.size,
            "upload-time": entry.uploaded,
            "core-metadata": metadata,
            "data-dist-info-metadata": metadata,
            "yanked": yanked.get(entry.filename, False),
        }
        if entry.requires_python:
            file["requires-python"] = entry.requires_python
        files.append(file)
    return _json(
        {
            "meta": _meta(serial),
            "name": listing.project,
            "versions": sorted({entry.version for entry in entries}),
            "files": files,
        }
    )


def _meta(serial: int) -> dict[str, Any]:
    # Keys that begin with an underscore are the index's own (PEP 691).
    return {"api-version": API_VERSION, "_kvpack-serial": serial}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _html(title: str, body: str, serial: int) -> bytes:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{API_VERSION}">\n'
        f'<meta name="kvpack-serial" content="{serial}">\n'
        f"<title>{html.escape(title)}</title>\n</head>\n<body>\n{body}</body>\n</html>\n"
    ).encode()


def evidence_links(root: str, entry: Entry) -> list[tuple[str, str]]:
    """Kind and URL of what lies beside a wheel."""
    wheel = file_url(root, entry.path)
    return [(kind, wheel + EVIDENCE[kind]) for kind in entry.evidence]
