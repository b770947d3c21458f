"""Checks of what wheels leave to the host: libraries, and the providers of libibverbs. Pure."""

from collections import defaultdict
from collections.abc import Iterator

from kvpack.doctor import mends
from kvpack.doctor.environment import Library
from kvpack.doctor.model import Finding, Mend
from kvpack.doctor.patient import Patient

_SHOWN = 6


def host_libraries(patient: Patient) -> Iterator[Finding]:
    """Needed sonames that neither the environment nor the host has.

    Mooncake #3121 (libmlx5 since 0.3.12), smg's CI (libnuma, libibverbs even for TCP alone),
    mori #327 (gRPC of the distribution). Only members and dispatchers of families are looked at.
    A machine that has no GPU and no RDMA device gets notes: nothing is transferred there.
    """
    if patient.machine.libraries is None:
        return
    hard: defaultdict[str, set[str]] = defaultdict(set)
    soft: defaultdict[str, set[str]] = defaultdict(set)
    for library in patient.environment.libraries:
        name = library.distribution
        if name in patient.crowded or patient.families.family_of(name) is None:
            continue
        demand = patient.rules.is_on_demand(library.path)
        for soname in _absent(patient, library):
            (soft if demand else hard)[library.distribution].add(soname)
    for name, missing in sorted(hard.items()):
        yield _absent_finding(patient, name, sorted(missing))
    for name, missing in sorted(soft.items()):
        rest = sorted(missing - hard.get(name, set()))
        if rest:
            yield _plugins(name, rest)


def _absent(patient: Patient, library: Library) -> Iterator[str]:
    machine = patient.machine
    there = {*(machine.libraries or {}), *patient.environment.found_beside}
    inside = {one.soname or one.name for one in patient.environment.libraries}
    inside |= {one.name for one in patient.environment.libraries}
    for soname in library.needs:
        known = patient.rules.host_library(soname)
        brought = known is not None and known.vendor is not None
        if soname in there or soname in inside or soname == "libcudart.so":
            continue
        if soname.startswith(("libtorch", "libc10")):  # torch's, and it is loaded by import torch
            continue
        if brought and known is not None and not machine.has_gpu(known.vendor or ""):
            continue
        yield soname


def _absent_finding(patient: Patient, name: str, missing: list[str]) -> Finding:
    rules = [patient.rules.host_library(soname) for soname in missing]
    here = patient.machine.codename
    packages = [
        one.package for one in rules if one and one.package and one.codename in {None, here}
    ]
    foreign = sorted({one.codename for one in rules if one and one.codename} - {None, here})
    drivers = sorted({one.vendor for one in rules if one and one.vendor})
    whys = list(dict.fromkeys(one.why for one in rules if one and one.why))
    runtime = patient.rules.cuda_majors(tuple(missing))
    shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more"
                                           if len(missing) > _SHOWN else "")  # fmt: skip
    mend: list[Mend] = [mends.apt(packages)] if packages else []
    for major in runtime:
        project = "nvidia-cuda-runtime-cu12" if major == "12" else f"nvidia-cuda-runtime=={major}.*"
        mend += mends.packages(patient.python, add=[project])
    said = f"; it was built for {', '.join(foreign)}" if foreign else ""
    said += f"; the {' and '.join(drivers)} driver brings its part" if drivers else ""
    if runtime:
        said += "; libcudart is found once torch is imported, or by LD_LIBRARY_PATH"
    return Finding(
        check="host-library",
        severity="error" if patient.machine.serious else "note",
        place=name,
        message=f"{name} needs {shown}: not in the environment, not on the host{said}",
        why='import fails with "cannot open shared object file"'
        + (f"; {'; '.join(whys)}" if whys else ""),
        mend=tuple(mend),
    )


def _plugins(name: str, missing: list[str]) -> Finding:
    shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
    return Finding(
        check="plugin-library",
        severity="note",
        place=name,
        message=f"plugins and tools of {name} that need {shown} cannot load here",
        why="they are loaded on demand; everything else works without",
    )


def verbs_providers(patient: Patient) -> Iterator[Finding]:
    """RDMA devices, and no provider for libibverbs: it then finds no device (Mooncake #3121)."""
    machine = patient.machine
    cache = machine.libraries or {}
    if not machine.nics or not patient.moves_memory or "libibverbs.so.1" not in cache:
        return
    if machine.verbs_providers:
        return
    yield Finding(
        check="verbs-providers",
        severity="error",
        place="/etc/libibverbs.d",
        message=f"{len(machine.nics)} RDMA devices, and libibverbs has no provider for any",
        why="ibv_get_device_list gives none, and transfers fall back to TCP without a word "
        "(Mooncake #3121)",
        mend=(mends.apt(["ibverbs-providers"]),),
    )
