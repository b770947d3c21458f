"""Pages of a simple index: HTML (PEP 503) and JSON (PEP 691). No I/O."""

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.utils import InvalidSdistFilename, parse_sdist_filename
from packaging.version import Version

from kvpack.names import normalize
from kvpack.tools.web import Page, TryFailed, inherit_credentials

ACCEPT = (
    "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
)
"""What to ask an index for (PEP 691, "Version + Format Selection")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One file on a page."""

    url: str
    """Absolute, without fragment. It may hold the credentials of the page: redact it."""
    filename: str
    sha256: str | None
    """What the page says."""
    yanked: bool = False
    requires_python: str | None = None


def links_of(page: Page) -> tuple[Link, ...]:
    """Read all files that a page lists, in its order.

    :raises TryFailed: if it claims to be JSON and is none.
    """
    if page.content_type.endswith("json"):
        return tuple(_json_links(page))
    parser = _Anchors(page.url)
    parser.feed(page.text)
    parser.close()
    return tuple(parser.found)


def sdists_of(links: Iterable[Link]) -> dict[Version, Link]:
    """The source distributions of a listing: of each version the first."""
    found: dict[Version, Link] = {}
    for link in links:
        with contextlib.suppress(InvalidSdistFilename):
            found.setdefault(parse_sdist_filename(link.filename)[1], link)
    return found


def _link(page: str, base: str, href: str, attributes: dict[str, str | None]) -> Link:
    url, fragment = urldefrag(urljoin(base, href.strip()))
    algorithm, _, digest = fragment.partition("=")
    return Link(
        url=inherit_credentials(url, page),
        filename=unquote(urlsplit(url).path.rpartition("/")[2]),
        sha256=digest.lower() if algorithm == "sha256" and digest else None,
        yanked="data-yanked" in attributes,
        requires_python=attributes.get("data-requires-python") or None,
    )


class _Anchors(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self._page = self._base = page
        self.found: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        href = attributes.get("href")
        if not href:
            return
        if tag == "base":
            self._base = urljoin(self._page, href)
        elif tag == "a":
            try:
                self.found.append(_link(self._page, self._base, href, attributes))
            except ValueError:  # a link that is no URL leads nowhere
                return


def _json_links(page: Page) -> list[Link]:
    try:
        files = json.loads(page.text)["files"]
        return [_json_link(page.url, entry) for entry in files]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TryFailed(f"the page is no JSON of a simple index: {error!r}") from error


def _json_link(page: str, entry: dict[str, object]) -> Link:
    hashes = entry.get("hashes")
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    requires = entry.get("requires-python")
    url, _ = urldefrag(urljoin(page, str(entry["url"])))
    return Link(
        url=inherit_credentials(url, page),
        filename=str(entry["filename"]),
        sha256=str(digest).lower() if digest else None,
        yanked=bool(entry.get("yanked")),
        requires_python=str(requires) if requires else None,
    )


def is_of(filename: str, project: str) -> bool:
    """Whether a file of a mixed listing belongs to a project (PEP 427, PEP 625)."""
    wheel = filename.endswith(".whl")
    named = filename.partition("-")[0] if wheel else filename.rpartition("-")[0]
    return normalize(named) == project


def page_url(source: str) -> str:
    """The page of a ``find-links``, which may be a path."""
    return source if "://" in source else Path(source).absolute().as_uri()


def project_page(index: str, project: str) -> str:
    """The page of a project on an index, which may be a path."""
    return f"{page_url(index)}/{project}/"
