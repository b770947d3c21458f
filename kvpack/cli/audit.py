"""The facts and findings of any wheel: its true glibc floor, what it needs, which rules it breaks.

Works on foreign wheels and other architectures; nothing of a wheel is run unless --run says so.
With --recipe the recipe's rules hold; without, a wheel is judged by its own platform tags.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import AuditFailed, TargetUnavailable, UsageError, WheelInvalid
from kvpack.names import GLIBC_PATTERN

if TYPE_CHECKING:
    from kvpack.audit.model import AuditReport, Policy, WheelFacts
    from kvpack.build.model import BuildPlan


class Args(Options):
    wheels: list[Path]
    recipe: str | None = None
    glibc: str | None = None
    run: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wheels", metavar="WHEEL", nargs="+", type=Path, help="a wheel file")
    parser.add_argument("--recipe", metavar="R", help="hold the wheel to this recipe's rules")
    parser.add_argument("--glibc", metavar="F", help="the floor that it must load on")
    parser.add_argument(
        "--run", action="store_true",
        help="also import it and start its programs, in a container (needs --recipe)",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Audit each wheel; exit with the code of AuditFailed if one breaks a rule."""
    import re

    if args.glibc and not re.fullmatch(GLIBC_PATTERN, args.glibc):
        raise UsageError(
            f"--glibc does not take {args.glibc!r}",
            cause="a floor is written as 2.39",
            hint="leave it out: a wheel is then judged by its own platform tags",
        )
    if args.run and not args.recipe:
        raise UsageError(
            "--run needs --recipe",
            cause="the recipe's lock says what the clean environment holds",
            hint="kvpack audit --run --recipe NAME WHEEL",
        )
    rows, worst = [], 0
    for path in args.wheels:
        try:
            report = _judged(args, context, path)
        except WheelInvalid as error:
            worst = worst or error.exit_code
            rows.append({"filename": str(path), "passed": False, **error.as_json()})
            if not context.console.as_json:
                context.console.error(error)
            continue
        worst = worst or (0 if report.passed else AuditFailed.exit_code)
        rows.append(report.as_json())
        if not context.console.as_json:
            _show(report, context)
    if context.console.as_json:
        context.console.answer("audit", {"exit-code": worst, "wheels": rows})
    return worst


def _judged(args: Args, context: Context, path: Path) -> "AuditReport":
    from kvpack.audit.checks import audit
    from kvpack.audit.wheel import inspect_wheel

    facts, faults = inspect_wheel(path)
    if facts is None:
        raise WheelInvalid(
            f"{path} is not a wheel that can be read",
            cause="it is damaged, or another kind of file",
            hint="fetch it again, and compare its sha256",
            faults=faults,
        )
    report = audit(facts, _policy(args, context, facts), faults)
    if args.run and report.passed:
        report = _run_it(args, context, path, report)
    return report


def _policy(args: Args, context: Context, facts: "WheelFacts") -> "Policy":
    from kvpack.audit.model import Policy
    from kvpack.recipe.load import load_recipe

    if args.recipe is None:
        return Policy(glibc=args.glibc)
    recipe = load_recipe(context.catalogue, args.recipe)
    names = [recipe.distribution.name_for(one) for one in recipe.targets.accelerator]
    known = [name for name in names if name]
    return Policy(
        glibc=args.glibc,
        distribution=facts.distribution if facts.distribution in known else known[0],
        host_libraries=recipe.audit.host_libraries,
        owns=recipe.distribution.owns,
        tag_exact=facts.key is not None,
    )


def _run_it(args: Args, context: Context, path: Path, report: "AuditReport") -> "AuditReport":
    from kvpack.audit.smoke import try_out
    from kvpack.cli.judge import trial_of
    from kvpack.cli.workshop import ready_root

    plan = _plan_like(args, context, report.facts)
    engine, image, _ = ready_root(context, plan.inputs)
    trial = trial_of(context, plan, image)
    found = try_out(path, report.facts, trial, engine, context.console)
    return report.model_copy(update={"findings": (*found, *report.findings)})


def _plan_like(args: Args, context: Context, facts: "WheelFacts") -> "BuildPlan":
    """The recipe's target that is nearest to a wheel: its version, Python, floor, architecture.

    :raises TargetUnavailable: if the recipe offers none.
    """
    from kvpack.audit.checks import claimed_floor
    from kvpack.cli.select import plan_for, read_checked_lock
    from kvpack.lock.check import Slicer
    from kvpack.names import version_key
    from kvpack.recipe.expand import choose_version, matrix
    from kvpack.recipe.load import load_recipe

    recipe = load_recipe(context.catalogue, str(args.recipe))
    version = choose_version(recipe, facts.version.partition("+")[0])
    floor = version_key(args.glibc or claimed_floor(facts) or recipe.targets.glibc[-1])
    pythons = {tag.split("-")[0] for tag in facts.tags}
    fitting = [
        target
        for target in matrix(recipe, context.roots, version)
        if target.python_tag in pythons
        and target.accelerator == "cpu"
        and any(platform.endswith(target.arch) for platform in facts.platforms)
    ]
    if not fitting:
        raise TargetUnavailable(
            f"recipe {recipe.name} {version} has no target like {facts.filename}",
            cause=f"the wheel is for {', '.join(sorted(pythons))} on {', '.join(facts.platforms)}",
            hint=f"kvpack show {recipe.name} lists its targets; without --run the wheel is judged "
            "from its files alone",
        )
    above = [target for target in fitting if version_key(target.glibc) >= floor]
    slicer = Slicer(recipe, read_checked_lock(context, recipe))
    return plan_for(context, recipe, slicer, (above or fitting[-1:])[0])


def _show(report: "AuditReport", context: Context) -> None:
    facts, console = report.facts, context.console
    console.print(f"{facts.filename}  {human_size(facts.size)}  sha256 {facts.sha256}")
    rows = [
        ["distribution", f"{facts.distribution} {facts.version}"],
        ["true floor", f"glibc {facts.true_floor}" if facts.true_floor else "none (pure Python)"],
        ["owns", ", ".join(facts.top_level)],
        ["needs from the host", ", ".join(facts.needed_from_host) or "nothing beyond the policy"],
        ["grafted", ", ".join(facts.grafted) or "nothing"],
        ["ELF files", str(len(facts.elf))],
        ["action key", facts.key or "none: not built by kvpack"],
    ]
    console.table(["fact", "value"], rows)
    if report.findings:
        console.print()
        console.table(
            ["severity", "check", "place", "finding"],
            [[f.severity, f.check, f.place, f.message] for f in report.findings],
        )
        for check, hint in dict.fromkeys((f.check, f.hint) for f in report.findings if f.hint):
            console.print(f"next, {check}: {hint}")
    counts = ", ".join(f"{count} {name}(s)" for name, count in report.counts.items())
    console.print(f"{'passed' if report.passed else 'failed'}: {counts}")
    console.print()
