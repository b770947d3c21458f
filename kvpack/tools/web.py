"""The web as a port: what stages read through, and the words for what can come back.

``tools/http.py`` implements it. One failed try is one ``TryFailed``, whose reason is fit to be
shown: whoever tries several places collects them.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

PAGE_LIMIT = 32 << 20
"""Bytes that a page (an index of one project) may have."""


class TryFailed(Exception):  # named like the errors that it ends up in
    """One try at one URL failed. It never leaves the stage that tries the next one.

    :param reason: fit for users, without credentials.
    :param transient: whether the same try may work a moment later.
    :param status: the HTTP status, 0 where there was none.
    :param slow: whether it cost a time-out: the next try at the same place may cost another one.
    """

    def __init__(
        self, reason: str, *, transient: bool = False, status: int = 0, slow: bool = False
    ) -> None:
        super().__init__(redact(reason))
        self.reason = redact(reason)
        self.transient = transient
        self.status = status
        self.slow = slow


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpSettings:
    """How to reach a host. Unset means: from the environment (``*_PROXY``, ``SSL_CERT_FILE``)."""

    connect: float = 20.0
    """Seconds to wait for a connection."""
    read: float = 60.0
    """Seconds to wait between two reads."""
    cert: str | None = None
    """A file or folder of trusted certificates (pip's ``cert``)."""
    proxy: str | None = None
    """For all hosts; it replaces what the environment says (pip's ``proxy``)."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """An answer that is being read."""

    start: int
    """The offset of its first byte: what was asked for, or 0 where ranges are not served."""
    total: int | None
    """Bytes of the whole file, where the answer says so."""
    chunks: Iterator[bytes]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A small text: an index page."""

    url: str
    """Where it came from in the end: relative links are relative to this. May hold credentials."""
    text: str
    content_type: str
    """Lower-case media type without parameters."""


class Web(Protocol):
    """The port through which stages read from the web. Used from several threads."""

    def open(
        self, url: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractContextManager[Body]:
        """Start to read ``url``, from byte ``start`` if the server can.

        :param start: negative: so many bytes before the end (RFC 9110, suffix range).
        :param stop: the first byte that is not wanted; more may come all the same.
        :raises TryFailed: also while the chunks are read; status 416: it cannot start there.
        """
        ...

    def close(self) -> None:
        """Give the connections back; a later call opens new ones."""
        ...

    def text(self, url: str, *, accept: str = "*/*", limit: int = PAGE_LIMIT) -> Page:
        """Read a whole page. A folder of a ``file`` URL answers its index.html or its listing.

        :raises TryFailed: also if the page has more than ``limit`` bytes.
        """
        ...


def redact(text: str) -> str:
    """``text`` with the credentials of every URL in it hidden."""
    return re.sub(r"(?<=//)[^/@\s'\"<>?#]+@", "***@", text)


def encode_path(path: str) -> str:
    """Percent-encode a path for a URL, whether or not it is encoded already.

    A plus is encoded too: object storage that serves Debian mirrors reads a bare one as a space.
    """
    return quote(unquote(path), safe="/~:@!$&'()*,;=")


def parse(url: str) -> SplitResult:
    """Split a URL into its parts.

    :raises TryFailed: if it is none.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise TryFailed(f"not a URL: {error}") from error
    return parts


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """Part a URL from its userinfo, given as (user, password)."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return bare, (unquote(user), unquote(password))


def inherit_credentials(url: str, page: str) -> str:
    """``url`` with the userinfo of ``page``, where that is on the same host and port.

    The page of an index that needs a password links to files that need it too.
    """
    link, source = urlsplit(url), urlsplit(page)
    userinfo, at, host = source.netloc.rpartition("@")
    if not at or "@" in link.netloc or (link.scheme, link.netloc) != (source.scheme, host):
        return url
    return urlunsplit(link._replace(netloc=f"{userinfo}@{host}"))
