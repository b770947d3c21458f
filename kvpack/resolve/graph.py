"""The graph of libraries over a whole set: who needs what, who provides it. Pure.

Loosely by design: a library of the same wheel is found, whatever its search path says
(``kvpack audit`` judges RPATH), and a wheel of the set provides its libraries to all others, as
torch's preloading of ``nvidia/*/lib`` does.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from posixpath import basename
from typing import NamedTuple

from kvpack.audit.model import ElfFile, ElfKind, Severity
from kvpack.names import platform_tag, version_key
from kvpack.resolve.families import Families
from kvpack.resolve.libraries import BaseLibraries, HostLibrary, Libraries, ToolkitLibrary
from kvpack.resolve.majors import World, asked, majors
from kvpack.resolve.model import SetFinding, SetMember, SetTarget
from kvpack.resolve.torch import torch_findings

_ORDER = [Severity.ERROR, Severity.WARNING, Severity.NOTE]


def judge_libraries(
    members: Sequence[SetMember], target: SetTarget, libraries: Libraries, families: Families
) -> tuple[tuple[SetFinding, ...], dict[str, str]]:
    """All findings about a set, errors first, and soname -> who provides it to a wheel."""
    graph = _Graph(members, target, libraries)
    findings = [
        *majors(members, target, libraries, families),
        *graph.findings(),
        *(one for member in members for one in _files(member, target)),
        *torch_findings(members, target, families),
    ]
    findings.sort(
        key=lambda one: (_ORDER.index(one.severity), one.distribution, one.check, one.message)
    )
    return tuple(findings), dict(sorted(graph.provided.items()))


class _Absent(NamedTuple):
    """Why a soname is not simply provided: sonames with the same reason are one finding."""

    check: str
    severity: Severity
    reason: str
    advice: str


class _Graph:
    """Looks up every needed soname once."""

    def __init__(
        self, members: Sequence[SetMember], target: SetTarget, libraries: Libraries
    ) -> None:
        self._members, self._target, self._libraries = members, target, libraries
        self._world: World | None = asked(target)
        self.provided: dict[str, str] = {}

    def findings(self) -> Iterator[SetFinding]:
        """What is not provided, or only by the host; fills ``provided`` on the way."""
        for member in self._members:
            needs = _needs(member)
            absent: defaultdict[_Absent, list[str]] = defaultdict(list)
            for soname in sorted(needs):
                provider, problem = self._look_up(soname)
                if provider:
                    self.provided.setdefault(soname, provider)
                if problem is not None:
                    absent[self._softened(problem, needs[soname])].append(soname)
            for problem, sonames in absent.items():
                files = sorted({path for soname in sonames for path in needs[soname]})
                more = f" and {len(files) - 1} more" if len(files) > 1 else ""
                verb = "needs" if len(files) == 1 else "need"
                yield SetFinding(
                    check=problem.check,
                    severity=problem.severity,
                    distribution=member.distribution,
                    version=member.version,
                    path=files[0],
                    message=f"{files[0]}{more} {verb} {', '.join(sonames)}: {problem.reason}",
                    brought_by=member.brought_by,
                    advice=problem.advice,
                )

    def _softened(self, problem: _Absent, files: Iterable[str]) -> _Absent:
        """A library that nothing provides is no error where it is loaded on demand."""
        optional = self._libraries.optional_of(files)
        if problem.check != "library" or optional is None:
            return problem
        reason = f"nothing provides it; only {optional.what} need it"
        return _Absent("optional-library", Severity.NOTE, reason, "install it to use them")

    def _look_up(self, soname: str) -> tuple[str, _Absent | None]:
        """Who provides a library; empty: nobody. The second says what a user should know."""
        target, libraries = self._target, self._libraries
        if any(fnmatchcase(soname, glob) for glob in target.allowed):
            return f"policy {platform_tag(target.glibc, target.arch)}", None
        if soname in self._of_wheels:
            return self._of_wheels[soname], None
        if driver := libraries.driver_of(soname):
            return driver.name, None
        return self._look_further(soname)

    def _look_further(self, soname: str) -> tuple[str, _Absent | None]:
        if base := self._libraries.base_of(soname):
            return self._of_base(base)
        if toolkit := self._libraries.toolkit_of(soname):
            return self._of_toolkit(toolkit)
        if host := self._libraries.host_of(soname):
            return f"host: {host.debian or host.vendor}", _of_host(host)
        return "", _Absent(
            "library", Severity.ERROR,
            "nothing provides it: no wheel of the set, not the driver, the host or the policy",
            "add the distribution that carries it to the set, or take another version; "
            "--host-library SONAME if the host has it",
        )  # fmt: skip

    @cached_property
    def _of_wheels(self) -> dict[str, str]:
        """Soname or file name -> the wheel of the set that has it."""
        found: dict[str, str] = {}
        for member in self._members:
            for name in _names(member):
                found.setdefault(name, str(member))
        return found

    def _of_base(self, base: BaseLibraries) -> tuple[str, _Absent | None]:
        if base.name in self._target.base:
            return f"{base.name} (environment)", None
        return "", _Absent(
            "base", Severity.WARNING,
            f"{base.name} has it, which is not in the set",
            f"name the environment's with --{base.name} VERSION, or add {base.name} to the set",
        )  # fmt: skip

    def _of_toolkit(self, library: ToolkitLibrary) -> tuple[str, _Absent | None]:
        world = self._world
        if world is not None and (
            world.toolkit != library.toolkit or world.major not in library.majors
        ):
            return "", None  # it must not be needed at all: the check of majors says so
        bringers = (one for one in self._libraries.base if library.toolkit in one.brings)
        if base := next((one for one in bringers if one.name in self._target.base), None):
            return f"{base.name} (environment)", None
        major = world.major if world is not None else max(library.majors)
        title = World(library.toolkit, major)
        if wheel := library.wheel.get(str(major)):
            advice = f"add {wheel} to the set, or name the torch for {title} that brings it"
        else:
            advice = f"name the torch for {title} that brings it"
        return "", _Absent(
            "toolkit", Severity.WARNING,
            "nothing in the set provides it",
            f"{advice} (--torch VERSION); an image with {title} itself has it too",
        )  # fmt: skip


def _of_host(host: HostLibrary) -> _Absent:
    advice = f"apt-get install {host.debian}" if host.debian else f"install {host.vendor}"
    if host.only_for:
        reason = f"the host has it, or not; it is only for {host.only_for}"
        return _Absent("optional-library", Severity.NOTE, reason, f"to use that: {advice}")
    return _Absent("host-library", Severity.NOTE, "the host must have it", advice)


def _names(member: SetMember) -> Iterator[str]:
    """Names under which a member's libraries can be needed."""
    for elf in member.elf:
        if not elf.device:
            yield from filter(None, (elf.soname, basename(elf.path)))
    yield from (basename(path) for path in member.paths if ".so" in basename(path))


def _needs(member: SetMember) -> dict[str, list[str]]:
    """Soname from outside -> the member's files that need it."""
    own = set(_names(member))
    found: defaultdict[str, list[str]] = defaultdict(list)
    for elf in _host_files(member):
        for soname in elf.needed:
            if soname not in own:
                found[soname].append(elf.path)
    return dict(found)


def _host_files(member: SetMember) -> Iterable[ElfFile]:
    return (one for one in member.elf if not one.device and one.kind is not ElfKind.RELOCATABLE)


def _files(member: SetMember, target: SetTarget) -> Iterator[SetFinding]:
    """Files that the environment's loader refuses: another machine's, or a newer glibc's."""
    strange = [elf for elf in _host_files(member) if elf.arch != target.arch]
    floor = version_key(target.glibc)
    high = [
        elf
        for elf in _host_files(member)
        if elf not in strange and elf.floor is not None and version_key(elf.floor) > floor
    ]
    high.sort(key=lambda elf: version_key(elf.floor or "0"), reverse=True)
    for check, files, what, advice in (
        (
            "arch", strange, f"for {{0.arch}}, the environment is {target.arch}",
            f"take the wheel for {target.arch}",
        ),
        (
            "floor", high, f"needs glibc {{0.floor}}, the environment has {target.glibc}",
            f"take a wheel whose floor is {target.glibc} or lower, or a newer base",
        ),
    ):  # fmt: skip
        if files:
            more = f" (and {len(files) - 1} more of its files)" if len(files) > 1 else ""
            yield SetFinding(
                check=check,
                severity=Severity.ERROR,
                distribution=member.distribution,
                version=member.version,
                path=files[0].path,
                message=f"{files[0].path}: {what.format(files[0])}{more}",
                brought_by=member.brought_by,
                advice=advice,
            )
