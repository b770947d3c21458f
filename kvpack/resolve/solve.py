"""One solution for a question, from declared indexes in their order: asks uv.

uv stops at the first index that has a project (``first-index``), so that a higher version elsewhere
never wins over a declared source (dependency confusion; uv's documentation, "Searching across
multiple indexes").
"""

import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag

from kvpack.base import Text, Value
from kvpack.errors import FetchFailed, ResolutionFailed
from kvpack.names import normalize, version_key
from kvpack.report import Reporter
from kvpack.resolve.choose import Ask
from kvpack.resolve.wheels import best
from kvpack.tools import uv
from kvpack.tools.process import Command, run
from kvpack.tools.web import redact

_NEWEST_UV_PLATFORM = "2.40"
"""The newest glibc that uv's ``--python-platform`` knows; wheels for it load on newer ones."""
_SILENT_SERVER = ("Failed to fetch", "error sending request", "operation timed out")
"""uv's words for an index that does not answer."""


class Pick(Value):
    """One distribution of a solution: exactly one wheel."""

    name: Text
    """Normalized project name."""
    version: Text
    file: Text
    url: Text
    """May hold credentials: redact it before it is shown or written."""
    sha256: Text
    uploaded: str = ""
    """Time of upload (RFC 3339), where the index tells."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where distributions may come from, in order."""

    default: str
    """The machine's own index, asked last."""
    declared: Sequence[str] = ()
    """Simple indexes, first wins."""
    cert: str | None = None
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Place:
    """The environment that is resolved for: CPython on Linux."""

    python: str
    glibc: str
    arch: str
    tags: Sequence[Tag]

    @property
    def platform(self) -> str:
        glibc = min(self.glibc, _NEWEST_UV_PLATFORM, key=version_key)
        return f"{self.arch}-manylinux_{glibc.replace('.', '_')}"

    def __str__(self) -> str:
        return f"Python {self.python}, glibc {self.glibc}, {self.arch}"


def solve(ask: Ask, place: Place, sources: Sources, reporter: Reporter) -> tuple[Pick, ...]:
    """All wheels of a solution, sorted by name.

    :raises ResolutionFailed: with uv's own chain of reasons.
    :raises FetchFailed: if an index does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="kvpack-") as name:
        folder = Path(name)
        output = folder / "pylock.kvpack.toml"
        (folder / "excludes.txt").write_text("\n".join(ask.excludes), encoding="utf-8")
        (folder / "constraints.txt").write_text("\n".join(ask.constraints), encoding="utf-8")
        command = Command(
            args=_arguments(place, folder, output, offline=sources.offline),
            environment={
                **uv.environment(sources.cert),
                "UV_DEFAULT_INDEX": sources.default,
                "UV_INDEX": " ".join(sources.declared),
            },
            stdin="\n".join(ask.requires).encode(),
        )
        result = run(command, reporter)
        if result.code != 0:
            raise _no_solution(ask, place, redact(result.errors))
        raw = tomllib.loads(output.read_text(encoding="utf-8"))
    return tuple(_pick(one, place) for one in raw.get("packages", []))


def _arguments(place: Place, folder: Path, output: Path, *, offline: bool) -> list[str]:
    args = [uv.program(), "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"]
    args += ["--python", sys.executable]  # any will do: the markers are told
    args += ["--only-binary", ":all:", "--no-sources", "--no-config", "--system-certs"]
    args += ["--index-strategy", "first-index", "--python-version", place.python]
    args += ["--python-platform", place.platform, "--output-file", str(output)]
    args += ["--excludes", str(folder / "excludes.txt")]
    args += ["--constraints", str(folder / "constraints.txt")]
    return [*args, "--offline"] if offline else args


def _pick(package: dict[str, Any], place: Place) -> Pick:
    name, version = normalize(package["name"]), str(package["version"])
    wheels = {_file(wheel): wheel for wheel in package.get("wheels", [])}
    file = best(wheels, version, list(place.tags))
    sha256 = None if file is None else wheels[file].get("hashes", {}).get("sha256")
    if file is None or sha256 is None:
        raise ResolutionFailed(
            f"{name} {version} has no {'sha256' if file else 'wheel'} for {place}",
            cause="its index serves no hashes (PEP 503)" if file else "uv chose it all the same",
            hint="name another index with --index, or another version in the intent",
        )
    wheel = wheels[file]
    uploaded = wheel.get("upload-time")
    return Pick(
        name=name,
        version=version,
        file=file,
        url=_address(wheel),
        sha256=sha256,
        uploaded="" if uploaded is None else uploaded.isoformat().replace("+00:00", "Z"),
    )


def _address(wheel: dict[str, Any]) -> str:
    if "url" in wheel:
        return str(wheel["url"])
    return Path(wheel["path"]).absolute().as_uri()


def _file(wheel: dict[str, Any]) -> str:
    named = wheel.get("name") or unquote(urlsplit(_address(wheel)).path).rpartition("/")[2]
    return str(named)


def _no_solution(ask: Ask, place: Place, errors: str) -> ResolutionFailed | FetchFailed:
    said = "uv says:\n  " + "\n  ".join(errors.strip().splitlines()[-20:])
    if any(words in errors for words in _SILENT_SERVER):
        return FetchFailed(
            "an index that versions come from does not answer",
            cause=said,
            hint="check pip's index-url, --index, proxies, or [registries.pypi] of kvpack.toml",
        )
    reasons = [f"  {line}" for line in (*ask.reasons, *(f"bound: {c}" for c in ask.constraints))]
    why = "\nkvpack asked for:\n" + "\n".join(f"  {one}" for one in ask.requires)
    why += "\nbecause of the families:\n" + "\n".join(reasons) if reasons else ""
    return ResolutionFailed(
        f"no set of wheels satisfies the intent ({place})",
        cause=said + why,
        hint="change the intent, or another --glibc, --python, --cuda; nothing was written",
    )
