"""What proofs ask of a wheel's members, and what was seen there. Pure values.

``kvpack/audit/symbols.py`` reads it, ``kvpack/audit/prove.py`` judges it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from kvpack.recipe.prove import Identity, Prove, several


@dataclass(frozen=True, kw_only=True, slots=True)
class Symbol:
    """One entry of a dynamic symbol table."""

    name: str
    version: str
    """Of an undefined symbol, as ``IBVERBS_1.12``; else empty."""
    defined: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One member, and what was found in it of what was asked for."""

    path: str
    executable: bool = False
    """The archive gives it mode ``x``."""
    read: bool = False
    """Its content was looked at."""
    symbols: tuple[Symbol, ...] | None = None
    """``None``: it has no dynamic symbol table that can be read."""
    problem: str = ""
    """Why it has none."""
    strings: frozenset[str] = frozenset()
    matches: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """Expression -> groups of its different matches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """What the tables of a recipe want to know, and of which members."""

    globs: tuple[str, ...]
    symbols: re.Pattern[bytes]
    """Finds the names that any table is about."""
    strings: frozenset[str]
    patterns: Mapping[str, tuple[str, ...]]
    """Expression -> globs of the members that it is about: a search costs more than a text."""


@cache
def _path_pattern(glob: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay in one folder; ``**`` is any number of folders."""
    parts = [re.escape(part) for part in glob.split("/")]
    pattern = "/".join(part.replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for part in parts)
    return re.compile(pattern.replace("[^/]*[^/]*/", "(?:[^/]+/)*"))


def selects(globs: Iterable[str], path: str) -> bool:
    """Whether any glob means the member; unlike ``fnmatch``'s, ``*`` stays in one folder."""
    return any(_path_pattern(glob).fullmatch(path) for glob in globs)


def questions(proves: Sequence[Prove], identity: Identity | None) -> Questions:
    """Everything that has to be read to judge ``proves``."""
    parts = [part for prove in proves for part in (prove, *prove.case)]
    own = {id(part): several(prove.file) for prove in proves for part in (prove, *prove.case)}
    walked = [pair for part in parts for pair in part.walk(own[id(part)])]
    names = {
        symbol.partition("@")[0]
        for condition, _ in walked
        for words in (condition.needs_symbol, condition.defines_symbol, condition.has_symbol)
        for symbol in several(words)
    }
    globs = [glob for condition, globs in walked if condition.reads_content for glob in globs]
    patterns: dict[str, tuple[str, ...]] = {}
    for prove in proves:
        if prove.value and (string := prove.value.string):
            patterns[string] = (*patterns.get(string, ()), *several(prove.file))
    if identity:
        patterns[identity.match] = (*patterns.get(identity.match, ()), *several(identity.file))
    globs += [glob for many in patterns.values() for glob in many]
    # "(?!)" matches nothing at all.
    symbols = "|".join(re.escape(name) for name in sorted(names)) or "(?!)"
    return Questions(
        globs=tuple(dict.fromkeys(globs)),
        symbols=re.compile(symbols.encode()),
        strings=frozenset(text for c, _ in walked for text in several(c.has_string)),
        patterns=patterns,
    )


def commit_of(identity: Identity | None, seen: Mapping[str, Seen]) -> tuple[str, str] | None:
    """Version and commit that a member of the wheel tells; ``None`` if none does, or several."""
    if identity is None:
        return None
    order = list(re.compile(identity.match).groupindex)
    found = {
        groups
        for one in seen.values()
        if selects(several(identity.file), one.path)
        for groups in one.matches.get(identity.match, ())
    }
    if len(found) != 1:
        return None
    told = dict(zip(order, found.pop(), strict=False))
    return told["version"], told["commit"]
