"""One solution for a question, from declared indexes in their order: asks uv.

uv stops at the first index that has a project (``first-index``), so that a higher version elsewhere
never wins over a declared source (dependency confusion; uv's documentation, "Searching across
multiple indexes").
"""

import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kvpack.base import Text, Value
from kvpack.errors import FetchFailed, KvpackError, ResolutionFailed
from kvpack.names import normalize
from kvpack.report import Reporter
from kvpack.resolve.choose import Ask
from kvpack.resolve.environment import Environment
from kvpack.resolve.wheels import best
from kvpack.tools import uv
from kvpack.tools.process import Command, run
from kvpack.tools.web import redact


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


def solve(
    ask: Ask, environment: Environment, sources: Sources, reporter: Reporter
) -> tuple[Pick, ...]:
    """All wheels of a solution, sorted by name.

    :raises ResolutionFailed: with uv's own chain of reasons.
    :raises FetchFailed: if an index does not answer.
    :raises ToolFailed: if uv cannot use its cache; DiskFull, if there is no space for it.
    """
    with tempfile.TemporaryDirectory(prefix="kvpack-") as name:
        folder = Path(name)
        output = folder / "pylock.kvpack.toml"
        (folder / "excludes.txt").write_text("\n".join(ask.excludes), encoding="utf-8")
        (folder / "constraints.txt").write_text("\n".join(ask.constraints), encoding="utf-8")
        command = Command(
            args=_arguments(environment, folder, output, offline=sources.offline),
            environment={
                **uv.environment(sources.cert),
                "UV_DEFAULT_INDEX": sources.default,
                "UV_INDEX": " ".join(sources.declared),
            },
            stdin="\n".join(ask.requires).encode(),
        )
        result = run(command, reporter)
        if result.code != 0:
            raise _no_solution(ask, environment, redact(result.errors))
        raw = tomllib.loads(output.read_text(encoding="utf-8"))
    return tuple(_pick(one, environment) for one in raw.get("packages", []))


def _arguments(environment: Environment, folder: Path, output: Path, *, offline: bool) -> list[str]:
    platform = uv.platform(environment.glibc, environment.arch)
    args = [*uv.compile_wheels(environment.python, output), "--python-platform", platform]
    args += ["--index-strategy", "first-index"]
    args += ["--excludes", str(folder / "excludes.txt")]
    args += ["--constraints", str(folder / "constraints.txt")]
    return [*args, "--offline"] if offline else args


def _pick(package: dict[str, Any], environment: Environment) -> Pick:
    name, version = normalize(package["name"]), str(package["version"])
    wheels = {_file(wheel): wheel for wheel in package.get("wheels", [])}
    file = best(wheels, version, environment.tags)
    sha256 = None if file is None else wheels[file].get("hashes", {}).get("sha256")
    if file is None or sha256 is None:
        raise ResolutionFailed(
            f"{name} {version} has no {'sha256' if file else 'wheel'} for {environment}",
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


def _no_solution(ask: Ask, environment: Environment, errors: str) -> KvpackError:
    if fault := uv.local_fault(errors):
        return fault
    said = uv.said(errors)
    if uv.is_unanswered(errors):
        return FetchFailed(
            "an index that versions come from does not answer",
            cause=said,
            hint="check pip's index-url, --index, proxies, or [registries.pypi] of kvpack.toml",
        )
    reasons = [f"  {line}" for line in (*ask.reasons, *(f"bound: {c}" for c in ask.constraints))]
    why = "\nkvpack asked for:\n" + "\n".join(f"  {one}" for one in ask.requires)
    why += "\nbecause of the families:\n" + "\n".join(reasons) if reasons else ""
    return ResolutionFailed(
        f"no set of wheels satisfies the intent ({environment})",
        cause=said + why,
        hint="change the intent, or another --glibc, --python, --cuda; nothing was written",
    )
