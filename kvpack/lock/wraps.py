"""Which archives do meson's subprojects download? What their ``.wrap`` files say. Pure.

Rule: the Wrap manual of meson (mesonbuild.com/Wrap-dependency-system-manual): ``[wrap-file]`` with
``source_url``, ``source_filename`` and ``source_hash`` (sha256), the same of a ``patch``. meson
takes a file of that name and hash from ``MESON_PACKAGE_CACHE_DIR``, and asks nobody.
"""

import configparser
import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from kvpack.errors import Fault, ResolutionFailed
from kvpack.lock.source import LockedWrap
from kvpack.names import did_you_mean

PARTS = ("source", "patch")
Texts = Mapping[str, bytes]


def locked_wraps(
    source: str, texts: Texts, patterns: tuple[str, ...]
) -> tuple[tuple[LockedWrap, ...], list[str]]:
    """The archives that the chosen subprojects name.

    :param source: how messages call the source.
    :param texts: its ``.wrap`` files by name.
    :param patterns: names, or globs over names.
    :returns: also what a glob chose and no lock can hold, each in words.
    :raises ResolutionFailed: if a pattern chooses nothing, or one that is named cannot be locked.
    """
    faults = [
        Fault(
            place=f"build.wraps: {pattern}",
            message=f"{source} has no such subproject",
            hint=did_you_mean(pattern, texts) if texts else "it has no subprojects/*.wrap",
        )
        for pattern in patterns
        if not fnmatch.filter(texts, pattern)
    ]
    found: list[LockedWrap] = []
    notes: list[str] = []
    for name in sorted(texts):
        chosen = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
        try:
            found += _wraps(name, texts[name]) if chosen else []
        except ValueError as error:
            if name in chosen:
                faults.append(Fault(place=f"subprojects/{name}.wrap", message=str(error)))
            elif chosen:
                notes.append(f"subprojects/{name}.wrap is not locked: {error}")
    if faults:
        raise ResolutionFailed(
            f"{source}: its subprojects cannot be locked as build.wraps asks",
            cause="a build has no network: meson gets what the lock names, and nothing else",
            hint="correct build.wraps; what no lock can hold can be a native library ([library])",
            faults=faults,
        )
    return tuple(found), notes


def _wraps(name: str, text: bytes) -> Iterator[LockedWrap]:
    """:raises ValueError: if no lock can hold it."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text.decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ValueError(f"it cannot be read: {str(error).splitlines()[0]}") from None
    kind = next((one for one in parser.sections() if one.startswith("wrap-")), "none")
    if kind != "wrap-file":
        raise ValueError(f"it is a [{kind}], and only [wrap-file] names its bytes")
    table = parser[kind]
    for part in PARTS:
        if f"{part}_url" in table:  # else its files lie in the source
            yield _wrap(name, part, table)


def _wrap(name: str, part: str, table: Mapping[str, Any]) -> LockedWrap:
    missing = [key for key in (f"{part}_filename", f"{part}_hash") if key not in table]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    fallback = table.get(f"{part}_fallback_url")
    try:
        return LockedWrap(
            name=name,
            file=table[f"{part}_filename"],
            url=table[f"{part}_url"],
            mirrors=(fallback,) if fallback else (),
            sha256=table[f"{part}_hash"].lower(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = {"file": "filename", "sha256": "hash", "mirrors": "fallback_url"}
        where = key.get(str(first["loc"][0]), str(first["loc"][0]))
        raise ValueError(f"{part}_{where} is {first['input']!r}") from None
