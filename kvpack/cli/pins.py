"""What the words of ``kvpack conflicts`` pin: name==version, requirements files, pylocks."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import Package, PackageWheel, Pylock, PylockValidationError
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from kvpack.errors import ResolutionFailed, UsageError
from kvpack.names import SHA256_PATTERN
from kvpack.resolve.environment import Environment
from kvpack.resolve.wheels import best

_HELP = "kvpack conflicts --help"


@dataclass(frozen=True)
class Pin:
    """A distribution at one version, with its wheel's address where a lock names it."""

    name: str
    version: str
    url: str = ""
    sha256: str = ""
    """Of the wheel, where something names it."""
    brought_by: str = field(default="", compare=False)
    """The requirement and its place, for messages."""
    hashes: frozenset[str] = field(default=frozenset(), compare=False)
    """The sha256 digests that a requirement admits; empty: any."""

    @property
    def filename(self) -> str:
        """Of the wheel; empty where no address is known."""
        return _file_of(self.url)

    @property
    def path(self) -> Path | None:
        """Where the wheel lies on this machine; ``None`` if it is elsewhere."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None


def pins_of(text: str, place: str, environment: Environment) -> Iterator[Pin]:
    """The pin of one requirement; none if its marker excludes it.

    :raises UsageError: if it pins no version.
    """
    try:
        requirement = Requirement(text)
        pin = _pin(requirement)
        wanted = environment.wants(requirement.marker)
    except (
        *(InvalidRequirement, InvalidVersion, InvalidWheelFilename, ValueError),
        *(UndefinedComparison, UndefinedEnvironmentName),
    ):
        raise UsageError(
            f"{place}: {text!r} does not pin a version",
            cause="the proof is about wheels, so each distribution needs exactly one version",
            hint="write name==version; uv pip compile pins a whole set",
        ) from None
    if wanted:
        yield replace(pin, brought_by=text if place == "SPEC" else f"{place}: {text}")


def _pin(requirement: Requirement) -> Pin:
    """:raises ValueError: if it pins nothing."""
    if requirement.url:
        _, version, _, _ = parse_wheel_filename(_file_of(requirement.url))
        url, sha256 = split_digest(requirement.url)
        return Pin(canonicalize_name(requirement.name), str(version), url, sha256)
    (spec,) = requirement.specifier
    if spec.operator not in {"==", "==="}:
        raise ValueError(spec.operator)
    return Pin(canonicalize_name(requirement.name), str(Version(spec.version)))


def split_digest(url: str) -> tuple[str, str]:
    """A URL without its fragment, and the sha256 that the fragment names (PEP 503)."""
    bare, _, fragment = url.partition("#")
    found = re.search(r"(?:^|&)sha256=([0-9A-Fa-f]{64})(?:&|$)", fragment)
    return bare, found[1].lower() if found else ""


def _file_of(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


# -- requirements files -----------------------------------------------------------------------


def requirements(
    path: Path, environment: Environment, above: tuple[Path, ...] = ()
) -> Iterator[Pin]:
    """The pins of a requirements file and of those it includes; other options do not matter.

    :raises UsageError: if it cannot be read or a line pins nothing.
    """
    if path.resolve() in above:
        return
    for number, line in _lines(_text(path, "a requirements file")):
        words = re.sub(r"\s--(hash|config-settings?)[=\s]\S+", "", line).strip()
        place = f"{path}, line {number}"
        if included := re.fullmatch(r"(?:-r|--requirement(?=[=\s]))[=\s]*(.+)", words):
            yield from requirements(
                path.parent / included[1], environment, (*above, path.resolve())
            )
        elif words and (not words.startswith("-") or re.match(r"(-e|--editable)\b", words)):
            hashes = frozenset(re.findall(r"\s--hash[=\s]sha256:([0-9a-f]{64})\b", line))
            for pin in pins_of(words, place, environment):
                only = next(iter(hashes)) if len(hashes) == 1 and pin.url else ""
                yield replace(pin, hashes=hashes, sha256=pin.sha256 or only)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines without comments, with the number of their first line."""
    start, pending = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            pending += line[:-1] + " "
            continue
        yield start, pending + re.sub(r"(^|\s)#.*$", "", line)
        start, pending = 0, ""
    yield start, pending


def _text(path: Path, kind: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", hint=_HELP) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}", hint=f"name {kind}") from None


# -- pylocks ----------------------------------------------------------------------------------


def pylock(path: Path, environment: Environment) -> Iterator[Pin]:
    """The packages of a pylock (PEP 751), each with the wheel that fits.

    :raises UsageError: if it is none.
    :raises ResolutionFailed: if no wheel of a package fits.
    """
    lock = _read_pylock(path)
    groups = frozenset(lock.default_groups or ())
    for package in lock.packages:
        if environment.wants(package.marker, extras=frozenset(), dependency_groups=groups):
            yield _locked(package, path, environment)


def _locked(package: Package, path: Path, environment: Environment) -> Pin:
    wheels = {_name_of(wheel): wheel for wheel in package.wheels or ()}
    version = str(package.version or "")
    name = best(wheels, version, environment.tags) if version else None
    if name is None:
        raise ResolutionFailed(
            f"{path}: {package.name} {version} has no wheel for {environment}",
            cause=f"it offers {', '.join(sorted(wheels)[:6]) or 'no wheel'}",
            hint="choose the environment with --python, --glibc, --arch",
        )
    wheel = wheels[name]
    if wheel.path is not None:
        url = (path.parent / wheel.path).absolute().as_uri()
    else:
        url = urljoin(path.absolute().as_uri(), wheel.url or "")
    digest = str(wheel.hashes.get("sha256", "")).lower()
    return Pin(
        *(package.name, str(parse_wheel_filename(name)[1]), url),
        sha256=digest if re.fullmatch(SHA256_PATTERN, digest) else "",
        brought_by=f"{path}: {package.name}",
    )


def _name_of(wheel: PackageWheel) -> str:
    if wheel.name:
        return wheel.name
    return Path(wheel.path).name if wheel.path else _file_of(wheel.url or "")


def _read_pylock(path: Path) -> Pylock:
    text = _text(path, "a pylock")
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="a pylock is TOML: PEP 751") from None
    try:
        return Pylock.from_dict(raw)
    except PylockValidationError as error:
        raise UsageError(
            f"{path} is not a pylock: {error}",
            hint="uv export --format pylock.toml writes one (PEP 751)",
        ) from None
