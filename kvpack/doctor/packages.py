"""Checks of what is installed: families, dispatchers, accelerators, torch. Pure."""

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from kvpack.doctor import mends
from kvpack.doctor.environment import Distribution
from kvpack.doctor.model import Finding, Mend
from kvpack.doctor.patient import Patient
from kvpack.doctor.rules import holds
from kvpack.names import Accelerator
from kvpack.resolve.families import Family


def two_members(patient: Patient) -> Iterator[Finding]:
    """Two members of a family: the last one installed wins, whatever it is.

    vLLM #39923, #42525, LMCache #3707, kaito #2086 and others (users.md §3, 1-18). An error where
    they own a path with other bytes below site-packages; from nixl 1.3.0 on only programs in bin/
    do (nixl #1727), which is a warning.
    """
    for name, members in patient.members.items():
        if len(members) < 2:  # noqa: PLR2004  # one is right
            continue
        family = patient.family(name)
        names = [one.name for one in members]
        clash = [
            one.path
            for one in patient.environment.collisions
            if one.kind != "same-bytes"
            and len({owner.distribution for owner in one.owners} & set(names)) > 1
        ]
        inside = [path for path in clash if path.startswith("site-packages/")]
        first = next((path for path in inside if ".so" in path), (inside or clash or [""])[0])
        shared = f"; {len(clash)} paths are owned by both, such as {first}" if clash else ""
        keep = _right(patient, family, members)
        right = (
            f"{keep.name} is the right one: {patient.target.because}"
            if keep is not None and patient.target is not None
            else f"say which one is right: kvpack doctor --cuda {_majors(family, members)}"
        )
        yield Finding(
            check="two-members",
            severity="error" if inside else "warning",
            place=", ".join(names),
            message=f"{len(members)} members of the family {name} in one environment{shared}; "
            f"{right}",
            why="the last one installed wins, and uninstalling either deletes what both own: "
            "remove all, then install one (vLLM #42525, SGLang's install script)",
            mend=_keep_one(patient, family, members, keep),
        )


def _right(
    patient: Patient, family: Family, members: tuple[Distribution, ...]
) -> Distribution | None:
    """The installed member that the target asks for."""
    target = patient.target
    if target is None:
        return None
    fits = [one for one in members if _accelerator(family, one) == target.accelerator]
    return fits[0] if len(fits) == 1 else None


def _accelerator(family: Family, one: Distribution) -> Accelerator | None:
    member = family.member(one.name)
    return member.accelerator if member else None


def _majors(family: Family, members: tuple[Distribution, ...]) -> str:
    found = [(_accelerator(family, one) or Accelerator.CPU).value for one in members]
    return " or ".join(sorted(one.removeprefix("cuda") for one in found if "cuda" in one)) or "13"


def _keep_one(
    patient: Patient,
    family: Family,
    members: tuple[Distribution, ...],
    keep: Distribution | None,
) -> tuple[Mend, ...]:
    if keep is None:
        return ()
    spec = _spec(patient, family, keep)
    names = [one.name for one in members]
    return mends.packages(patient.python, remove=names, add=[spec, *_also_hurt(patient, names)])


def _spec(patient: Patient, family: Family, member: Distribution) -> str:
    """What installs a member again, at the dispatcher's version where they go in step."""
    dispatcher = _dispatcher(patient, family)
    if family.lockstep and dispatcher and not _same(dispatcher.version, member.version):
        return f"{member.name}=={dispatcher.version}"
    return member.spec


def _also_hurt(patient: Patient, removed: list[str]) -> list[str]:
    """Specs of other distributions that own paths which the uninstall deletes."""
    hurt = {
        owner.distribution
        for one in patient.environment.collisions
        if {owner.distribution for owner in one.owners} & set(removed)
        for owner in one.owners
    }
    found = [patient.environment.named(name) for name in sorted(hurt - set(removed))]
    return [one.spec for one in found if one is not None]


def _dispatcher(patient: Patient, family: Family) -> Distribution | None:
    return patient.environment.named(family.dispatcher) if family.dispatcher else None


def _same(first: str, second: str) -> bool:
    """Equal versions, local parts aside: a wheel built here is in step with PyPI's."""
    try:
        return Version(first).public == Version(second).public
    except InvalidVersion:
        return first == second


def _at(name: str, like: Distribution) -> str:
    """A spec in step with another distribution: its version without the local part."""
    return f"{name}=={like.version.partition('+')[0]}"


def dispatchers(patient: Patient) -> Iterator[Finding]:
    """A dispatcher without a member, a member without its dispatcher, or out of step.

    ``nixl-cu13`` alone has no ``import nixl`` (LMCache #3370, SGLang #24369); up to nixl 1.0.1 the
    dispatcher asks for ``nixl-cu12>=``, which lets a newer one in (vLLM #39851).
    """
    for family in patient.families.family:
        if family.dispatcher is None:
            continue
        dispatcher = _dispatcher(patient, family)
        members = patient.members.get(family.name, ())
        if dispatcher is None:
            yield from (_lone_member(patient, family, one) for one in members[:1]
                        if family.dispatcher not in one.top_level)  # fmt: skip
        elif not members and set(family.names) & set(dispatcher.requires):
            yield _lone_dispatcher(patient, family, dispatcher)
        elif (
            family.lockstep
            and len(members) == 1
            and not _same(dispatcher.version, members[0].version)
        ):
            yield _out_of_step(patient, dispatcher, members[0])


def _lone_member(patient: Patient, family: Family, member: Distribution) -> Finding:
    return Finding(
        check="dispatcher-missing",
        severity="error",
        place=member.name,
        message=f"{member.name} {member.version} is installed without {family.dispatcher}, so "
        f"there is no import {family.dispatcher}",
        why="frameworks import the dispatcher and say nothing where it is missing (LMCache #3370)",
        mend=mends.packages(patient.python, add=[_at(str(family.dispatcher), member)]),
    )


def _lone_dispatcher(patient: Patient, family: Family, dispatcher: Distribution) -> Finding:
    target = patient.target
    member = family.choose(target.accelerator) if target else None
    which = "" if member else ": say for what, kvpack doctor --cuda 13 or --cuda 12"
    add = [_at(member.name, dispatcher)] if member else []
    return Finding(
        check="member-missing",
        severity="error",
        place=dispatcher.name,
        message=f"{dispatcher.name} {dispatcher.version} has none of "
        f"{', '.join(family.names)} beside it{which}",
        why="it only finds the member to load: import fails",
        mend=mends.packages(patient.python, add=add) if add else (),
    )


def _out_of_step(patient: Patient, dispatcher: Distribution, member: Distribution) -> Finding:
    return Finding(
        check="out-of-step",
        severity="error",
        place=member.name,
        message=f"{member.name} {member.version} beside {dispatcher.name} {dispatcher.version}: "
        "they are released together",
        why="a backend newer than its dispatcher broke vLLM's CI within hours (vLLM #39851)",
        mend=mends.packages(patient.python, add=[_at(member.name, dispatcher)]),
    )


def wrong_accelerator(patient: Patient) -> Iterator[Finding]:
    """The one member of a family is of another accelerator than torch.

    vLLM #42511, #45156, kaito #2086. torch without CUDA beside a CUDA member is a warning: the
    member's own requirement pulls it from PyPI (nixl 1.1.0 release notes).
    """
    target = patient.target
    if target is None:
        return
    for name in patient.members:
        one = patient.member(name)
        family = patient.family(name)
        member = family.member(one.name) if one else None
        if one is None or member is None or member.accelerator in {None, target.accelerator}:
            continue
        if target.accelerator is Accelerator.CPU:
            yield _cpu_torch(patient, one)
            continue
        right = family.choose(target.accelerator, member.flavour)
        spec = _at(right.name, one) if right else None
        yield Finding(
            check="wrong-accelerator",
            severity="error",
            place=one.name,
            message=f"{one.name} {one.version} is for {member.accelerator}, and "
            f"{target.because}" + ("" if right else f"; the family {name} has no such member"),
            why="import fails with libcudart.so of the other major, or GPU memory is refused "
            "(vLLM #42511)",
            mend=mends.packages(patient.python, remove=[one.name], add=[spec]) if spec else (),
        )


def _cpu_torch(patient: Patient, one: Distribution) -> Finding:
    torch = patient.environment.torch
    version = torch.version.split("+")[0] if torch else ""
    backend = "cu130" if one.name.endswith(("13", "13x")) else "cu128"
    return Finding(
        check="wrong-accelerator",
        severity="warning" if patient.machine.gpus else "note",
        place="torch",
        message=f"torch {torch.version if torch else ''} is without an accelerator, and "
        f"{one.name} {one.version} is not",
        why="an installer took the CPU wheel, or PyPI's for another platform (nixl 1.1.0 notes)",
        mend=(
            Mend(
                tool="uv",
                command=f"uv pip install --python {patient.python} --torch-backend={backend} "
                f"--reinstall-package torch torch=={version}",
            ),
        ),
    )


def built_for(patient: Patient) -> Iterator[Finding]:
    """One name whose versions are each built for one accelerator (lmcache: cu12 up to 0.4.4)."""
    target = patient.target
    if target is None or target.accelerator is Accelerator.CPU:
        return
    for one in patient.environment.distributions:
        entry = patient.families.built(one.name)
        if entry is None or "+" in one.version:  # a local build is for what it was built for
            continue
        wanted = entry.versions(target.accelerator)
        if wanted is None or holds(wanted, one.version):
            continue
        yield Finding(
            check="wrong-accelerator",
            severity="error",
            place=one.name,
            message=f"{one.name} {one.version} is not built for {target.accelerator}, and "
            f"{target.because}: versions {wanted} are",
            why="its wheels name no CUDA; their DT_NEEDED does",
            mend=mends.packages(patient.python, add=[f"{one.name}{wanted}"]),
        )


def doubled(patient: Patient) -> Iterator[Finding]:
    """Two versions of one name in one folder: an interrupted or overlaid installation."""
    for name in patient.environment.doubled:
        one = patient.environment.named(name)
        if one is not None:
            yield Finding(
                check="installed-twice",
                severity="error",
                place=name,
                message=f"{name} has the metadata of two versions in one site-packages",
                why="importlib.metadata gives either version; an uninstall takes only one",
                mend=mends.packages(patient.python, remove=[name], again=[one.spec]),
            )
