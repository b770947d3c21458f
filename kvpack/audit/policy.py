"""The rules as data: auditwheel's manylinux table and kvpack's own ``policy.toml``.

auditwheel's code is never imported, only its JSON is read (its package ``__init__`` is empty).
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

from kvpack.errors import ToolFailed
from kvpack.names import Glibc, version_key

RELR = "GLIBC_ABI_DT_RELR"
"""The version by which glibc 2.36 says that it applies ``DT_RELR`` relocations."""
PRIVATE = "GLIBC_PRIVATE"
"""The version of glibc's own internals: no release promises it to anybody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One manylinux policy for one architecture."""

    floor: Glibc
    versions: frozenset[str]
    """Names of symbol versions that every host of this level offers: ``GLIBCXX_3.4.24``."""
    libraries: frozenset[str]
    """Sonames that every host of this level has."""


@cache
def rules() -> Mapping[str, Mapping[str, Any]]:
    """``policy.toml`` as it stands."""
    return tomllib.loads(resources.files("kvpack.audit").joinpath("policy.toml").read_text())


@cache
def levels(arch: str) -> tuple[Level, ...]:
    """Auditwheel's policies for ``arch``, lowest floor first; empty if it knows none.

    :raises ToolFailed: if the installed auditwheel holds no table of the known shape.
    """
    try:
        table = resources.files("auditwheel").joinpath("policy", "manylinux-policy.json")
        found = [
            _level(policy, policy["symbol_versions"][arch])
            for policy in json.loads(table.read_text())
            if arch in policy["symbol_versions"]
        ]
    except (ImportError, OSError, ValueError, KeyError, TypeError) as error:
        raise ToolFailed(
            f"auditwheel's manylinux-policy.json cannot be read: {error!r}",
            cause="the installed auditwheel is missing, damaged, or keeps its table elsewhere",
            hint="install auditwheel>=6.8 into the environment that runs kvpack",
        ) from error
    return tuple(sorted(found, key=lambda level: version_key(level.floor)))


def _level(policy: Mapping[str, Any], versions: Mapping[str, list[str]]) -> Level:
    floor = policy["name"].removeprefix("manylinux_").replace("_", ".")
    return Level(
        floor=Glibc(floor),
        versions=frozenset(f"{prefix}_{one}" for prefix, many in versions.items() for one in many),
        libraries=frozenset(policy["lib_whitelist"]),
    )


@cache
def _known_prefixes(arch: str) -> frozenset[str]:
    return frozenset(name.partition("_")[0] for level in levels(arch) for name in level.versions)


def is_judged(version: str, arch: str) -> bool:
    """Whether the table speaks about this symbol version.

    As in auditwheel, ``OPENSSL_3.0.0`` is between two libraries and no affair of the host.
    ``GLIBC_PRIVATE`` is left out because no floor makes it right: it has a check of its own.
    """
    return version != PRIVATE and version.partition("_")[0] in _known_prefixes(arch)


def offers(floor: str, version: str, arch: str) -> bool:
    """Whether every host of glibc ``floor`` offers the symbol version.

    glibc's numbers are compared as numbers, because PEP 600 allows floors between two policies
    (``manylinux_2_33``); all others are looked up in the highest policy at or below the floor.
    """
    number = version.removeprefix("GLIBC_")
    if number != version and number.replace(".", "").isdecimal():
        return version_key(number) <= version_key(floor)
    level = _level_at(floor, arch)
    return level is not None and version in level.versions


def _level_at(floor: str, arch: str) -> Level | None:
    below = [one for one in levels(arch) if version_key(one.floor) <= version_key(floor)]
    return below[-1] if below else None


def version_order(version: str) -> tuple[int, ...]:
    """Sort key for symbol versions of one prefix: by number, names without one last."""
    number = version.rpartition("_")[2]
    if number.replace(".", "").isdecimal():
        return (0, *version_key(number))
    return (1,)


def floor_of(version: str, arch: str) -> Glibc | None:
    """Find the lowest floor that offers one symbol version; ``None`` if no known one does."""
    return floor_for([version], (), arch)


def floor_for(versions: Iterable[str], needed: Iterable[str], arch: str) -> Glibc | None:
    """Find the lowest floor, of those that auditwheel knows, that offers all of a file's needs.

    :param versions: names of symbol versions, ``GLIBC_2.34``; those not judged are ignored.
    :param needed: sonames; only those on the whitelist of some level raise the floor.
    :return: ``None`` if no level offers everything, or if ``arch`` has no level.
    """
    known = levels(arch)
    judged = [version for version in versions if is_judged(version, arch)]
    listed = {name for name in needed if known and name in known[-1].libraries}
    for level in known:
        if listed <= level.libraries and all(offers(level.floor, one, arch) for one in judged):
            return level.floor
    return None


def allowed_libraries(floor: str | None, arch: str) -> frozenset[str]:
    """Sonames and globs that every host has: the whitelist at ``floor``, loader included.

    Where the table has no level (``linux_*``, ``musllinux_*``, a rare architecture) only the C
    library itself is taken for granted.
    """
    loaders = frozenset(path.rpartition("/")[2] for path in interpreters(arch))
    level = _level_at(floor, arch) if floor else None
    if level is None:
        libc = rules()["libc"]
        return loaders | frozenset(libc["glibc"]) | frozenset(libc["musl"])
    return loaders | level.libraries


def interpreters(arch: str) -> tuple[str, ...]:
    """Paths of the loaders that a program for ``arch`` may name."""
    return tuple(rules()["loaders"].get(arch, ()))


def tag_floor(platform: str) -> tuple[Glibc, str] | None:
    """``manylinux_2_28_x86_64`` -> (``2.28``, ``x86_64``); ``None`` for tags that name no glibc.

    PEP 600; the older names by PEP 513, 571 and 599.
    """
    for alias, floor in rules()["aliases"].items():
        if platform.startswith(f"{alias}_"):
            return Glibc(floor), platform.removeprefix(f"{alias}_")
    parts = platform.split("_", 3)
    if parts[0] == "manylinux" and len(parts) == 4 and (parts[1] + parts[2]).isdecimal():  # noqa: PLR2004
        return Glibc(f"{int(parts[1])}.{int(parts[2])}"), parts[3]
    return None


def never_graft() -> tuple[str, ...]:
    """Globs of what must not be inside any wheel."""
    return tuple(rules()["never-graft"])


def reason(section: str, name: str) -> str:
    """Text of the first glob in a section of ``policy.toml`` that matches ``name``, or ``""``."""
    texts = rules()[section].items()
    return next((text for pattern, text in texts if fnmatchcase(name, pattern)), "")


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether any glob matches, case and all."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
