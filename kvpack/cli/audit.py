"""The facts and findings of any wheel: its true glibc floor, what it needs, which rules it breaks.

Works on foreign wheels and other architectures; nothing of a wheel is run unless --run says so.
With --recipe the recipe's rules hold; without, a wheel is judged by its own platform tags.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import AuditFailed, UsageError, WheelInvalid
from kvpack.names import GLIBC_PATTERN

if TYPE_CHECKING:
    from kvpack.audit.model import AuditReport, Policy, WheelFacts


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
    return Policy(
        glibc=args.glibc,
        host_libraries=recipe.audit.host_libraries,
        owns=recipe.distribution.owns,
        tag_exact=facts.key is not None,
    )


def _run_it(args: Args, context: Context, path: Path, report: "AuditReport") -> "AuditReport":
    from kvpack.audit.smoke import try_out
    from kvpack.cli.judge import trial_of
    from kvpack.cli.select import Selected, plans
    from kvpack.cli.workshop import ready_root

    python = next((t[2:3] + "." + t[3:5] for t in (x.split("-")[0] for x in report.facts.tags)
                   if t.startswith("cp3")), None)  # fmt: skip
    chosen = Selected(recipes=[str(args.recipe)], python=python, glibc=args.glibc)
    plan = plans(context, chosen)[0]
    engine, image, _ = ready_root(context, plan.inputs)
    trial = trial_of(context, plan, image)
    found = try_out(path, report.facts, trial, engine, context.console)
    return report.model_copy(update={"findings": (*found, *report.findings)})


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
            ["severity", "check", "place", "finding", "next"],
            [[f.severity, f.check, f.place, f.message, f.hint] for f in report.findings],
        )
    counts = ", ".join(f"{count} {name}(s)" for name, count in report.counts.items())
    console.print(f"{'passed' if report.passed else 'failed'}: {counts}")
    console.print()
