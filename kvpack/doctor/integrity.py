"""Checks of files against RECORD, and of what an uninstall would break. Pure."""

from collections import defaultdict
from collections.abc import Iterator

from kvpack.doctor import mends
from kvpack.doctor.environment import Distribution
from kvpack.doctor.model import Finding
from kvpack.doctor.patient import Patient
from kvpack.names import counted
from kvpack.resolve.model import Collision

_SHOWN = 3
_TRUST = "certifi/cacert.pem"
"""The trust store that images add their own authority to (seen on a real H200 image)."""
_TRUSTED = (
    "not as installed",
    "somebody added a certificate authority to it; installing it again takes that away",
)
_METADATA = (
    "not as RECORD says",
    (
        "retagged without a new RECORD before it was published (amd_mori), or requirements "
        "were patched in place; no code is concerned"
    ),
)
"""Of files about it alone: published so (amd_mori 1.2.4's WHEEL, measured), or patched by hand."""


def records(patient: Patient) -> Iterator[Finding]:
    """Files that RECORD names and that are gone, or have other bytes.

    Uninstalling one variant deletes files that the other's RECORD owns (SGLang's install script;
    users.md §3, 11). Members of a crowded family are left to ``two-members``: their mend is
    another. So are paths with several owners: of those only the last writer's can be right.
    """
    several = {one.path for one in patient.environment.collisions if one.kind != "same-bytes"}
    for one in patient.environment.distributions:
        if one.name in patient.crowded:
            continue
        changed = [path for path in one.changed if path not in several]
        if one.missing:
            yield _damage(patient, one, list(one.missing), "missing")
        if changed and all(".dist-info/" in path for path in changed):
            yield _harmless(one, changed, *_METADATA)
        elif changed and all(path.endswith(_TRUST) for path in changed):
            yield _harmless(one, changed, *_TRUSTED)
        elif changed:
            yield _damage(patient, one, changed, "changed")
        if one.record == "damaged":
            yield Finding(
                check="record-damaged",
                severity="warning",
                place=one.name,
                message=f"RECORD of {one.name} {one.version} cannot be read",
                why="no installer can uninstall it",
                mend=mends.packages(patient.python, again=[one.spec]),
            )


def _harmless(one: Distribution, paths: list[str], said: str, why: str) -> Finding:
    return Finding(
        check="record-changed",
        severity="note",
        place=one.name,
        message=f"{one.name} {one.version}: {', '.join(paths)} {said}",
        why=why,
    )


def _damage(patient: Patient, one: Distribution, paths: list[str], what: str) -> Finding:
    gone = what == "missing"
    return Finding(
        check=f"record-{what}",
        severity="error" if gone else "warning",
        place=one.name,
        message=f"{counted(len(paths), 'file')} of {one.name} {one.version} "
        f"{'not there' if gone else 'not as installed'}: {_some(paths)}",
        why="another distribution's uninstall took them, or somebody removed them"
        if gone
        else "another distribution wrote them, or somebody edited them in place",
        mend=mends.packages(patient.python, again=[one.spec]),
    )


def shared_paths(patient: Patient) -> Iterator[Finding]:
    """Paths with two owners, and what uninstalling one of them breaks (promise 5 of design.md).

    pip and uv do not count owners: the first uninstall deletes the path for all.
    """
    groups: defaultdict[tuple[str, ...], list[Collision]] = defaultdict(list)
    for collision in patient.environment.collisions:
        owners = tuple(sorted({owner.distribution for owner in collision.owners}))
        if not patient.crowded.issuperset(owners):
            groups[owners].append(collision)
    for owners, found in sorted(groups.items()):
        yield _shared(patient, owners, found)


def _shared(patient: Patient, owners: tuple[str, ...], found: list[Collision]) -> Finding:
    other = [one for one in found if one.kind != "same-bytes"]
    paths = [one.path for one in (other or found)]
    count, shown = counted(len(paths), "path"), _some(paths)
    if not other:
        return Finding(
            check="shared-paths",
            severity="note",
            place=", ".join(owners),
            message=f"{count} with the same bytes: {shown}",
            why="uninstalling one deletes them for all: install the others again afterwards",
        )
    stays = owners[-1]
    rest = [name for name in owners if name != stays]
    named = patient.environment.named(stays)
    return Finding(
        check="shared-paths",
        severity="warning",
        place=", ".join(owners),
        message=f"{count} with other bytes: {shown}",
        why="the last one installed won, and uninstalling either takes the path from both; the "
        f"commands keep {stays}: swap the names to keep another",
        mend=mends.packages(patient.python, remove=rest, again=[named.spec]) if named else (),
    )


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
