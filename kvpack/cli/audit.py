"""The facts and findings of any wheel: its true glibc floor, what it needs, which rules it breaks.

Works on foreign wheels and other architectures; nothing of a wheel is run unless --run says so.
With --recipe the recipe's rules hold, and its proofs are told: read from the wheel's binaries.
Without, a wheel is judged by its own platform tags.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import AuditFailed, TargetUnavailable, UsageError, WheelInvalid
from kvpack.names import GLIBC_PATTERN, did_you_mean

if TYPE_CHECKING:
    from kvpack.audit.model import AuditReport, Policy, WheelFacts
    from kvpack.build.model import BuildPlan
    from kvpack.names import Accelerator
    from kvpack.recipe.model import Recipe


class Args(Options):
    wheels: list[Path]
    recipe: str | None = None
    profile: list[str] = []  # noqa: RUF012  # argparse sets it on the instance
    glibc: str | None = None
    run: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wheels", metavar="WHEEL", nargs="+", type=Path, help="a wheel file")
    parser.add_argument("--recipe", metavar="R", help="hold the wheel to this recipe's rules")
    parser.add_argument(
        "--profile", metavar="P", action="append", default=[],
        help="a use whose proofs must hold, such as store-ssd (needs --recipe; can be repeated)",
    )  # fmt: skip
    parser.add_argument("--glibc", metavar="F", help="the floor that it must load on")
    parser.add_argument(
        "--run", action="store_true",
        help="also import it and start its programs, in a container (needs --recipe)",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Audit each wheel; exit with the code of AuditFailed if one breaks a rule."""
    import re

    from kvpack.cli.nowheel import no_wheel

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
    recipe = _recipe(args, context)
    rows: list[dict[str, Any]] = []
    worst = 0
    for path in args.wheels:
        try:
            if (other := no_wheel(path, context)) is not None:
                raise other
            report = _judged(args, context, path, recipe)
        except WheelInvalid as error:
            worst = worst or error.exit_code
            rows.append({"filename": str(path), "passed": False, **error.as_json()})
            if not context.console.as_json:
                context.console.error(error)
            continue
        worst = worst or (0 if report.passed else AuditFailed.exit_code)
        rows.append(_row(report))
        if not context.console.as_json:
            _show(report, context)
    if context.console.as_json:
        answer: dict[str, Any] = {"exit-code": worst, "wheels": rows}
        if len(rows) == 1:  # what is asked about one wheel is told without a detour
            told = ("facts", "findings", "proofs")
            answer |= {key: value for key, value in rows[0].items() if key in told}
        context.console.answer("audit", answer)
    return worst


def _recipe(args: Args, context: Context) -> "Recipe | None":
    from kvpack.recipe.load import load_recipe

    if args.recipe is None:
        if args.profile:
            raise UsageError(
                f"--profile {args.profile[0]} needs --recipe",
                cause="profiles are named in a recipe's [[prove]] tables",
                hint="kvpack audit --recipe NAME --profile PROFILE WHEEL",
            )
        return None
    recipe = load_recipe(context.catalogue, args.recipe)
    if recipe.library is not None:
        raise UsageError(
            f"recipe {recipe.name} is a native library: it has no rules for wheels",
            cause="what it makes is audited as a part of the wheels that are built with it",
            hint="name the recipe of the wheel, or leave --recipe out",
        )
    known = sorted({name for prove in recipe.prove for name in prove.profile})
    for name in args.profile:
        if name not in known:
            raise UsageError(
                f"recipe {recipe.name} has no profile {name!r}",
                cause=did_you_mean(name, known),
                hint="profiles are named in the recipe's [[prove]] tables",
            )
    return recipe


_SNAKE = ("commit", "cuda_major", "true_floor", "needed_from_host")


def _row(report: "AuditReport") -> dict[str, Any]:
    """The report's JSON. The facts that scripts ask for most have Python's spelling as well."""
    row: dict[str, Any] = report.as_json()
    row["facts"] |= {name: row["facts"][name.replace("_", "-")] for name in _SNAKE}
    return row


def _judged(args: Args, context: Context, path: Path, recipe: "Recipe | None") -> "AuditReport":
    from kvpack.audit.prove import Held
    from kvpack.cli.judge import examine, report_on

    examined = examine(path, recipe, hint="fetch it again, and compare its sha256")
    facts = examined.facts
    held = Held()
    if recipe:
        held = Held(
            accelerator=_accelerator(recipe, facts),
            arch=next((elf.arch for elf in facts.host_elf), None),
            own=facts.key is not None,
            profiles=tuple(args.profile),
            host_libraries=_policy(args, recipe, facts).host_libraries,
        )
    report = report_on(examined, _policy(args, recipe, facts), recipe, held)
    if args.run and report.passed:
        report = _run_it(args, context, path, report)
    return report


def _policy(args: Args, recipe: "Recipe | None", facts: "WheelFacts") -> "Policy":
    from kvpack.audit.model import Policy

    if recipe is None:
        return Policy(glibc=args.glibc)
    names = [recipe.distribution.name_for(one) for one in recipe.targets.accelerator]
    known = [name for name in names if name]
    built = facts.distribution in known
    # What the recipe does not build, it cannot know the host libraries of.
    relative = not built and facts.key is None and facts.distribution in _family(known)
    return Policy(
        glibc=args.glibc,
        distribution=facts.distribution if built or relative else next(iter(known), recipe.name),
        host_libraries=None if relative else recipe.audit.host_libraries,
        host_folders=recipe.audit.host_folders,
        owns=() if relative else recipe.distribution.owns,
        tag_exact=facts.key is not None,
    )


def _family(names: list[str]) -> "dict[str, Accelerator | None]":
    """All distributions of the families that hold the recipe's, with their accelerators."""
    from kvpack.resolve.families import load_families

    found: dict[str, Accelerator | None] = {}
    for family in load_families().family:
        members = {member.name: member.accelerator for member in family.members}
        if family.dispatcher:
            members[family.dispatcher] = None
        if members.keys() & set(names):
            found |= members
    return found


def _accelerator(recipe: "Recipe", facts: "WheelFacts") -> "Accelerator | None":
    """What a wheel is built against: its name says it, else its CUDA major does."""
    from kvpack.names import Accelerator

    names = {recipe.distribution.name_for(one): one for one in Accelerator}
    relatives = _family([name for name in names if name])
    found = names.get(facts.distribution) or relatives.get(facts.distribution)
    spoken = f"cuda{facts.cuda_major}"
    return found or (Accelerator(spoken) if spoken in set(Accelerator) else None)


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
    from kvpack.cli.planning import plan_for, read_checked_lock
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


_HOLDS = {True: "yes", False: "no", None: "unknown"}


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
        ["licence", "; ".join([*facts.licence, *facts.licence_files]) or "says nothing"],
        ["action key", facts.key or "none: not built by kvpack"],
    ]
    if facts.cuda_major:
        rows.insert(1, ["CUDA", str(facts.cuda_major)])
    if facts.commit:
        rows.insert(1, ["commit", facts.commit])
    console.table(["fact", "value"], rows)
    if report.proofs:
        console.print()
        console.table(
            ["proof", "holds", "value", "evidence"],
            [[p.id, _HOLDS[p.holds], p.value or "", p.evidence] for p in report.proofs],
        )
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
