"""A proxy of Go modules (go.dev/ref/mod#goproxy-protocol) on loopback, with the stand-ins' modules.

Their sources lie in ``standins/gomodules``; zips are the same bytes on every machine.
"""

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

from tests.serving import serving

HERE = Path(__file__).parent / "standins" / "gomodules"
MODULES = {
    "etcdclient": ("example.test/standin/etcdclient/v3", "v3.5.21"),
    "Words": ("example.test/StandIn/Words", "v1.2.0"),
}
"""Folder -> the module's path and version."""


def module_zip(module: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """A module's zip (golang.org/x/mod/zip): all files below ``module@version/``."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(f"{module}@{version}/{name}"), data)
    return made.getvalue()


def standin_modules() -> dict[str, bytes]:
    """The files of the stand-ins' modules, by their places below a proxy."""
    found = {}
    for folder, (module, version) in MODULES.items():
        files = {path.name: path.read_bytes() for path in (HERE / folder).iterdir()}
        # Written out: what kvpack makes of a path is under test.
        escaped = module.replace("StandIn/Words", "!stand!in/!words")
        found[f"{escaped}/@v/{version}.mod"] = files["go.mod"]
        found[f"{escaped}/@v/{version}.zip"] = module_zip(module, version, files)
    return found


@contextlib.contextmanager
def goproxy(files: Mapping[str, bytes], asked: list[str] | None = None) -> Iterator[str]:
    """Serve files by their places; yields the base URL.

    :param asked: gets the places that were asked for.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = unquote(self.path).strip("/")
            if asked is not None:
                asked.append(place)
            body = files.get(place)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_args: object) -> None:
            pass

    with serving(Handler) as base:
        yield base
