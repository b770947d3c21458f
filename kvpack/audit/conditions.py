"""Whether a condition of a ``[[prove]]`` table holds for a wheel, from evidence alone. Pure.

A condition is true, false, or cannot be told (``None``: the file is absent, or has no table that
could show it); ``all``, ``any`` and ``not`` join the three as Kleene's logic does.
"""

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from kvpack.audit import layout, policy
from kvpack.audit.checks import claimed_floor
from kvpack.audit.evidence import Seen, Symbol, selects
from kvpack.audit.model import ElfFile, WheelFacts
from kvpack.names import version_key
from kvpack.recipe.prove import Condition, several

Reason = tuple[str, str]
"""A member (or nothing), and what is true of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """Whether a condition holds, and the words that say why."""

    holds: bool | None
    why: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """The evidence: every member, and the facts."""

    seen: tuple[Seen, ...]
    facts: WheelFacts
    elf: Mapping[str, ElfFile]
    """The facts' ELF files by path."""
    host_libraries: tuple[str, ...] | None = ()
    """Soname globs that the recipe leaves to the host; ``None``: it does not know this wheel's."""

    def matching(self, globs: Iterable[str]) -> tuple[Seen, ...]:
        return tuple(one for one in self.seen if selects(globs, one.path))


def both(told: Sequence[Told]) -> Told:
    """All of them: the reasons of what is false, else of what is unknown, else all reasons."""
    for outcome in (False, None):
        if any(one.holds is outcome for one in told):
            why = [text for one in told if one.holds is outcome for text in one.why]
            return Told(holds=outcome, why=tuple(why))
    return Told(holds=True, why=tuple(text for one in told for text in one.why))


def _either(told: Sequence[Told]) -> Told:
    """Any of them: the reasons of the first that is true, else all reasons."""
    for one in told:
        if one.holds:
            return one
    unknown = any(one.holds is None for one in told)
    why = tuple(text for one in told for text in one.why)
    return Told(holds=None if unknown or not told else False, why=why)


def of_files(condition: Condition, wheel: Wheel, *, every: bool = False) -> Told:
    """A condition with globs of its own, over the files that match."""
    globs = several(condition.file)
    if condition.keeps_tag is not None:
        kept = _tag(wheel)
        same = None if kept.holds is None else kept.holds is condition.keeps_tag
        return Told(holds=same, why=kept.why)
    if not globs:
        return _of_parts(condition, None, wheel)
    files = wheel.matching(globs)
    named = " or ".join(globs)
    if condition.present is not None:
        why = (files[0].path, "is there") if files else ("", f"no file matches {named}")
        return Told(holds=bool(files) == condition.present, why=(why,))
    if not files:
        return Told(holds=None, why=(("", f"no file matches {named}"),))
    if condition.unique is not None:
        return _unique(condition, files)
    told = [_of_parts(condition, one, wheel) for one in files]
    return both(told) if every else _either(told)


def _tag(wheel: Wheel) -> Told:
    """Whether a wheel is what its platform tag promises (PEP 600): floor, and needed libraries.

    What the recipe leaves to the host (drivers, GPU run times) counts as agreed.
    """
    facts = wheel.facts
    claimed = claimed_floor(facts)
    if claimed is None:
        return Told(holds=None, why=(("", f"{'.'.join(facts.platforms)} promises no glibc"),))
    if wheel.host_libraries is None:
        text = f"the recipe does not build {facts.distribution}: what its hosts supply is not known"
        return Told(holds=None, why=(("", text),))
    own = layout.provided(facts.elf)
    missing = {
        name
        for elf in facts.host_elf
        for name in elf.needed
        if name not in own
        and not policy.matches(
            name, (*policy.allowed_libraries(claimed, elf.arch), *wheel.host_libraries)
        )
    }
    kept = facts.true_floor is not None and version_key(facts.true_floor) <= version_key(claimed)
    floor = f"promises glibc {claimed}, its files need {facts.true_floor or 'one that is unknown'}"
    if missing:
        count = "1 library" if len(missing) == 1 else f"{len(missing)} libraries"
        some = ", ".join(sorted(missing))
        floor += f"; it needs {count} that nobody promises: {some}"
    return Told(holds=kept and not missing, why=(("", floor),))


def _unique(condition: Condition, files: Sequence[Seen]) -> Told:
    names = Counter(posixpath.basename(one.path) for one in files)
    twice = sorted(name for name, count in names.items() if count > 1)
    folders = sorted({posixpath.dirname(one.path) for one in files})
    text = f"{len(files)} files of different names in {', '.join(folders)}"
    if twice:
        text = f"{len(twice)} of {len(names)} names are in several of {', '.join(folders)}: "
        text += ", ".join(twice)
    return Told(holds=(not twice) == condition.unique, why=(("", text),))


def _of_parts(condition: Condition, file: Seen | None, wheel: Wheel) -> Told:
    told = list(_leaves(condition, file, wheel.elf)) if file else []
    told += [_nested(inner, file, wheel) for inner in condition.all_of]
    if condition.any_of:
        told.append(_either([_nested(inner, file, wheel) for inner in condition.any_of]))
    if condition.negated:
        inner = _nested(condition.negated, file, wheel)
        told.append(Told(holds=None if inner.holds is None else not inner.holds, why=inner.why))
    return both(told)


def _nested(condition: Condition, file: Seen | None, wheel: Wheel) -> Told:
    if condition.file is None and file is not None:
        return _of_parts(condition, file, wheel)
    return of_files(condition, wheel)


def _leaves(condition: Condition, file: Seen, elves: Mapping[str, ElfFile]) -> Iterator[Told]:
    for wanted in several(condition.needs_symbol):
        yield _symbol(file, wanted, "needs", [s for s in file.symbols or () if _needs(s, wanted)])
    for wanted in several(condition.defines_symbol):
        found = [s for s in file.symbols or () if s.defined and s.name == wanted]
        yield _symbol(file, wanted, "defines", found)
    for wanted in several(condition.has_symbol):
        found = [s for s in file.symbols or () if wanted in s.name]
        yield _symbol(file, wanted, "has", found)
    for wanted in several(condition.has_string):
        yield _told(file, f"string {wanted.strip()!r}", wanted in file.strings, ("has", "has no"))
    elf = elves.get(file.path)
    for wanted in several(condition.needs_library):
        found_libraries = [one for one in elf.needed if fnmatchcase(one, wanted)] if elf else []
        shown = ", ".join(found_libraries) or wanted
        yield _known(elf, file) or _told(
            file, shown, bool(found_libraries), ("needs", "does not need")
        )
    if condition.elf_kind:
        yield _known(elf, file) or Told(
            holds=elf is not None and elf.kind in condition.elf_kind,
            why=((file.path, f"is {elf.kind if elf else ''}"),),
        )
    if condition.executable is not None:
        text = "has mode x" if file.executable else "has lost mode x"
        holds = file.executable == condition.executable
        yield Told(holds=holds, why=((file.path, text),))


def _told(file: Seen, what: str, holds: bool, words: tuple[str, str]) -> Told:  # noqa: FBT001
    return Told(holds=holds, why=((file.path, f"{words[0] if holds else words[1]} {what}"),))


def _known(elf: ElfFile | None, file: Seen) -> Told | None:
    if elf is None:
        return Told(holds=None, why=((file.path, "is no ELF file that can be read"),))
    return None


def _needs(symbol: Symbol, wanted: str) -> bool:
    name, _, version = wanted.partition("@")
    return not symbol.defined and symbol.name == name and version in {"", symbol.version}


def _symbol(file: Seen, wanted: str, verb: str, found: Sequence[Symbol]) -> Told:
    if file.symbols is None:
        return Told(holds=None, why=((file.path, f"shows no symbols: {file.problem}"),))
    if not found:
        return Told(holds=False, why=((file.path, f"{_NOT[verb]} {wanted}"),))
    first = found[0].name + (f"@{found[0].version}" if found[0].version else "")
    count = "1 symbol" if len(found) == 1 else f"{len(found)} symbols"
    shown = f"has {count} with {wanted}" if verb == "has" else f"{verb} {first}"
    return Told(holds=True, why=((file.path, shown),))


_NOT = {"needs": "does not need", "defines": "does not define", "has": "has no symbol with"}
