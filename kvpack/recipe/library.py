"""Native libraries: recipes whose result other recipes build with. Pure values.

A library is built once per architecture, accelerator and builder root, by steps alone; what lies
below its prefix afterwards is laid over the roots of the recipes that name it, and its action is
part of theirs.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from kvpack.base import Name, Value
from kvpack.names import PREFIX_PATTERN
from kvpack.recipe.steps import Limited
from kvpack.recipe.versions import WheelVersion

TAKEN = ("clang", "debian", "kvpack", "python", "rh")
"""Folders of ``/opt`` that builder roots have: Pythons, tools, the compilers of PyPA's images,
Debian packages beside an image."""


def _free(prefix: str) -> str:
    if prefix.removeprefix("/opt/") in TAKEN:
        raise ValueError(f"{prefix!r} is a folder of builder roots: choose another name")
    return prefix


class Library(Value):
    """Where a native library lies."""

    prefix: Annotated[str, Field(pattern=PREFIX_PATTERN), AfterValidator(_free)]
    """The folder that its steps install into; ``$PREFIX`` in them. A folder of its own below
    ``/opt``, so that libraries cannot write over each other or over the root."""


class LibraryUse(Limited):
    """A native library that a build needs."""

    name: Name
    """Of its recipe."""
    version: WheelVersion


def clashes(placed: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Two libraries at one prefix, and the prefix: they would write over each other.

    :param placed: name and prefix of each library of one build.
    """
    first: dict[str, str] = {}
    for name, prefix in placed:
        if first.setdefault(prefix, name) != name:
            yield first[prefix], name, prefix


OF_WHEELS = {
    "": ("audit", "identity", "prove", "host", "runtime", "requirements"),
    "build.": (
        *("requires", "config_settings", "repaired", "package", "generated", "rename", "pure"),
        "go",
    ),
}
"""Keys that say something of a wheel alone, by their table."""


def library_fault(
    is_library: bool,  # noqa: FBT001
    *,
    distribution: bool,
    python: bool,
    steps: bool,
    named: Collection[str] = (),
) -> str:
    """Why a recipe is neither a wheel's nor a library's; empty: it is one of them.

    :param named: the keys that it has, those of ``build`` with ``build.`` before them.
    """
    if not is_library:
        if not distribution:
            return "[distribution] is missing: a wheel has project names, a library [library]"
        return "" if python else "targets.python is missing: a wheel is built for a Python"
    if distribution:
        return "[library] and [distribution] exclude each other: a library is no wheel"
    if python:
        return "targets.python: a native library has no Python"
    of_wheels = [f"{table}{key}" for table, keys in OF_WHEELS.items() for key in keys]
    if foreign := [key.replace("_", "-") for key in of_wheels if key in named]:
        return f"{', '.join(foreign)}: of a wheel, and a native library is none"
    return "" if steps else "build.steps is missing: nothing would be installed into the prefix"
