"""Exactly one CUDA (or ROCm) major over all ELF files of a set. Pure.

Two runtimes of one toolkit in one process are two worlds: a pointer or a stream of one means
nothing to the other, and which library a soname finds depends on what was loaded first.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from posixpath import basename
from typing import NamedTuple

from kvpack.audit.model import Severity
from kvpack.names import Accelerator
from kvpack.resolve.families import Families
from kvpack.resolve.libraries import Libraries, plain
from kvpack.resolve.model import SetFinding, SetMember, SetTarget

_WORLDS = {
    Accelerator.CUDA12: ("cuda", 12),
    Accelerator.CUDA13: ("cuda", 13),
    Accelerator.ROCM7: ("rocm", 7),
    Accelerator.CPU: ("", 0),
}
_TORCH_BUILD = re.compile(r"\+(cu|rocm)(\d\d?)")
"""torch's local version: ``2.11.0+cu130``, ``2.11.0+rocm7.0``."""
_SHOWN = 3


class World(NamedTuple):
    """A toolkit at one major; no toolkit: the CPU alone."""

    toolkit: str
    major: int

    def __str__(self) -> str:
        return f"{_TITLES[self.toolkit]} {self.major}" if self.toolkit else "no accelerator"

    @property
    def accelerator(self) -> Accelerator | None:
        return next((key for key, value in _WORLDS.items() if value == self), None)


_TITLES = {"cuda": "CUDA", "rocm": "ROCm"}


@dataclass(frozen=True)
class _Link:
    """One reason to think that a member belongs to some majors of a toolkit."""

    path: str
    """The file; empty: the name of the distribution."""
    soname: str
    worlds: frozenset[World]


def asked(target: SetTarget) -> World | None:
    """What the set is to be built against, if anybody said so."""
    if target.accelerator is not None:
        return World(*_WORLDS[target.accelerator])
    if target.torch and (found := _TORCH_BUILD.search(target.torch)):
        toolkit = {"cu": "cuda", "rocm": "rocm"}[found[1]]
        return World(toolkit, int(found[2] if toolkit == "cuda" else found[2][0]))
    return None


def majors(
    members: Sequence[SetMember], target: SetTarget, libraries: Libraries, families: Families
) -> Iterator[SetFinding]:
    """A finding per member and major that is not the one of the set."""
    links = [(member, tuple(_links(member, libraries))) for member in members]
    world = asked(target)
    why = f"the set is for {world}"
    if world is None:
        sides = _sides(links)
        if len(sides) < 2:  # noqa: PLR2004  # at most one major
            return
        world = max(sides, key=lambda one: (len(sides[one]), one))
        why = f"{_listed(sides[world])} link{'s' if len(sides[world]) == 1 else ''} {world}"
    for member, found in links:
        yield from _strangers(member, found, world, (why, families))


def _sides(links: Sequence[tuple[SetMember, tuple[_Link, ...]]]) -> dict[World, list[str]]:
    """The members that surely belong to each world."""
    sides: defaultdict[World, list[str]] = defaultdict(list)
    for member, found in links:
        for world in sorted(
            {one for link in found if len(link.worlds) == 1 for one in link.worlds}
        ):
            sides[world].append(member.distribution)
    return dict(sides)


def _links(member: SetMember, libraries: Libraries) -> Iterator[_Link]:
    if named := libraries.named_for(member.distribution):
        yield _Link("", "", frozenset({World(named.toolkit, named.major)}))
    # What is known by name alone shows what it is in its file names.
    files = [(elf.path, (*elf.needed, elf.soname or "")) for elf in member.elf if not elf.device]
    for path, sonames in files or [(path, (basename(path),)) for path in member.paths]:
        for soname in sonames:
            if found := libraries.toolkit_of(plain(soname)):
                worlds = frozenset(World(found.toolkit, major) for major in found.majors)
                yield _Link(path, soname, worlds)


def _strangers(
    member: SetMember, links: Sequence[_Link], world: World, context: tuple[str, Families]
) -> Iterator[SetFinding]:
    why, families = context
    strange: defaultdict[World, list[_Link]] = defaultdict(list)
    for link in links:
        if world not in link.worlds:
            strange[max(link.worlds)].append(link)
    at_home = {link.path for link in links if link.worlds == {world} and link.path}
    for other, found in sorted(strange.items()):
        files = sorted({link.path for link in found if link.path})
        chosen = bool(at_home) and all(
            path not in at_home and _tells(path, other.major) for path in files
        )
        yield SetFinding(
            check="accelerator-major",
            severity=Severity.WARNING if chosen else Severity.ERROR,
            distribution=member.distribution,
            version=member.version,
            path=files[0] if files else "",
            message=f"{_message(found, files, other)}; {why}"
            + (" (it has files for several, and chooses when it is imported)" if chosen else ""),
            brought_by=member.brought_by,
            advice="" if chosen else _advice(member.distribution, world, families),
        )


def _tells(path: str, major: int) -> bool:
    """Whether a file's own name says which major it is for: ``libbitsandbytes_cuda130.so``."""
    return re.search(rf"(cu|cuda|rocm|hip)[-_]?{major}", basename(path)) is not None


def _message(found: Sequence[_Link], files: Sequence[str], other: World) -> str:
    if not files:
        return f"its name says {other}"
    sonames = sorted({link.soname for link in found if link.path})
    more = f" and {len(files) - 1} more of its files" if len(files) > 1 else ""
    return f"links {other}: {_listed(sonames)} in {files[0]}{more}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _advice(distribution: str, world: World, families: Families) -> str:
    accelerator = world.accelerator
    family, built = families.family_of(distribution), families.built(distribution)
    if accelerator is not None and family is not None:
        own = family.member(distribution)
        instead = family.choose(accelerator, own.flavour if own else "")
        if instead is not None:
            return f"take {instead.name} in place of {distribution}"
    if accelerator is not None and built is not None and built.versions(accelerator):
        return f"take {distribution}{built.versions(accelerator)}, which is built for {world}"
    return f"take a build of {distribution} for {world}, or leave it out of the set"
