"""Joins what ``kvpack doctor`` looks at: files of an environment, ELF headers, owners of paths."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kvpack.cli.context import Context
from kvpack.cli.interpreter import ask
from kvpack.cli.mooncake_config import ability
from kvpack.doctor import installed
from kvpack.doctor.environment import (
    Environment,
    Library,
    mooncake_peermem_of,
    mori_rocm_of,
    torch_of,
)
from kvpack.doctor.installed import Found
from kvpack.doctor.rules import Rules
from kvpack.resolve.families import Families

if TYPE_CHECKING:
    from kvpack.audit.model import ElfFile
    from kvpack.doctor.mooncake_model import WheelAbility
    from kvpack.resolve.model import Claims, Collision

_SITES = ("site-packages", "dist-packages")
"""Folders of what was installed; others on the path are somebody's sources."""
_LIBRARY = re.compile(r"\.so(\.|$)")
_ELF = b"\x7fELF"
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class Reader:
    """Reads one environment. ``quick``: sizes are compared, contents are not."""

    context: Context
    families: Families
    rules: Rules
    quick: bool = False

    def read(self, python: Path) -> "tuple[Environment, WheelAbility | None]":
        """Everything that the checks look at, from files alone.

        :returns: the environment, and what its Mooncake can do.
        :raises ToolFailed: if the Python cannot be started.
        :raises UsageError: if it is no Python.
        """
        said = ask(python, "--python", self.context)
        prefix = said.prefix
        found, doubled = installed.find(site for site in said.sites if site.name in _SITES)
        with self.context.console.step(f"Comparing {len(found)} distributions with RECORD") as step:
            distributions = tuple(installed.compare(found, prefix, step, quick=self.quick))
        with self.context.console.step("Reading what their libraries need"):
            elves = list(self._elves(found, prefix))
        beside = _beside(prefix)
        libraries = _libraries(elves, self.rules)
        environment = Environment(
            python=str(python),
            version=said.python,
            glibc=said.glibc,
            distributions=tuple(sorted(distributions, key=lambda one: one.name)),
            doubled=tuple(doubled),
            libraries=libraries,
            torch=_text_of(found, ("torch",), "torch/version.py", torch_of),
            mori_rocm=_text_of(found, ("amd-mori",), "mori/_rocm_build_info.py", mori_rocm_of),
            mooncake_peermem=_text_of(
                found, self._names("mooncake"), "mooncake/__init__.py", mooncake_peermem_of
            ),
            torch_files=tuple(self._torch_files(found, prefix)),
            collisions=self._collisions(found, prefix),
            found_beside=tuple(
                sorted(beside & {soname for one in libraries for soname in one.needs})
            ),
            hashed=not self.quick,
        )
        return environment, self._mooncake(found, elves, prefix)

    def _mooncake(
        self, found: list[Found], elves: "list[tuple[Found, str, ElfFile]]", prefix: Path
    ) -> "WheelAbility | None":
        """What the one installed Mooncake can do; nothing is said of none or several."""
        names = self._names("mooncake")
        mine = [one for one in found if one.name in names]
        if len(mine) != 1:
            return None
        paths = [installed.placed(row.path, mine[0], prefix) for row in mine[0].rows or ()]
        headers = [elf for one, _, elf in elves if one is mine[0]]
        return ability(mine[0].name, mine[0].version, paths, headers)

    def _names(self, family: str) -> tuple[str, ...]:
        """The distributions of a family."""
        return next(one for one in self.families.family if one.name == family).names

    def _elves(self, found: list[Found], prefix: Path) -> "Iterator[tuple[Found, str, ElfFile]]":
        """ELF files with their distribution and place; unread ones are known by name alone."""
        from kvpack.audit.elf import ElfDamagedError, read_elf
        from kvpack.audit.model import ElfFile, ElfKind

        for one, path in _candidates(found):
            place = installed.placed(path, one, prefix)
            try:
                with path.open("rb") as stream:
                    if stream.read(4) != _ELF:
                        continue
                    stream.seek(0)
                    if _like(one.name, self.rules.unread):
                        yield one, place, ElfFile(path=place, arch="other", kind=ElfKind.SHARED)
                    else:
                        yield one, place, read_elf(stream, place)
            except (OSError, ElfDamagedError) as error:
                self.context.console.detail(f"{place}: {error}")

    def _torch_files(self, found: list[Found], prefix: Path) -> Iterator[str]:
        """Minors of torch that installed extensions are built for: ``2.13``."""
        patterns = [re.compile(one.file) for one in self.families.torch_extension]
        minors = {
            f"{match['major']}.{match['minor']}"
            for one in found
            for row in one.rows or ()
            for pattern in patterns
            if (match := pattern.fullmatch(installed.placed(row.path, one, prefix)))
        }
        return iter(sorted(minors))

    def _collisions(self, found: list[Found], prefix: Path) -> "tuple[Collision, ...]":
        from kvpack.resolve.ownership import judge

        report = judge(list(_claims(found, prefix)), self.families)
        return (*report.conflicts, *report.shared)


def _candidates(found: Iterable[Found]) -> Iterator[tuple[Found, Path]]:
    """Files that may be ELF: libraries by their name, programs by having none."""
    for one in found:
        for row in one.rows or ():
            name = row.path.name
            if _LIBRARY.search(name) or ("." not in name and name.isascii()):
                yield one, row.path


def _libraries(elves: "Sequence[tuple[Found, str, ElfFile]]", rules: Rules) -> tuple[Library, ...]:
    """What the environment does not explain by itself, and what there may be two of."""
    inside = {name for _, place, elf in elves for name in (place.rpartition("/")[2], elf.soname)}
    found = []
    for one, place, elf in elves:
        needs = [
            soname
            for soname in dict.fromkeys(elf.needed)
            if (soname not in inside and not _like(soname, rules.libc))
            or _like(soname, rules.always)
        ]
        name = place.rpartition("/")[2]
        if needs or _like(name, (*rules.copies.values(), *rules.always)):
            found.append(
                Library(
                    path=place,
                    distribution=one.name,
                    soname=elf.soname,
                    needs=tuple(needs),
                    verbs=elf.versions.get("IBVERBS"),
                )
            )
    return tuple(sorted(found, key=lambda library: library.path))


def _like(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _beside(prefix: Path) -> set[str]:
    """Names that the loader finds beside the environment: LD_LIBRARY_PATH, conda's ``lib``."""
    named = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    found: set[str] = set()
    for folder in (*(Path(one) for one in named if one), prefix / "lib"):
        try:
            found.update(path.name for path in folder.iterdir() if ".so" in path.name)
        except OSError:
            continue
    return found


def _text_of(
    found: Iterable[Found], names: Sequence[str], path: str, parse: Callable[[str], _Parsed | None]
) -> _Parsed | None:
    """Parse one text file of the first of some distributions, if it is there."""
    for one in found:
        if one.name in names:
            try:
                return parse((one.site / path).read_text(encoding="utf-8", errors="replace"))
            except OSError:
                return None
    return None


def _claims(found: Iterable[Found], prefix: Path) -> "Iterator[Claims]":
    from kvpack.resolve.claims import of_environment
    from kvpack.resolve.model import Claims

    for one in found:
        points = one.folder / "entry_points.txt"
        if one.record is None or one.rows is None:
            continue
        inside = one.site.is_relative_to(prefix)
        below = one.site.relative_to(prefix).as_posix() if inside else "site-packages"
        text = points.read_text(encoding="utf-8", errors="replace") if points.is_file() else ""
        try:
            claims = of_environment(one.record, below, text)
        except ValueError:
            continue
        yield Claims(
            distribution=one.name, version=one.version, origin=str(one.folder), claims=claims
        )
