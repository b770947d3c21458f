"""Checks of what libraries need and of what there are two of. Pure."""

import shlex
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase

from kvpack.doctor import mends
from kvpack.doctor.environment import Library
from kvpack.doctor.model import Finding, Mend
from kvpack.doctor.patient import Patient
from kvpack.doctor.rules import TorchMinors, holds
from kvpack.names import Accelerator

_SHOWN = 2


def cuda_major(patient: Patient) -> Iterator[Finding]:
    """Extensions that link another CUDA major than torch's (vLLM #39923, #42511, #52300).

    Not told again: members of a crowded family, and members of another accelerator, which have
    findings of their own. Without torch or any other witness, two majors among the extensions.
    """
    found: defaultdict[str, dict[str, Library]] = defaultdict(dict)
    for library in patient.environment.libraries:
        if not patient.rules.is_on_demand(library.path):
            for major in patient.rules.cuda_majors(library.needs):
                found[library.distribution].setdefault(major, library)
    target = patient.target
    if target is None:
        majors = {major for needs in found.values() for major in needs}
        if len(majors) > 1:
            yield _mixed(found)
        return
    if target.accelerator is Accelerator.CPU:
        return
    for name, needs in sorted(found.items()):
        wrong = {major: library for major, library in needs.items() if major != target.cuda}
        if wrong and not _told_elsewhere(patient, name):
            yield from (
                _wrong_major(patient, name, major, library) for major, library in wrong.items()
            )


def _told_elsewhere(patient: Patient, name: str) -> bool:
    if name in patient.crowded or patient.families.built(name) is not None:
        return True
    family = patient.families.family_of(name)
    member = family.member(name) if family else None
    target = patient.target
    return bool(member and target and member.accelerator not in {None, target.accelerator})


def _wrong_major(patient: Patient, name: str, major: str, library: Library) -> Finding:
    target = patient.target
    one = patient.environment.named(name)
    return Finding(
        check="cuda-major",
        severity="error",
        place=library.path,
        message=f"{name} {one.version if one else ''} needs CUDA {major}"
        + (f", and {target.because}" if target else ""),
        why="import fails with libcudart.so of that major, or two runtimes share a process "
        "(vLLM #39923)",
        mend=mends.packages(patient.python, again=[one.spec])
        if one and _of_family(patient, name)
        else (),
    )


def _of_family(patient: Patient, name: str) -> bool:
    """A right member with wrong bytes: what its own name promises comes back when reinstalled."""
    return patient.families.family_of(name) is not None


def _mixed(found: dict[str, dict[str, Library]]) -> Finding:
    said = [f"{name} needs {' and '.join(sorted(needs))}" for name, needs in sorted(found.items())]
    return Finding(
        check="cuda-major",
        severity="error",
        place=", ".join(sorted(found)),
        message=f"two CUDA majors are linked: {'; '.join(said)}",
        why="one process can have one CUDA runtime; kvpack doctor --cuda 13 (or 12) says which "
        "one is wrong and mends it",
    )


def two_runtimes(patient: Patient) -> Iterator[Finding]:
    """CUDA libraries of two majors from NVIDIA's wheels (vLLM #52300)."""
    if len(patient.runtimes) < 2:  # noqa: PLR2004  # one is right
        return
    target = patient.target
    wanted = target.cuda if target else None
    extra = [
        name for major, names in patient.runtimes.items() if wanted not in {None, major}
        for name in names
    ]  # fmt: skip
    asked = {
        name: sorted(one.name for one in patient.environment.distributions if name in one.requires)
        for name in extra
    }
    free = [name for name, by in asked.items() if not by]
    because = "; ".join(
        f"{name} is required by {', '.join(by)}" for name, by in asked.items() if by
    )
    shown = "; ".join(f"{major}: {', '.join(names)}" for major, names in patient.runtimes.items())
    yield Finding(
        check="two-cuda-majors",
        severity="warning",
        place="nvidia",
        message=f"CUDA libraries of two majors are installed ({shown})"
        + (f"; {because}" if because else ""),
        why="whatever needs the other major keeps them: it is the one to replace (vLLM #52300)",
        mend=mends.packages(patient.python, remove=free) if free else (),
    )


def unversioned_cudart(patient: Patient) -> Iterator[Finding]:
    """``libcudart.so`` is needed and there is only ``libcudart.so.N`` (vLLM #42114)."""
    needing = [
        one for one in patient.environment.libraries
        if "libcudart.so" in one.needs and not patient.rules.is_on_demand(one.path)
    ]  # fmt: skip
    cache = patient.machine.libraries or {}
    there = {*cache, *patient.machine.cuda_folder, *patient.environment.found_beside}
    there |= {one.name for one in patient.environment.libraries}
    if not needing or "libcudart.so" in there:
        return
    major = patient.target.cuda if patient.target else None
    numbered = sorted(one for one in there if fnmatchcase(one, f"libcudart.so.{major or '[0-9]*'}"))
    found = min(numbered, key=len, default=None)
    yield Finding(
        check="libcudart-unversioned",
        severity="error" if patient.machine.serious else "note",
        place=needing[0].path,
        message=f"{needing[0].distribution} needs libcudart.so, and there is "
        f"{'only ' + found if found else 'no libcudart at all'}",
        why="linked against the toolkit's development name; images make the link by hand "
        "(vLLM #42114)",
        mend=_link(patient, found) if found else (),
    )


def _link(patient: Patient, found: str) -> tuple[Mend, ...]:
    cached = (patient.machine.libraries or {}).get(found, ())
    own = next((one.path for one in patient.environment.libraries if one.name == found), None)
    if cached:
        folder = cached[0].rpartition("/")[0]
    elif found not in patient.machine.cuda_folder and own is not None:
        site = shlex.join(
            [patient.python, "-c", 'import sysconfig; print(sysconfig.get_path("platlib"))']
        )
        folder = f"$({site})/{own.partition('/')[2].rpartition('/')[0]}"
        return (Mend(tool="system", command=f"ln -s {found} {folder}/libcudart.so"),)
    else:
        folder = "/usr/local/cuda/lib64"
    return (Mend(tool="system", command=f"ln -s {found} {folder}/libcudart.so && ldconfig"),)


def torch_minor(patient: Patient) -> Iterator[Finding]:
    """nixl's EP extension is built for one minor of torch each, without a fallback.

    From 1.3.1 on the minor is in the file's name (ModuleNotFoundError otherwise, measured); before,
    there is one for torch 2.11.
    """
    torch, member, target = patient.environment.torch, patient.member("nixl"), patient.target
    if torch is None or member is None or target is None or target.cuda is None:
        return
    entry = next((e for e in patient.rules.torch_minors if holds(e.versions, member.version)), None)
    built = set(patient.environment.torch_files) or set(_minors(entry, target.cuda))
    if not built or torch.minor in built:
        return
    fits = [
        e.versions.removeprefix("==") for e in patient.rules.torch_minors
        if e.versions.startswith("==") and torch.minor in _minors(e, target.cuda)
    ]  # fmt: skip
    dispatcher = patient.environment.named("nixl")
    add = [f"{one.name}=={fits[-1]}" for one in (dispatcher, member) if one and fits]
    yield Finding(
        check="torch-minor",
        severity="warning",
        place=member.name,
        message=f"nixl_ep of {member.name} {member.version} is built for torch "
        f"{', '.join(sorted(built))}, and torch {torch.version} is installed"
        + ("" if fits else "; no known version is built for it"),
        why="import nixl_ep fails; nixl itself does not depend on torch's version",
        mend=mends.packages(patient.python, add=add) if add else (),
    )


def _minors(entry: TorchMinors | None, major: str) -> tuple[str, ...]:
    return () if entry is None else {"12": entry.cuda12, "13": entry.cuda13}.get(major, ())


def copies(patient: Patient) -> Iterator[Finding]:
    """Two UCX or two libnixl that can meet in one process.

    dynamo #12558 (Ubuntu's UCX 1.16 and nixl's 1.21 on GB200: NIXL_ERR_BACKEND), nixl #1668
    (TensorRT-LLM hangs), coreweave/ml-containers #173 (HPC-X); dynamo #6671 for libnixl.so.
    """
    for what, glob in patient.rules.copies.items():
        owners: dict[str, str] = {}
        for library in patient.environment.libraries:
            if fnmatchcase(library.name, glob):
                owners.setdefault(library.distribution, library.path)
        own = [name for name in owners if name not in patient.crowded]
        if len(own) > 1:
            yield _two(what, [f"{name} ({owners[name]})" for name in own], "warning")
        outside = _outside(patient, what, glob)
        if owners and outside:
            loaded = any(place in patient.machine.variables.get("LD_LIBRARY_PATH", "")
                         for place in ("hpcx", "nvda_nixl", "/ucx"))  # fmt: skip
            severity = "warning" if loaded and patient.machine.serious else "note"
            yield _two(what, [*owners, *outside], severity)


def _outside(patient: Patient, what: str, glob: str) -> list[str]:
    cache = patient.machine.libraries or {}
    found = [path for name, paths in cache.items() if fnmatchcase(name, glob) for path in paths[:1]]
    if what == "UCX" and patient.machine.hpcx:
        found.append("/opt/hpcx/ucx/lib")
    if what == "libnixl" and patient.machine.nixl_tree:
        found.append("/opt/nvidia/nvda_nixl")
    return found[:_SHOWN]


def _two(what: str, places: list[str], severity: str) -> Finding:
    return Finding.model_validate(
        {
            "check": "two-copies",
            "severity": severity,
            "place": what,
            "message": f"{len(places)} copies of {what}: {', '.join(places)}",
            "why": "two in one process hang or fail (dynamo #12558, nixl #1668); keep the others "
            "off LD_LIBRARY_PATH and LD_PRELOAD of programs that load this one",
        }
    )
