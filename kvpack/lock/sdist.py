"""What a source says about itself: back end, build requirements, run-time requirements."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from kvpack.errors import ResolutionFailed
from kvpack.lock.source import LockedSubmodule


@dataclass(frozen=True, kw_only=True)
class Sdist:
    """A source archive that was found and read."""

    file: str
    path: str
    sha256: str
    size: int
    epoch: int
    pyproject: bytes | None
    pkg_info: bytes | None
    wraps: Mapping[str, bytes] = field(default_factory=dict)
    """The ``.wrap`` files beside pyproject.toml, in ``subprojects``, by name."""


@dataclass(frozen=True, kw_only=True)
class GitTree:
    """The tree of a commit that was found and read."""

    commit: str
    tree: str
    submodules: tuple[LockedSubmodule, ...]
    content: Sdist
    """Its canonical tar."""


def read_build_system(sdist: Sdist) -> tuple[str, tuple[str, ...]]:
    """Back end and its requirements (PEP 518); setuptools where nothing is said (PEP 517).

    :raises ResolutionFailed: if pyproject.toml is not TOML, or does not follow the PEPs.
    """
    system = _table(sdist, "build-system")
    backend = str(system.get("build-backend", "setuptools.build_meta:__legacy__"))
    requires = _texts(sdist, "build-system.requires", system.get("requires", _PEP_517))
    for text in requires:
        _requirement(sdist, text)
    return backend, tuple(sorted(requires))


def read_run_requires(sdist: Sdist) -> tuple[str, ...]:
    """Run-time requirements without extras: from pyproject.toml (PEP 621), else from PKG-INFO."""
    project = _table(sdist, "project")
    if "dependencies" in project:
        found = _texts(sdist, "project.dependencies", project["dependencies"])
    else:
        headers = BytesParser().parsebytes(sdist.pkg_info or b"")
        found = headers.get_all("Requires-Dist") or []
    kept = [text for text in found if "extra" not in str(_requirement(sdist, text).marker or "")]
    return tuple(sorted({" ".join(text.split()) for text in kept}))


_PEP_517 = ["setuptools>=40.8.0"]
"""What a source that says nothing is built with."""


def _table(sdist: Sdist, name: str) -> dict[str, Any]:
    found = _pyproject(sdist).get(name, {})
    if not isinstance(found, dict):
        raise _malformed(sdist, f"{name} is not a table")
    return found


def _texts(sdist: Sdist, name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _malformed(sdist, f"{name} is not a list of strings")
    return value


def _pyproject(sdist: Sdist) -> dict[str, Any]:
    try:
        return tomllib.loads((sdist.pyproject or b"").decode())
    except (ValueError, RecursionError) as error:  # also no UTF-8, numbers too long
        raise _malformed(sdist, str(error)) from None


def _malformed(sdist: Sdist, what: str) -> ResolutionFailed:
    return ResolutionFailed(
        f"{sdist.file}: pyproject.toml cannot be read: {what}",
        cause="the sdist is damaged or was made by hand",
        hint="report it upstream; such a source cannot be locked",
    )


def _requirement(sdist: Sdist, text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise ResolutionFailed(
            f"{sdist.file}: requirement {text!r} is not one (PEP 508)",
            cause=str(error).splitlines()[0],
            hint="report it upstream; such a source cannot be locked",
        ) from None
