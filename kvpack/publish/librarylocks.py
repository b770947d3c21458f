"""The locks of native libraries that a release keeps, held to what its wheels say of themselves.

A wheel's action names every input of the libraries that it was built with, by digest. Whoever wants
to know what that stands for needs the locks; so a release keeps them, and each must name those
inputs. No catalogue is asked.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kvpack.publish.attest_checks import Check
from kvpack.publish.model import LibraryLock, Promise, Release
from kvpack.publish.statement import dependencies
from kvpack.tools.files import sha256_of

Read = Callable[[str], bytes | None]
Action = Mapping[str, Any]
NAME = "library-locks"
_SHOWN = 3
"""Inputs that one message names."""


def libraries_of(action: Action) -> dict[str, Action]:
    """``ucx 1.23.0`` -> its action: the native libraries below a wheel, those of libraries too."""
    found: dict[str, Action] = {}
    for name, library in (action.get("libraries") or {}).items():
        found |= {**libraries_of(library), f"{name} {library['recipe']['version']}": library}
    return found


def library_locks(
    action: Action, release: Release, read: Read, *, repair: str = ""
) -> Check | None:
    """Whether a release keeps the locks of what a wheel was built with; ``None``: with nothing.

    :param read: reads an object of the storage, or of the bundle.
    :param repair: the command that brings an object back.
    """
    try:
        libraries = libraries_of(action)
    except (KeyError, TypeError, AttributeError):
        return Check(NAME, "failed", "the wheel's own action is not one that kvpack can read")
    if not libraries:
        return None
    if release.release_schema == 1:
        return Check(
            NAME, "not checked",
            f"release {release.id} was published without the locks of {', '.join(libraries)}, "
            "before kvpack kept them: published again, it has them; --recipe compares with yours",
        )  # fmt: skip
    kept = {f"{one.recipe} {one.version}": one for one in _promised(action, release)}
    faults = list(_faults(libraries, kept, (release.id, read)))
    if faults:
        place, damaged = faults[0][0], any(one[2] for one in faults)
        return Check(
            NAME, "failed", "; ".join(message for _, message, _ in faults), place=place,
            hint=repair if damaged else "do not install it; ask whoever published it",
        )  # fmt: skip
    return Check(NAME, "verified", "; ".join(f"{n}: {_told(n, libraries, kept)}" for n in kept))


def _promised(action: Action, release: Release) -> tuple[LibraryLock, ...]:
    of = action.get("recipe") or {}
    found: list[Promise] = [
        one for one in release.promises if (one.recipe, one.version) == (of["name"], of["version"])
    ]
    return tuple(library for one in found for library in one.libraries)


def _told(name: str, libraries: Mapping[str, Action], kept: Mapping[str, LibraryLock]) -> str:
    if name not in libraries:
        return "of another target"
    return f"{len(_inputs(libraries[name]))} inputs by digest, as {kept[name].lock.path} names them"


def _faults(
    libraries: Mapping[str, Action], kept: Mapping[str, LibraryLock], where: tuple[str, Read]
) -> Iterator[tuple[str, str, bool]]:
    """Place and message of each fault, and whether the object itself is absent or damaged."""
    release, read = where
    for name, library in libraries.items():
        if name not in kept:
            path = f"releases/{release}.json"
            yield path, f"{path} names no lock of the native library {name}", False
            continue
        wanted = kept[name].lock
        data = read(wanted.path)
        if data is None:
            yield (
                wanted.path,
                f"{wanted.path} is not there, although release {release} names it",
                True,
            )
        elif sha256_of(data) != wanted.sha256:
            yield wanted.path, f"{wanted.path} does not hold the bytes of its name", True
        elif absent := not_named(library, data):
            more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
            lacks = f"{', '.join(absent[:_SHOWN])}{more}"
            yield (
                wanted.path,
                f"{wanted.path} does not name what {name} was made from: {lacks}",
                False,
            )


def not_named(library: Action, lock: bytes) -> list[str]:
    """The inputs of a library's action, without those of others below it, that a lock lacks."""
    text = lock.decode(errors="replace")
    return [f"{name} {digest[:16]}…" for name, digest in _inputs(library) if digest not in text]


def _inputs(library: Action) -> list[tuple[str, str]]:
    """Name and digest of each."""
    own = {key: value for key, value in library.items() if key != "libraries"}
    return [
        (str(one["name"]), digest) for one in dependencies(own) for digest in one["digest"].values()
    ]
