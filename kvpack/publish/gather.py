"""From an output folder to a release: which wheels it holds, and the proof beside each.

What ``kvpack build`` left is checked again, not believed: the wheel against its audit report, the
action against the key, the key against the plan of the present lock.
"""

import json
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from kvpack.audit.model import AuditReport
from kvpack.build.model import BuildPlan
from kvpack.errors import Fault, ObjectConflict, ReleaseIncomplete
from kvpack.publish.attest import is_signed
from kvpack.publish.model import (
    EVIDENCE,
    LibraryLock,
    Promise,
    Release,
    Stored,
    Wheel,
    file_path,
)
from kvpack.publish.storage import stored
from kvpack.tools.files import canonical_json, sha256_of
from kvpack.tools.stored import Data


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A release that is still to be written."""

    release: Release
    """Without the moment at which it was created: the storage's clock says that."""
    data: dict[str, Data]
    """Path in the storage -> bytes, for every object of the release."""
    passed_over: tuple[str, ...] = ()
    """Wheels of the folder that are none of its targets, of older keys for instance."""
    terms: tuple[str, ...] = ()
    """Wheels under terms that no list of licences has, as their audits tell them: to be read
    before they are published."""


@dataclass
class _Found:
    wheels: list[Wheel] = field(default_factory=list)
    data: dict[str, Data] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    """Titles of targets."""
    terms: list[str] = field(default_factory=list)


def gather(
    plans: Sequence[BuildPlan], folder: Path, locks: Mapping[str, bytes], *, allow_partial: bool
) -> Prepared:
    """Find the wheel of every plan, with evidence that proves it.

    :param plans: one for each target that the release promises.
    :param locks: recipe -> the text of its lock, also of the native libraries below.
    :raises ReleaseIncomplete: with every target that is absent or not proved.
    """
    reports, faults = _reports(folder)
    found = _Found(faults=faults)
    for plan in plans:
        _take(plan, reports.get(plan.key), folder, found)
    absent = [
        Fault(
            place=plan.title, message=f"no wheel with key {plan.key[:12]} in {folder}",
            hint=f"kvpack build {plan.recipe.name} {_selectors(plan)} --out {folder}",
        )
        for plan in plans if plan.title in found.missing
    ]  # fmt: skip
    if found.faults or (absent and not (allow_partial and found.wheels)):
        raise _incomplete(found.faults, absent, len(plans))
    _one_accelerator_per_version(found.wheels)
    promises = tuple(_promises(plans, locks, found))
    release = Release(
        release_schema=2 if any(one.libraries for one in promises) else 1,
        created="",
        partial=bool(absent),
        promises=promises,
        wheels=tuple(sorted(found.wheels, key=lambda wheel: wheel.filename)),
    )
    known = {plan.key for plan in plans}
    others = tuple(sorted(r.facts.filename for key, r in reports.items() if key not in known))
    return Prepared(
        release=release.sealed(""), data=found.data, passed_over=others, terms=tuple(found.terms)
    )


def _selectors(plan: BuildPlan) -> str:
    target = plan.inputs.target
    accelerator = str(target.accelerator)
    named = {
        "cpu": "--cpu",
        "cuda": f"--cuda {accelerator[4:]}",
        "rocm": f"--rocm {accelerator[4:]}",
    }
    return (
        f"--version {target.version} --python {target.python} --glibc {target.glibc} "
        f"--arch {target.arch} {named.get(accelerator[:4].rstrip('0123456789'), '')}"
    ).rstrip()  # fmt: skip


def _reports(folder: Path) -> tuple[dict[str, AuditReport], list[Fault]]:
    """Read every audit report of a folder, by the key of its wheel."""
    found, faults = {}, []
    for path in sorted(folder.glob(f"*.whl{EVIDENCE['audit']}")):
        try:
            report = AuditReport.model_validate_json(path.read_bytes())
        except ValidationError as error:
            message = f"no audit report: {str(error).splitlines()[0]}"
            faults.append(Fault(place=str(path), message=message, hint="build it again"))
            continue
        if report.facts.key is not None:
            found[report.facts.key] = report
    return found, faults


def _take(plan: BuildPlan, report: AuditReport | None, folder: Path, found: _Found) -> None:
    """Add one target's wheel, or say what is wrong with it."""
    if report is None or not (folder / report.facts.filename).is_file():
        found.missing.add(plan.title)
        return
    path = folder / report.facts.filename
    facts, target = report.facts, plan.inputs.target
    place = file_path(facts.distribution, facts.filename)
    whole = stored(place, path)
    wrong = _doubts(plan, report, path, whole.sha256)
    if wrong:
        found.faults += [
            Fault(place=str(path), message=one, hint="build it again") for one in wrong
        ]
        return
    told = [one for one in report.findings if one.check == "licence"]
    found.terms += [f"{facts.filename}: {one.message}" for one in told]
    given: dict[str, Data] = {"metadata": _metadata(path)}
    for kind, suffix in EVIDENCE.items():
        beside = path.with_name(path.name + suffix)
        # What is unsigned can be derived from the wheel; published, no signature could follow it.
        if kind == "statement" and not is_signed(beside):
            continue
        if kind != "metadata" and beside.is_file():
            given[kind] = beside
    evidence = {kind: stored(place + EVIDENCE[kind], data) for kind, data in given.items()}
    found.data |= {evidence[kind].path: data for kind, data in given.items()} | {place: path}
    found.wheels.append(
        Wheel(
            **whole.model_dump(), filename=facts.filename, project=facts.distribution,
            version=facts.version, accelerator=target.accelerator, target=target.id, key=plan.key,
            requires_python=facts.requires_python, evidence=evidence,
        )
    )  # fmt: skip


def _metadata(wheel: Path) -> bytes:
    """METADATA as the wheel has it: what PEP 658 serves beside it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(_METADATA)]
        return archive.read(name)


_METADATA = ".dist-info/METADATA"


def _doubts(plan: BuildPlan, report: AuditReport, path: Path, digest: str) -> list[str]:
    """Everything that keeps a wheel out of a release."""
    found = []
    if not report.passed:
        found.append(f"its audit report has {len(report.errors)} errors")
    if digest != report.facts.sha256:
        found.append(f"its sha256 is {digest}, its audit report is about {report.facts.sha256}")
    beside = [f"{path.name}{EVIDENCE[kind]}" for kind in ("sbom", "action")]
    found += [f"{name} is missing" for name in beside if not path.with_name(name).is_file()]
    action = path.with_name(path.name + EVIDENCE["action"])
    if action.is_file() and _key_of(action) != plan.key:
        found.append(f"its action document does not have the key {plan.key[:12]}")
    if (found_as := (report.facts.distribution, report.facts.version)) != (
        plan.distribution, plan.version,
    ):  # fmt: skip
        wanted = f"{plan.distribution} {plan.version}"
        found.append(f"it is {' '.join(found_as)}, the plan says {wanted}")
    return found


def _key_of(action: Path) -> str:
    try:
        return sha256_of(canonical_json(json.loads(action.read_bytes())))
    except ValueError:
        return ""


def _promises(
    plans: Sequence[BuildPlan], locks: Mapping[str, bytes], found: _Found
) -> list[Promise]:
    targets: dict[tuple[str, str], list[str]] = defaultdict(list)
    libraries: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for plan in plans:
        target = plan.inputs.target
        targets[plan.recipe.name, target.version].append(target.id)
        below = {(one.recipe.name, one.inputs.target.version) for one in plan.below}
        libraries[plan.recipe.name, target.version] |= below

    def lock_of(recipe: str) -> Stored:
        text = locks[recipe]
        lock: Stored = stored(f"locks/{recipe}/{sha256_of(text)}.toml", text)
        found.data[lock.path] = text
        return lock

    promises = []
    for (recipe, version), ids in sorted(targets.items()):
        missing = tuple(one for one in ids if f"{recipe} {version} {one}" in found.missing)
        named = sorted(libraries[recipe, version])
        promises.append(
            Promise(
                recipe=recipe, version=version, lock=lock_of(recipe), targets=tuple(ids),
                missing=missing, libraries=tuple(
                    LibraryLock(recipe=name, version=one, lock=lock_of(name)) for name, one in named
                ),
            )
        )  # fmt: skip
    return promises


def _one_accelerator_per_version(wheels: Sequence[Wheel]) -> None:
    """Hold that no version of a project is of two accelerators.

    :raises ObjectConflict: one page, cache or lock would take either for the other.
    """
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for wheel in wheels:
        seen[wheel.project, wheel.version].add(wheel.accelerator)
    faults = [
        Fault(place=f"{project} {version}", message=f"is of {', '.join(sorted(kinds))}")
        for (project, version), kinds in seen.items()
        if len(kinds) > 1
    ]
    if faults:
        raise ObjectConflict(
            "one version would hold wheels of several accelerators",
            cause="installers and caches know a wheel by project and version",
            hint="give each accelerator a project name of its own in [distribution]",
            faults=faults,
        )


def _incomplete(
    faults: Sequence[Fault], absent: Sequence[Fault], promised: int
) -> ReleaseIncomplete:
    count = len(absent)
    if faults:
        what = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in what would be published"
    else:
        what = f"{count} of {promised} promised targets {'have' if count > 1 else 'has'} no wheel"
    return ReleaseIncomplete(
        f"{what}; nothing was written",
        cause="a release holds all that its recipes build by default, or what was selected",
        hint="build what is missing, select less, or publish what there is: --allow-partial",
        faults=[*faults, *absent],
    )
