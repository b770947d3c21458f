"""An index (PEP 503) on loopback with files of its own; of other projects it names this machine's.

Its files lie where PyPI's store has them (``packages/ab/cd/…``, blake2b-256 of the content), so
that a lock can name their place.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from kvpack.fetch.registries import Registries
from kvpack.report import Silent
from tests.serving import serving


def own_index(root: Path) -> str:
    """The primary index of this machine, as pip and uv are configured."""
    with Registries(root, reporter=Silent()) as registries:
        return registries.pypi().index


class _Index(BaseHTTPRequestHandler):
    project = ""
    files: dict[str, bytes] = {}  # noqa: RUF012  # each server has a class of its own
    elsewhere = ""

    def do_GET(self) -> None:
        path = self.path.strip("/")
        if path == f"simple/{self.project}":
            links = (
                f'<a href="/{place}#sha256={hashlib.sha256(data).hexdigest()}">'
                f"{place.rpartition('/')[2]}</a>\n"
                for place, data in self.files.items()
            )
            self._answer(200, "".join(links).encode(), "text/html")
        elif path.startswith("simple/"):
            self._answer(302, b"", location=f"{self.elsewhere}/{path.removeprefix('simple/')}/")
        elif path in self.files:
            self._answer(200, self.files[path])
        else:
            self._answer(404, b"")

    do_HEAD = do_GET  # noqa: N815  # http.server's name; uv asks for a wheel's size before it reads its metadata

    def _answer(
        self, status: int, body: bytes, kind: str = "application/zip", location: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@contextlib.contextmanager
def index(project: str, files: Iterable[tuple[str, bytes]], elsewhere: str) -> Iterator[str]:
    """Serve one project's files.

    :param elsewhere: the index that has all other projects.
    :returns: the URL of the simple index.
    """

    class Handler(_Index):
        pass

    def place(name: str, data: bytes) -> str:
        digest = hashlib.blake2b(data, digest_size=32).hexdigest()
        return f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{name}"

    Handler.project, Handler.elsewhere = project, elsewhere
    Handler.files = {place(name, data): data for name, data in files}
    with serving(Handler) as base:
        yield f"{base}/simple"
