"""Small original git repositories for tests, served by ``git http-backend`` on loopback."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from tests.serving import serving

GIT = shutil.which("git") or "git"
PATH = os.environ.get("PATH", "")
WHEN = 1_700_000_000


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    """Run git as a developer would, with a fixed name and time."""
    environment = {
        "PATH": PATH,
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "kvpack", "GIT_AUTHOR_EMAIL": "tests@example.invalid",
        "GIT_COMMITTER_NAME": "kvpack", "GIT_COMMITTER_EMAIL": "tests@example.invalid",
        "GIT_AUTHOR_DATE": f"{WHEN} +0000", "GIT_COMMITTER_DATE": f"{WHEN} +0000",
    }  # fmt: skip
    done = subprocess.run(
        [GIT, "-c", "protocol.file.allow=always", *words], cwd=folder, env=environment,
        input=stdin, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


class Repository:
    """A repository in a folder with a working tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main", "--template=")

    def git(self, *words: str, stdin: bytes = b"") -> str:
        return git(self.folder, *words, stdin=stdin)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(self, files: Mapping[str, str | bytes] | None = None, *, tag: str = "") -> str:
        """Commit everything that lies there; an annotated tag points at it."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=a change")
        if tag:
            self.git("tag", "--annotate", "--message=a release", tag)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def link(self, path: str, commit: str, url: str) -> None:
        """Record a submodule, whatever its URL; ``commit`` commits it."""
        modules = self.folder / ".gitmodules"
        before = modules.read_text() if modules.exists() else ""
        modules.write_text(f'{before}[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve the repositories below ``root`` by smart HTTP; yields the base URL."""

    class Handler(_Backend):
        project_root = root

    with serving(Handler) as base:
        yield base


class _Backend(BaseHTTPRequestHandler):
    """CGI for ``git http-backend`` (RFC 3875)."""

    project_root = Path()

    def do_GET(self) -> None:
        self._run(b"")

    def do_POST(self) -> None:
        self._run(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, *_args: object) -> None:
        pass

    def _run(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        environment = {
            "PATH": PATH,
            "GIT_PROJECT_ROOT": str(self.project_root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            [GIT, "http-backend"], input=body, env=environment, capture_output=True, check=False
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
