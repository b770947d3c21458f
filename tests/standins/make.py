"""git repositories of the stand-ins for Mooncake, NIXL, UCX and MoRI, the same on every machine.

Authors, dates and file modes are fixed, so a repository has the same commit hashes wherever it is
made, whoever makes it. What is in them is data: ``histories.toml`` and the folders beside it.
"""

import datetime as dt
import os
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HISTORIES: dict[str, dict[str, Any]] = tomllib.loads((HERE / "histories.toml").read_text("utf-8"))
_GIT = shutil.which("git") or "git"
_WHO = "Stand-in <stand-in@example.invalid>"
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_DEFAULT_HASH": "sha1",
    "LC_ALL": "C",
}
"""Nothing of the machine's configuration counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A bare repository that was made, and the submodules' beside it."""

    name: str
    place: str
    """Its path below a server's root, as upstream's below the forge: ``ROCm/mori.git``."""
    path: Path
    commits: Mapping[str, str]
    """Nickname (its layer's name: ``address-range``) -> hash, oldest first."""
    tags: Mapping[str, str]
    """Tag -> hash of the commit; the tags are annotated."""
    submodules: Mapping[str, "Repository"]

    @property
    def head(self) -> str:
        return list(self.commits.values())[-1]


def make_repository(name: str, target: Path) -> Repository:
    """Make a repository and its submodules' as ``target/<place>``; serve ``target`` for clones.

    A repository that is there already is made anew, with the same hashes. URLs of submodules are
    relative, so they hold below any server; plain files suffice (git's dumb protocol).
    """
    history = HISTORIES[name]
    submodules = {
        path: make_repository(other, target)
        for path, other in history.get("submodules", {}).items()
    }
    bare = target / history["place"]
    shutil.rmtree(bare, ignore_errors=True)
    bare.parent.mkdir(parents=True, exist_ok=True)
    git(target, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(bare))
    marks = bare / "marks"
    stream = b"".join(_stream(name, history, submodules))
    git(bare, "fast-import", "--quiet", f"--export-marks={marks.name}", stdin=stream)
    hashes = dict(line.split() for line in marks.read_text().splitlines())
    marks.unlink()
    git(bare, "update-server-info")
    rows = [(row, hashes[f":{mark}"]) for mark, row in enumerate(history["commits"], 1)]
    return Repository(
        name=name,
        place=history["place"],
        path=bare,
        commits={row["layer"]: commit for row, commit in rows},
        tags={row["tag"]: commit for row, commit in rows if "tag" in row},
        submodules=submodules,
    )


def submodules_at(made: Repository, tag: str) -> dict[str, Repository]:
    """The submodules that a tag has, by path."""
    row = next(row for row in HISTORIES[made.name]["commits"] if row.get("tag") == tag)
    return {
        path: one for path, one in made.submodules.items() if path not in row.get("without", ())
    }


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    """Run git as it would run on any machine; gives what it prints."""
    done = subprocess.run(
        [_GIT, *words], cwd=folder, input=stdin, check=True, capture_output=True,
        env={**_ENVIRONMENT, "PATH": os.environ.get("PATH", "")},
    )  # fmt: skip
    return done.stdout.decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A file of a tree, or the commit of a submodule."""

    content: bytes = b""
    executable: bool = False
    commit: str = ""

    def command(self, path: str) -> bytes:
        """What puts it at a path of the tree: git-fast-import(1), "filemodify"."""
        if self.commit:
            return f"M 160000 {self.commit} {path}\n".encode()
        mode = "100755" if self.executable else "100644"
        return f"M {mode} inline {path}\n".encode() + _data(self.content)


def _stream(
    name: str, history: Mapping[str, Any], submodules: Mapping[str, Repository]
) -> Iterator[bytes]:
    """Commands for git-fast-import(1): every commit with its whole tree, then its tag."""
    files: dict[str, _Entry] = {}
    for mark, row in enumerate(history["commits"], 1):
        within = {p: one for p, one in submodules.items() if p not in row.get("without", ())}
        if within:
            files |= {path: _Entry(commit=one.head) for path, one in within.items()}
            files[".gitmodules"] = _Entry(content=_gitmodules(history["place"], within))
        for path in row.get("remove", ()):
            del files[path]
        files |= _layer(HERE / name / row["layer"])
        who = f"{_WHO} {_seconds(row['date'])} +0000"
        message = row.get("message", f"Stand-in for {name}: {row['layer']}")
        yield f"commit refs/heads/main\nmark :{mark}\nauthor {who}\ncommitter {who}\n".encode()
        yield _data(message.encode()) + b"deleteall\n"
        yield from (entry.command(path) for path, entry in sorted(files.items()))
        if "tag" in row:
            yield f"tag {row['tag']}\nfrom :{mark}\ntagger {who}\n".encode()
            yield _data(f"Stand-in for {name}: {row['tag']}".encode())


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _layer(folder: Path) -> dict[str, _Entry]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {
        path.relative_to(folder).as_posix(): _Entry(
            content=path.read_bytes(), executable=bool(path.stat().st_mode & stat.S_IXUSR)
        )
        for path in paths
    }


def _gitmodules(place: str, submodules: Mapping[str, Repository]) -> bytes:
    up = "../" * len(Path(place).parts)
    rows = [
        f'[submodule "{path}"]\n\tpath = {path}\n\turl = {up}{one.place}\n'
        for path, one in submodules.items()
    ]
    return "".join(rows).encode()


def _seconds(date: dt.date) -> int:
    """Noon of that day, UTC, since the epoch."""
    noon = dt.datetime.combine(date, dt.time(12), dt.UTC)
    return int(noon.timestamp())
