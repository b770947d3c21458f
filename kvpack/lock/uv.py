"""Which wheels satisfy requirements in an environment that is not this one: asks uv.

uv runs as a program (``uv pip compile``); what it found before is its preference, so that a new
lock keeps every version that still fits (``--upgrade-package`` frees one).
"""

import itertools
import re
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from kvpack.errors import FetchFailed, KvpackError, ResolutionFailed
from kvpack.lock.model import LockedWheel
from kvpack.names import Arch
from kvpack.report import Reporter
from kvpack.tools import uv
from kvpack.tools.process import Command, run
from kvpack.tools.web import redact

_LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
_NEWEST_PYTHON = 14
"""Minor version of the newest Python 3 that markers of a closure for any machine are tried on."""
_PLACE = re.compile(r"packages/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+$")
"""A file's place: the layout of PyPI's file store (warehouse, ``blake2b-256`` of the content)."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The environment that a closure is for. No architecture: any (pure wheels only)."""

    python: str
    glibc: str | None = None
    arch: str | None = None

    @property
    def platform(self) -> str | None:
        if self.glibc is None or self.arch is None:
            return None
        return uv.platform(self.glibc, self.arch)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What uv is asked: the requirements, where they must hold, and what may move."""

    requires: Sequence[str]
    environment: Environment
    keep: Sequence[LockedWheel] = ()
    """The versions to keep where they still satisfy the requirements."""
    upgrade: str | None = None
    """A project whose version may move."""


def place_of(url: str) -> str | None:
    """The place in the registry that a file's URL ends with, or ``None`` on a foreign layout."""
    match = _PLACE.search(unquote(urlsplit(url).path))
    return match.group() if match else None


@dataclass(frozen=True, kw_only=True)
class Index:
    """The one index that new versions come from."""

    url: str
    """Of the simple index; credentials in it are never printed."""
    cert: str | None = None
    """CA bundle that pip's configuration names; the system's store counts anyway."""


def resolve(question: Question, index: Index, reporter: Reporter) -> tuple[LockedWheel, ...]:
    """The complete closure of the requirements, wheels only, sorted by file name.

    :raises ResolutionFailed: with uv's own explanation.
    :raises FetchFailed: if the index does not answer.
    :raises ToolFailed: if uv cannot use its cache; DiskFull, if there is no space for it.
    """
    with tempfile.TemporaryDirectory(prefix="kvpack-") as folder:
        output = Path(folder) / "pylock.kvpack.toml"
        if question.keep:
            output.write_text(_preferences(question.keep), encoding="utf-8")
        args = _arguments(question, index.url, output)
        command = Command(
            args=args,
            environment=uv.environment(index.cert),
            stdin="\n".join(question.requires).encode(),
            args_shown=[arg if arg != index.url else "<index>" for arg in args],
        )
        result = run(command, reporter)
        if result.code != 0:
            raise _no_solution(question, redact(result.errors))
        raw = tomllib.loads(output.read_text(encoding="utf-8"))
    return tuple(sorted(_wheels(raw, question), key=lambda wheel: wheel.file))


def _arguments(question: Question, index: str, output: Path) -> list[str]:
    environment = question.environment
    args = [*uv.compile_wheels(environment.python, output), "--default-index", index]
    if environment.platform:
        args += ["--python-platform", environment.platform]
    else:
        args += ["--universal"]
    if question.upgrade:
        args += ["--upgrade-package", question.upgrade]
    return args


def _preferences(keep: Sequence[LockedWheel]) -> str:
    rows = [
        f'[[packages]]\nname = "{wheel.project}"\nversion = "{wheel.version}"' for wheel in keep
    ]
    return "\n".join(['lock-version = "1.0"', 'created-by = "kvpack"', *rows]) + "\n"


def _wheels(raw: dict[str, Any], question: Question) -> list[LockedWheel]:
    found = []
    for package in raw.get("packages", []):
        wheels = package.get("wheels", [])
        if question.environment.platform is None:
            if not _anywhere(package.get("marker"), question.environment.python):
                continue
            wheels = [wheel for wheel in wheels if wheel["url"].endswith("-none-any.whl")]
        if not wheels:
            raise ResolutionFailed(
                f"{package['name']} {package.get('version')} has no wheel for "
                f"{question.environment.platform or 'every platform'}",
                cause="its project publishes wheels for other platforms only",
                hint="ask for another version in build.requires of the recipe",
            )
        found.append(_locked(package, wheels[0]))
    return found


def _anywhere(marker: str | None, python: str) -> bool:
    """Whether a marker holds on some Linux, from ``python`` on: not only on this machine's."""
    if marker is None:
        return True
    oldest = int(python.partition(".")[2])
    versions = [f"3.{minor}" for minor in range(oldest, max(oldest, _NEWEST_PYTHON) + 1)]
    cells = itertools.product(versions, Arch)
    return any(
        Marker(marker).evaluate(
            {
                **_LINUX,
                "python_version": version,
                "python_full_version": f"{version}.0",
                "platform_machine": arch.value,
            }
        )
        for version, arch in cells
    )


def _locked(package: dict[str, Any], wheel: dict[str, Any]) -> LockedWheel:
    url = str(wheel["url"])
    place, sha256 = place_of(url), wheel.get("hashes", {}).get("sha256")
    if place is None or sha256 is None:
        missing = "sha256" if place else "place (packages/ab/cd/…)"
        raise ResolutionFailed(
            f"the index gives no {missing} for {Path(unquote(urlsplit(url).path)).name}",
            cause="the index in use rewrites addresses or serves no hashes (PEP 503)",
            hint="lock against an index that mirrors PyPI's layout: PIP_INDEX_URL=… kvpack lock",
        )
    return LockedWheel(
        file=Path(place).name,
        project=canonicalize_name(package["name"]),
        version=str(package["version"]),
        path=place,
        sha256=sha256,
    )


def _no_solution(question: Question, errors: str) -> KvpackError:
    environment = question.environment
    if fault := uv.local_fault(errors):
        return fault
    if uv.is_unanswered(errors):
        return FetchFailed(
            "the index that versions come from does not answer",
            cause=uv.said(errors),
            hint="check pip's index-url and cert, proxies, or [registries.pypi] of kvpack.toml",
        )
    where = f"Python {environment.python}, {environment.platform or 'any platform'}"
    return ResolutionFailed(
        f"no set of wheels satisfies {', '.join(question.requires)} ({where})",
        cause=uv.said(errors),
        hint="change build.requires (of Go: build.go.toolchain) in the recipe, or look at the "
        "index: uv pip compile",
    )
