"""The promises of a wheel, one function each: ``(WheelFacts, Policy) -> Iterator[Finding]``; pure.

The order of ``CHECKS`` has no meaning: findings are sorted. A check never repeats another one's
finding, and names the value, the place and the next step.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from kvpack.audit import elf_checks, layout, policy
from kvpack.audit.licences import licence
from kvpack.audit.model import (
    AuditReport,
    ElfFile,
    Finding,
    Policy,
    Severity,
    WheelFacts,
)
from kvpack.errors import Fault
from kvpack.names import Glibc, normalize, platform_tag, version_key

Check = Callable[[WheelFacts, Policy], Iterator[Finding]]


def claimed_floor(facts: WheelFacts) -> Glibc | None:
    """Lowest glibc that the wheel's own tags promise; ``None`` if they name no glibc."""
    found = [named[0] for named in map(policy.tag_floor, facts.platforms) if named]
    return Glibc(min(found, key=version_key)) if found else None


def judged_floor(facts: WheelFacts, held_to: Policy) -> Glibc | None:
    """Floor that a wheel is held to."""
    return Glibc(held_to.glibc) if held_to.glibc else claimed_floor(facts)


def floor(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    """Every ELF file, programs too, loads on the floor (PEP 600; auditwheel's policy)."""
    limit = judged_floor(facts, held_to)
    if limit is None:
        return
    for elf in facts.host_elf:
        if not policy.levels(elf.arch):
            continue  # the tag check speaks about its architecture
        beyond = [*_beyond(elf, limit), *_relr_beyond(elf, limit)]
        if beyond:
            yield Finding(
                check="floor",
                severity=Severity.ERROR,
                place=elf.path,
                message=f"does not load on glibc {limit}: needs {'; '.join(beyond)}",
                hint=f"build it on a root with glibc {limit}, or raise the floor to {elf.floor}"
                if elf.floor
                else f"build it on a root with glibc {limit}: auditwheel knows no floor for it",
            )


def _beyond(elf: ElfFile, limit: str) -> Iterator[str]:
    """Per library and prefix, the highest symbol version that ``limit`` does not offer."""
    highest: dict[tuple[str, str], str] = {}
    for library, versions in elf.symbol_versions.items():
        for version in sorted(versions, key=policy.version_order):
            if policy.is_judged(version, elf.arch) and not policy.offers(limit, version, elf.arch):
                highest[library, version.partition("_")[0]] = version
    for (library, _), version in highest.items():
        lowest = policy.floor_of(version, elf.arch)
        since = f"floor {lowest} and later" if lowest else "no floor that is known"
        yield f"{version} of {library} ({since})"


def _relr_beyond(elf: ElfFile, limit: str) -> Iterator[str]:
    """Old linkers write ``DT_RELR`` without the symbol version that should guard it."""
    named = any(policy.RELR in versions for versions in elf.symbol_versions.values())
    if elf.relr and not named and not policy.offers(limit, policy.RELR, elf.arch):
        lowest = policy.floor_of(policy.RELR, elf.arch)
        yield f"DT_RELR relocations (floor {lowest} and later)"


def tag(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    """Say with the platform tag what the files are."""
    yield from _exact_tag(facts, held_to)
    yield from _true_tag(facts)
    yield from _architecture(facts, held_to)


def _exact_tag(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    pure = facts.platforms == ("any",) and not facts.elf
    if not held_to.tag_exact or pure:
        return
    limit = judged_floor(facts, held_to)
    arch = held_to.arch or next(iter({elf.arch for elf in facts.host_elf}), "")
    wanted = platform_tag(limit, arch) if limit else "manylinux_<floor>_<arch>"
    if facts.platforms != (wanted,):
        yield Finding(
            check="tag",
            severity=Severity.ERROR,
            place=facts.filename,
            message=f"the platform tag is {'.'.join(facts.platforms)}, not exactly {wanted}",
            hint=f"repair it with auditwheel repair --plat {wanted} --only-plat",
        )


def _true_tag(facts: WheelFacts) -> Iterator[Finding]:
    claimed = claimed_floor(facts)
    beyond = (
        claimed
        and facts.true_floor
        and any([*_beyond(elf, claimed), *_relr_beyond(elf, claimed)] for elf in facts.host_elf)
    )
    if beyond and facts.true_floor:
        arch = next(one[1] for one in map(policy.tag_floor, facts.platforms) if one)
        yield Finding(
            check="tag",
            severity=Severity.ERROR,
            place=facts.filename,
            message=f"promises glibc {claimed}, but its files need {facts.true_floor}",
            hint=f"the tag that it can keep is {platform_tag(facts.true_floor, arch)}",
        )
    elif facts.host_elf and any(one.startswith("linux_") for one in facts.platforms):
        yield Finding(
            check="tag",
            severity=Severity.NOTE,
            place=facts.filename,
            message=f"{'.'.join(facts.platforms)} promises no glibc floor; "
            f"its files need {facts.true_floor or 'one that no table knows'}",
        )


def _architecture(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    archs = {platform: _tag_arch(platform) for platform in facts.platforms}
    wanted = held_to.arch or next(filter(None, archs.values()), "")
    for platform, arch in archs.items():
        if arch != wanted and platform != "any":
            yield Finding(
                check="arch",
                severity=Severity.ERROR,
                place=facts.filename,
                message=f"the platform tag {platform} is not for {wanted}",
                hint="build one wheel per architecture",
            )
    for elf in facts.host_elf:
        if elf.arch != wanted:
            promise = f"for {wanted}" if wanted else f"tagged {'.'.join(facts.platforms)}"
            yield Finding(
                check="arch",
                severity=Severity.ERROR,
                place=elf.path,
                message=f"an ELF file for {elf.arch} in a wheel {promise}",
                hint="build it for the wheel's architecture, leave it out, or correct the tag",
            )


def _tag_arch(platform: str) -> str:
    """``linux_x86_64``, ``musllinux_1_2_aarch64`` -> the architecture; empty off Linux."""
    known = policy.rules()["loaders"]
    linux = "linux_" in platform or platform.startswith("manylinux")
    return next((arch for arch in known if linux and platform.endswith(f"_{arch}")), "")


def needed(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    """Every needed library is in the wheel, on every host of the floor, or named by the recipe."""
    limit = judged_floor(facts, held_to)
    own = layout.provided(facts.elf)
    missing: dict[str, list[str]] = {}
    for elf in facts.host_elf:
        allowed = policy.allowed_libraries(limit, elf.arch)
        for name in elf.needed:
            supplied = (*allowed, *(held_to.host_libraries or ()))
            if name not in own and not policy.matches(name, supplied):
                missing.setdefault(name, []).append(elf.path)
    for name, users in sorted(missing.items()):
        foreign = held_to.host_libraries is None
        fallback = "" if foreign else "add it to the recipe's audit.host-libraries, or ship it"
        others = f", and {len(users) - 1} other file(s)" if len(users) > 1 else ""
        yield Finding(
            check="needed",
            severity=Severity.NOTE if foreign else Severity.ERROR,
            place=users[0],
            message=f"the host must supply {name}, needed by this file{others}"
            if foreign
            else f"{name} is not provided by anyone; needed by this file{others}",
            hint=policy.reason("library-hints", name) or fallback,
        )


_EXTENSION = re.compile(r"\.(cpython-\d+\w*|abi3)[.-]")
"""An extension module (PEP 3149) may be called like the library that it wraps."""


def grafted(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    """Keep out what belongs to the host's drivers."""
    patterns = policy.never_graft() if held_to.never_graft is None else held_to.never_graft
    for elf in facts.host_elf:
        names = [
            name
            for name in layout.provided([elf])
            if policy.matches(name, patterns) and not _EXTENSION.search(name)
        ]
        for name in sorted(names)[:1]:
            why = policy.reason("never-graft", name) or "the recipe forbids it"
            yield Finding(
                check="grafted",
                severity=Severity.ERROR,
                place=elf.path,
                message=f"{name} must not be inside a wheel: {why}",
                hint="name it in the recipe's audit.host-libraries: auditwheel then leaves it out",
            )


def ownership(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    """Be the distribution that was asked for, and take no other's import names."""
    if held_to.distribution and facts.distribution != normalize(held_to.distribution):
        yield Finding(
            check="distribution",
            severity=Severity.ERROR,
            place=facts.filename,
            message=f"the distribution is {facts.distribution}, not {held_to.distribution}",
            hint="correct the recipe's distribution table, or what renames the project",
        )
    for name in sorted(set(facts.top_level) - set(held_to.owns)) if held_to.owns else ():
        yield Finding(
            check="owns",
            severity=Severity.ERROR,
            place=name,
            message=f"takes the import name {name!r}; it may own {', '.join(held_to.owns)}",
            hint="leave it out of the package, or add it to the recipe's distribution.owns",
        )


def startup(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Installing changes no interpreter start (``site``: ``.pth`` files)."""
    for member in facts.startup:
        yield Finding(
            check="startup",
            severity=Severity.WARNING,
            place=member,
            message="a .pth file: its lines act at every start of the interpreter",
            hint="read it; a package needs none to be importable",
        )


CHECKS: tuple[Check, ...] = (
    floor,
    tag,
    needed,
    grafted,
    ownership,
    startup,
    licence,
    elf_checks.search_paths,
    elf_checks.reachable,
    elf_checks.programs,
    elf_checks.private_symbols,
    elf_checks.hardening,
    elf_checks.instruction_set,
)


def audit(facts: WheelFacts, held_to: Policy, faults: Sequence[Fault] = ()) -> AuditReport:
    """Hold a wheel to a policy.

    :param faults: what ``inspect_wheel`` found; each becomes an error of the check ``wheel``.
    :return: all findings, errors first, then by place.
    """
    order = list(Severity)
    found = {one: None for check in CHECKS for one in check(facts, held_to)}
    findings = [*findings_of(faults), *found]
    findings.sort(key=lambda one: (order.index(one.severity), one.place, one.check, one.message))
    return AuditReport(facts=facts, findings=tuple(findings))


def findings_of(faults: Sequence[Fault]) -> tuple[Finding, ...]:
    """Faults of the archive as findings."""
    return tuple(
        Finding(
            check="wheel",
            severity=Severity.ERROR,
            place=fault.place,
            message=fault.message,
            hint=fault.hint,
        )
        for fault in faults
    )
