"""Promises that each ELF file has to keep on its own; pure."""

import posixpath
from collections.abc import Iterator

from kvpack.audit import layout, policy
from kvpack.audit.model import ElfFile, ElfKind, Finding, Policy, Severity, WheelFacts

_ORIGIN_HINT = "name folders of the wheel from $ORIGIN: patchelf --set-rpath '$ORIGIN/...' FILE"


def search_paths(facts: WheelFacts, held_to: Policy) -> Iterator[Finding]:
    """Search paths name places of the environment from ``$ORIGIN``, nothing else (ld.so(8))."""
    for elf in facts.host_elf:
        for tag, entries in (("DT_RPATH", elf.rpath), ("DT_RUNPATH", elf.runpath)):
            for entry in entries:
                message, hint = _bad_entry(elf, entry)
                if message and entry not in held_to.host_folders:
                    yield Finding(
                        check="runpath",
                        severity=Severity.ERROR,
                        place=elf.path,
                        message=f"{tag} entry {entry!r} {message}",
                        hint=hint,
                    )
    old = [elf.path for elf in facts.host_elf if elf.rpath and not elf.runpath]
    if old:
        yield Finding(
            check="rpath",
            severity=Severity.NOTE,
            place=old[0],
            message=f"{len(old)} file(s) use DT_RPATH, as auditwheel writes it: "
            "LD_LIBRARY_PATH cannot override it",
            hint="use DT_RUNPATH unless the wheel's own libraries must win over the host's",
        )


def _bad_entry(elf: ElfFile, entry: str) -> tuple[str, str]:
    """Say what is wrong with one entry, and what to do; empty if nothing is."""
    if not entry:
        hint = "remove the stray colon: whoever owns that folder decides which library is loaded"
        return "is empty: it means the working directory", hint
    if entry.startswith("/"):
        built = tuple(policy.rules()["build-folders"]["prefixes"])
        if f"{entry}/".startswith(tuple(f"{prefix}/" for prefix in built)):
            return "names a folder of the machine that built it", _ORIGIN_HINT
        return "is an absolute path: it exists on some hosts only", _ORIGIN_HINT
    target = layout.origin_target(elf.path, entry)
    if target is None:
        return "is relative to the working directory", _ORIGIN_HINT
    if target == ".." or target.startswith("../"):
        return f"leaves site-packages: it means {target!r} beside it", _ORIGIN_HINT
    return "", ""


def reachable(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Put each library that the wheel ships where the files that need it look."""
    sonames = {elf.soname for elf in facts.host_elf}
    folders: dict[str, set[str]] = {}
    for elf in facts.host_elf:
        place = layout.installed(elf.path)
        folders.setdefault(posixpath.basename(place), set()).add(posixpath.dirname(place) or ".")
    for elf in facts.host_elf:
        shipped = [name for name in elf.needed if name in folders or name in sonames]
        seen = _seen(elf, facts) if shipped else set()
        for name in shipped:
            own = folders.get(name, set())
            if not own & seen:
                yield Finding(
                    check="reachable",
                    severity=Severity.WARNING,
                    place=elf.path,
                    message=f"needs {name}, which the wheel ships where this file does not look "
                    f"({', '.join(sorted(own)) or 'only under another file name'})",
                    hint="add its folder to the RUNPATH; without, it works only if something else "
                    "loads that library first",
                )


def _seen(elf: ElfFile, facts: WheelFacts) -> set[str | None]:
    """Folders that the loader searches for what a file needs.

    ``DT_RPATH`` of the files that (through others) need this one counts too, unless it has a
    ``DT_RUNPATH`` of its own (ld.so(8)).
    """
    if elf.runpath:
        return {layout.origin_target(elf.path, entry) for entry in elf.runpath}
    seen: set[str | None] = set()
    waiting, known = [elf], {elf.path}
    while waiting:
        one = waiting.pop()
        if not one.runpath:
            seen |= {layout.origin_target(one.path, entry) for entry in one.rpath}
        names = layout.provided([one])
        users = [user for user in facts.host_elf if names & set(user.needed)]
        waiting += [user for user in users if user.path not in known]
        known |= {user.path for user in users}
    return seen


def programs(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Let every program start: mode ``x``, position-independent, a loader that hosts have."""
    folders = policy.rules()["programs"]["folders"]
    for elf in facts.host_elf:
        if not elf.kind.is_program:
            continue
        if not elf.executable_bit:
            in_place = posixpath.basename(posixpath.dirname(elf.path)) in folders
            yield Finding(
                check="executable-bit",
                severity=Severity.ERROR if in_place else Severity.WARNING,
                place=elf.path,
                message="a program without mode x: it cannot be started",
                hint="keep mode 0755 when packing: re-packing tools that use zipfile.write lose it",
            )
        if elf.kind in {ElfKind.EXECUTABLE, ElfKind.STATIC}:
            static = elf.kind is ElfKind.STATIC
            yield Finding(
                check="pie",
                severity=Severity.NOTE if static else Severity.WARNING,
                place=elf.path,
                message=f"not position-independent ({elf.kind}): it is loaded at a known address",
                hint="build with -buildmode=pie (Go) or -fPIE -pie",
            )
        known = policy.interpreters(elf.arch)
        if elf.interpreter and known and elf.interpreter not in known:
            yield Finding(
                check="interpreter",
                severity=Severity.ERROR,
                place=elf.path,
                message=f"names the loader {elf.interpreter!r}, which hosts do not have",
                hint=f"patchelf --set-interpreter {known[0]} FILE",
            )


def private_symbols(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Nothing uses a library's internals: they change with every release."""
    for elf in facts.host_elf:
        for library, versions in elf.symbol_versions.items():
            if policy.PRIVATE in versions:
                yield Finding(
                    check="private-symbols",
                    severity=Severity.ERROR,
                    place=elf.path,
                    message=f"needs {policy.PRIVATE} symbols of {library}",
                    hint="it is part of some glibc, or linked with static parts of one: "
                    "do not graft C libraries",
                )
            for version in versions:
                if "_PRIVATE" in version and version != policy.PRIVATE:
                    yield Finding(
                        check="private-symbols",
                        severity=Severity.WARNING,
                        place=elf.path,
                        message=f"needs {version} of {library}: it works with exactly one release "
                        "of that library",
                        hint="build against public symbols, or tell users which release of the "
                        "host library it needs",
                    )


def hardening(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Neither stack nor code has to be writable and executable at once."""
    for elf in facts.host_elf:
        if elf.executable_stack:
            yield Finding(
                check="executable-stack",
                severity=Severity.WARNING,
                place=elf.path,
                message="asks for an executable stack: dlopen of it fails from glibc 2.41 on",
                hint="add .note.GNU-stack to hand-written assembly, or link with -z noexecstack",
            )
        if elf.text_relocations:
            yield Finding(
                check="text-relocations",
                severity=Severity.WARNING,
                place=elf.path,
                message="has text relocations: SELinux hosts refuse to load it",
                hint="compile everything that goes into it with -fPIC; find it with -Wl,-z,text",
            )


def instruction_set(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Stay at the baseline that a platform tag promises (x86-64 psABI, PEP 600)."""
    for elf in facts.host_elf:
        if elf.isa:
            yield Finding(
                check="instruction-set",
                severity=Severity.ERROR,
                place=elf.path,
                message=f"marked as needing {elf.isa}: the loader refuses it on older processors",
                hint="build with -march=x86-64, and choose faster code at run time",
            )
