"""Reading by HTTP(S) and from disk: the only import of httpx2 in kvpack.

httpx2 costs 0.2 s to import, so it is imported when the first ``http`` URL is opened.
"""

import contextlib
import html
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from kvpack.errors import ConfigInvalid, Fault
from kvpack.tools.web import (
    PAGE_LIMIT,
    Body,
    HttpSettings,
    Page,
    TryFailed,
    inherit_credentials,
    parse,
    redact,
    split_credentials,
)

if TYPE_CHECKING:
    import ssl

    import httpx2

CHUNK = 1 << 18
"""Bytes read at a time from a local file."""
AGENT = "kvpack"
_TRANSIENT = frozenset({408, 425, 429})


class Http:
    """``Web`` by HTTP(S) and from disk (``file`` URLs). Thread-safe.

    :param settings: time-outs, trust store, proxy.
    :param environment: where ``NETRC`` and ``HOME`` are read from.
    """

    def __init__(self, settings: HttpSettings, *, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._client: httpx2.Client | None = None
        self._guard = threading.Lock()

    def close(self) -> None:
        """Give the connections back."""
        with self._guard:
            if self._client is not None:
                self._client.close()
            self._client = None

    @contextlib.contextmanager
    def open(self, url: str, *, start: int = 0, stop: int | None = None) -> Iterator[Body]:
        if parse(url).scheme == "file":
            with _open_file(url, start, stop) as body:
                yield body
            return
        # No transfer coding: what is hashed is the file, not a server's compression of it.
        headers = {"Accept-Encoding": "identity"}
        if start < 0:
            headers["Range"] = f"bytes={start}"
        elif start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        with self._stream(url, headers) as response:
            if response.status_code == 206:  # noqa: PLR2004  # Partial Content
                begin, total = _content_range(response.headers.get("Content-Range", ""), start)
            else:
                length = response.headers.get("Content-Length", "")
                begin, total = 0, int(length) if length.isdecimal() else None
            yield Body(start=begin, total=total, chunks=response.iter_raw())

    def text(self, url: str, *, accept: str = "*/*", limit: int = PAGE_LIMIT) -> Page:
        if parse(url).scheme == "file":
            return _file_page(url, limit)
        with self._stream(url, {"Accept": accept}) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > limit:
                    raise TryFailed(f"the page is longer than {limit} bytes")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            encoding = response.charset_encoding or "utf-8"
            with contextlib.suppress(LookupError):
                return Page(
                    url=inherit_credentials(str(response.url), url),
                    text=data.decode(encoding, errors="replace"),
                    content_type=kind,
                )
            raise TryFailed(f"the page claims the unknown encoding {encoding!r}")

    @contextlib.contextmanager
    def _stream(self, url: str, headers: dict[str, str]) -> Iterator["httpx2.Response"]:
        """Open an answer with a good status.

        :raises TryFailed: for every way in which the request can fail.
        """
        import httpx2  # noqa: PLC0415  # see the module's docstring

        bare, credentials = split_credentials(url)
        problem = ""
        if credentials is None:
            credentials, problem = self._from_netrc(parse(bare).hostname or "")
        auth = httpx2.BasicAuth(*credentials) if credentials else None
        try:
            with self._ready().stream("GET", bare, headers=headers, auth=auth) as response:
                if response.status_code not in {200, 206}:
                    raise _bad_status(response.status_code, response.reason_phrase, problem)
                yield response
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> TryFailed:
        import httpx2  # noqa: PLC0415

        text = str(error) or type(error).__name__
        if isinstance(error, httpx2.ConnectTimeout):
            reason = f"no connection within {self._settings.connect:g} s"
            return TryFailed(reason, transient=True, slow=True)
        if isinstance(error, httpx2.TimeoutException):
            reason = f"nothing came for {self._settings.read:g} s"
            return TryFailed(reason, transient=True, slow=True)
        if isinstance(error, httpx2.ConnectError):
            return TryFailed(_connect_reason(text), transient="reset" in text.lower())
        cut = httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError | httpx2.CloseError
        if isinstance(error, cut):
            return TryFailed(f"the connection was cut: {text}", transient=True)
        if isinstance(error, httpx2.ProxyError):
            return TryFailed(f"the proxy refused: {text}")
        return TryFailed(text)

    def _from_netrc(self, host: str) -> tuple[tuple[str, str] | None, str]:
        """Look up the credentials for ``host``; the text says why netrc cannot be read."""
        import netrc  # noqa: PLC0415  # seldom needed

        named = self._environment.get("NETRC")
        path = Path(named or Path(self._environment.get("HOME", "/")) / ".netrc")
        try:
            found = netrc.netrc(str(path)).authenticators(host)
        except FileNotFoundError:
            return None, ""
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
            return None, f"; {path} cannot be read: {error}"
        return ((found[0], found[2]) if found else None), ""

    def _ready(self) -> "httpx2.Client":
        import httpx2  # noqa: PLC0415

        with self._guard:
            if self._client is None:
                wait = httpx2.Timeout(self._settings.read, connect=self._settings.connect)
                trust = _trust(self._settings.cert)
                try:
                    self._client = httpx2.Client(
                        headers={"User-Agent": AGENT},
                        timeout=wait,
                        follow_redirects=True,
                        verify=trust,
                        proxy=self._settings.proxy,
                    )
                except (ImportError, ValueError, httpx2.InvalidURL) as error:
                    raise _bad_proxy(self._settings.proxy, error) from error
            return self._client


def _bad_proxy(proxy: str | None, error: Exception) -> ConfigInvalid:
    named = redact(proxy) if proxy else "named by HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
    return ConfigInvalid(
        f"the proxy {named} cannot be used",
        cause=redact(str(error)),
        hint="name an http:// or https:// proxy",
        faults=[Fault(place="proxy", message=redact(str(error)))],
    )


def _trust(cert: str | None) -> "ssl.SSLContext | bool":
    """Load the certificates to trust; ``True``: those of the environment and the system.

    :raises ConfigInvalid: if ``cert`` names nothing readable.
    """
    import ssl  # noqa: PLC0415  # costs 10 ms

    if cert is None:
        return True
    try:
        if Path(cert).is_dir():
            return ssl.create_default_context(capath=cert)
        return ssl.create_default_context(cafile=cert)
    except OSError as error:
        reason = error.strerror or str(error)
        fault = Fault(place=f"pip's setting cert = {cert}", message=f"cannot be used: {reason}")
        raise ConfigInvalid(
            f"the certificates in {cert} cannot be read",
            cause=f"pip's configuration names them: {reason}",
            hint="mend it with: pip config set global.cert FILE",
            faults=[fault],
        ) from error


def _connect_reason(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"its certificate is not trusted ({text}); name your CA in pip's cert setting"
    return f"no connection: {text}"


def _bad_status(status: int, phrase: str, problem: str) -> TryFailed:
    reason = f"HTTP {status} {phrase}".rstrip()
    if status in {401, 403}:
        reason += f" (credentials: in the URL, or in ~/.netrc{problem})"
    return TryFailed(reason, transient=status >= 500 or status in _TRANSIENT, status=status)  # noqa: PLR2004


def _content_range(header: str, start: int) -> tuple[int, int | None]:
    """First offset and total size of a partial answer (RFC 9110, section 14.4)."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header.strip())
    if found is None or int(found[1]) != start >= 0:
        said = header or "no range"
        raise TryFailed(f"asked for bytes from {start}, it answered {said!r}", status=416)
    return int(found[1]), None if found[2] == "*" else int(found[2])


# -- file URLs ------------------------------------------------------------------------------


def _local_path(url: str) -> Path:
    parts = parse(url)
    if parts.netloc not in {"", "localhost"}:
        raise TryFailed(f"a file URL cannot name the host {parts.netloc!r}")
    return Path(unquote(parts.path))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        status = 404 if absent else 0
        raise TryFailed(f"{path}: {error.strerror or error}", status=status) from error


@contextlib.contextmanager
def _open_file(url: str, start: int, stop: int | None) -> Iterator[Body]:
    path = _local_path(url)
    with contextlib.ExitStack() as stack:
        with _reading(path):
            stream = stack.enter_context(path.open("rb"))
            total = path.stat().st_size
        start = max(total + start, 0) if start < 0 else start
        if start > total:
            raise TryFailed(f"{path} has only {total} bytes", status=416)
        stream.seek(start)

        def chunks() -> Iterator[bytes]:
            left = total if stop is None else stop - start
            with _reading(path):
                while chunk := stream.read(min(CHUNK, left)):
                    left -= len(chunk)
                    yield chunk

        yield Body(start=start, total=total, chunks=chunks())


def _file_page(url: str, limit: int) -> Page:
    path = _local_path(url)
    with _reading(path):
        if path.is_dir() and (path / "index.html").is_file():
            path = path / "index.html"
        if path.is_dir():
            names = sorted(child.name for child in path.iterdir())
            text = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
        elif path.stat().st_size > limit:
            raise TryFailed(f"the page is longer than {limit} bytes")
        else:
            text = path.read_bytes().decode(errors="replace")
    base = path.as_uri() + "/" if path.is_dir() else path.as_uri()
    kind = "application/vnd.pypi.simple.v1+json" if path.suffix == ".json" else "text/html"
    return Page(url=base, text=text, content_type=kind)
