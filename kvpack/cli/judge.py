"""Audits a wheel by its recipe and remembers the verdict: same wheel, same rules, same answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.audit.model import AuditReport, Policy
from kvpack.audit.rules import rules_digest
from kvpack.cli.context import Context
from kvpack.errors import WheelInvalid
from kvpack.tools.files import canonical_json, sha256_of

if TYPE_CHECKING:
    from kvpack.audit.smoke import Trial
    from kvpack.build.model import BuildPlan, BuiltWheel


def policy_of(plan: "BuildPlan") -> Policy:
    """The rules that the recipe and the target set."""
    target, recipe = plan.inputs.target, plan.recipe
    return Policy(
        glibc=target.glibc,
        arch=target.arch,
        host_libraries=recipe.audit.host_libraries,
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
    ]
    return f"{sha256}-{sha256_of(canonical_json(rules))[:16]}"


def remembered(context: Context, plan: "BuildPlan", sha256: str) -> dict[str, Any] | None:
    """An earlier verdict of the same rules, as JSON."""
    return context.store.read_record("audits", verdict_name(plan, sha256))


def judge(context: Context, plan: "BuildPlan", built: "BuiltWheel") -> dict[str, Any]:
    """Audit a wheel of the store, statically and by running it; remember the verdict.

    :returns: the JSON of the audit report.
    """
    if (known := remembered(context, plan, built.sha256)) is not None:
        return known
    from kvpack.audit.checks import audit
    from kvpack.audit.wheel import inspect_wheel

    console, store = context.console, context.store
    with store.scratch("audit") as folder:
        wheel = folder / built.file
        store.place(built.sha256, wheel)
        with console.step(f"Auditing {built.file}"):
            facts, faults = inspect_wheel(wheel)
            if facts is None:
                raise WheelInvalid(
                    f"{built.file} cannot be read back from the store",
                    cause="the build made a file that is no wheel",
                    hint="kvpack store gc --keep-results 0, then build again",
                    faults=faults,
                )
            report = audit(facts, policy_of(plan), faults)
        if report.passed and (plan.recipe.audit.imports or plan.recipe.audit.run):
            report = _with_trial(context, plan, wheel, report)
    result: dict[str, Any] = report.as_json()
    store.write_record("audits", verdict_name(plan, built.sha256), result)
    return result


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
        requirements=tuple(
            (wheel.file, context.store.check(wheel.sha256)) for wheel in plan.inputs.imports
        ),
    )
