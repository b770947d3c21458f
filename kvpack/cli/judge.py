"""Audits a wheel by its recipe and remembers the verdict: same wheel, same rules, same answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.audit.model import AuditReport, Policy
from kvpack.audit.rules import rules_digest
from kvpack.cli.context import Context
from kvpack.errors import Fault, WheelInvalid
from kvpack.tools.files import canonical_json, sha256_of

if TYPE_CHECKING:
    from kvpack.audit.evidence import Seen
    from kvpack.audit.model import WheelFacts
    from kvpack.audit.prove import Held
    from kvpack.audit.smoke import Trial
    from kvpack.build.model import BuildPlan, BuiltWheel
    from kvpack.recipe.model import Recipe


@dataclass(frozen=True)
class Examined:
    """One wheel, read once: its facts, its faults, and what the recipe's proofs ask for."""

    facts: "WheelFacts"
    faults: list[Fault]
    seen: "Mapping[str, Seen]" = field(default_factory=dict)


def examine(path: Path, recipe: "Recipe | None", *, hint: str) -> Examined:
    """Read a wheel; nothing is executed.

    :param hint: what to do if it cannot be read.
    :raises WheelInvalid: if nothing can be trusted to be read.
    """
    from kvpack.audit.evidence import questions
    from kvpack.audit.symbols import Prober
    from kvpack.audit.wheel import inspect_wheel

    prober = Prober(questions(recipe.prove, recipe.identity)) if recipe else None
    facts, faults = inspect_wheel(path, prober)
    if facts is None:
        raise WheelInvalid(
            f"{path} is not a wheel that can be read",
            cause="it is damaged, or another kind of file",
            hint=hint,
            faults=faults,
        )
    return Examined(facts, faults, prober.seen if prober else {})


def report_on(
    examined: Examined, policy: Policy, recipe: "Recipe | None", held: "Held"
) -> AuditReport:
    """Hold what was read to the rules, and to the recipe's proofs."""
    from kvpack.audit.checks import audit
    from kvpack.audit.prove import with_proofs

    report = audit(examined.facts, policy, examined.faults)
    if recipe is None:
        return report
    return with_proofs(report, recipe.prove, recipe.identity, examined.seen, held)


def policy_of(plan: "BuildPlan") -> Policy:
    """The rules that the recipe and the target set."""
    target, recipe = plan.inputs.target, plan.recipe
    return Policy(
        glibc=target.glibc,
        arch=target.arch,
        host_libraries=recipe.audit.host_libraries,
        host_folders=recipe.audit.host_folders,
        owns=recipe.distribution.owns,
        distribution=plan.distribution,
        tag_exact=True,
    )


def verdict_name(plan: "BuildPlan", sha256: str) -> str:
    """Under which the verdict about a wheel is remembered."""
    audit = plan.recipe.audit
    rules = [
        rules_digest(),
        policy_of(plan).as_json(),
        audit.imports,
        audit.run,
        [wheel.sha256 for wheel in plan.inputs.imports],
        *_proof_rules(plan),
    ]
    return f"{sha256}-{sha256_of(canonical_json(rules))[:16]}"


def _proof_rules(plan: "BuildPlan") -> list[object]:
    """What the recipe's proofs are, and what they must give here; nothing where there are none."""
    recipe, target = plan.recipe, plan.inputs.target
    if not recipe.prove and recipe.identity is None:
        return []
    identity = recipe.identity.as_json() if recipe.identity else None
    expected = [
        prove.expected(target.version, target.accelerator, target.arch) for prove in recipe.prove
    ]
    commit = getattr(plan.inputs.source, "commit", None)
    return [identity, commit, [prove.as_json() for prove in recipe.prove], expected]


def remembered(context: Context, plan: "BuildPlan", sha256: str) -> dict[str, Any] | None:
    """An earlier verdict of the same rules, as JSON."""
    return context.store.read_record("audits", verdict_name(plan, sha256))


def judge(context: Context, plan: "BuildPlan", built: "BuiltWheel") -> dict[str, Any]:
    """Audit a wheel of the store, statically and by running it; remember the verdict.

    :returns: the JSON of the audit report.
    """
    if (known := remembered(context, plan, built.sha256)) is not None:
        return known
    store = context.store
    with store.scratch("audit") as folder:
        wheel = folder / built.file
        store.place(built.sha256, wheel)
        report = static_report(context, plan, wheel)
        if report.passed and (plan.recipe.audit.imports or plan.recipe.audit.run):
            report = _with_trial(context, plan, wheel, report)
    result: dict[str, Any] = report.as_json()
    store.write_record("audits", verdict_name(plan, built.sha256), result)
    return result


def static_report(context: Context, plan: "BuildPlan", wheel: Path) -> AuditReport:
    """Audit a wheel by its plan from its bytes alone; nothing is executed.

    :raises WheelInvalid: if nothing can be trusted to be read.
    """
    from kvpack.audit.prove import Held
    from kvpack.cli.linked import library_findings

    held = Held(
        accelerator=plan.inputs.target.accelerator,
        arch=plan.inputs.target.arch,
        own=True,
        torch=plan.inputs.target.torch,
        commit=getattr(plan.inputs.source, "commit", None),
        host_libraries=plan.recipe.audit.host_libraries,
    )
    with context.console.step(f"Auditing {wheel.name}"):
        hint = "kvpack store gc --keep-results 0, then build again"
        examined = examine(wheel, plan.recipe, hint=hint)
        report = report_on(examined, policy_of(plan), plan.recipe, held)
        unused = library_findings(context, plan, report.facts)
        return report.model_copy(update={"findings": (*unused, *report.findings)})


def _with_trial(
    context: Context, plan: "BuildPlan", wheel: Path, report: AuditReport
) -> AuditReport:
    from kvpack.audit.smoke import try_out
    from kvpack.cli.workshop import ready_root

    engine, image, _ = ready_root(context, plan.inputs)
    names = " ".join(plan.recipe.audit.imports) or "its programs"
    with context.console.step(f"Importing {names} in a clean environment"):
        trial = trial_of(context, plan, image)
        found = try_out(wheel, report.facts, trial, engine, context.console)
    return report.model_copy(update={"findings": (*found, *report.findings)})


def trial_of(context: Context, plan: "BuildPlan", image: str) -> "Trial":
    """The clean environment of a target: the locked run-time closure on the root's Python."""
    from kvpack.audit.smoke import Trial
    from kvpack.build.imagedebs import libraries_beside
    from kvpack.build.toolkit import trial_libraries
    from kvpack.cli.supply import import_parts, supply
    from kvpack.tools.engine import oci_platform

    supply(context, import_parts(plan.inputs))
    target = plan.inputs.target
    tag = target.python_tag
    base = "/usr/bin" if plan.inputs.root.image is None else f"/opt/python/{tag}-{tag}/bin"
    return Trial(
        imports=plan.recipe.audit.imports,
        commands=plan.recipe.audit.run,
        python=target.python,
        base=base,
        image=image,
        platform=oci_platform(target.arch),
        libraries=(
            *trial_libraries(plan.inputs),
            *libraries_beside(plan.inputs.root, context.roots.image.prefix),
        ),
        requirements=tuple(
            (wheel.file, context.store.check(wheel.sha256)) for wheel in plan.inputs.imports
        ),
    )
