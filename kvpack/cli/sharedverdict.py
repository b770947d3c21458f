"""Results as machines share them: one made here, and what another machine's stands for here."""

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvpack.audit.model import AuditReport
    from kvpack.build.model import BuildPlan, BuiltLibrary, BuiltWheel
    from kvpack.cli.context import Context
    from kvpack.publish.shared import Result


def result_of(
    context: "Context", plan: "BuildPlan", built: "BuiltWheel", verdict: dict[str, Any]
) -> "Result":
    """What a key gave here."""
    from kvpack.cli.judge import verdict_name
    from kvpack.publish.shared import Result, Verdict

    record = context.store.read_record("actions", plan.key) or {}
    return Result(
        key=plan.key, file=built.file, sha256=built.sha256, size=built.size,
        seconds=built.seconds, made=int(record.get("made", time.time())),
        root=record.get("root"), builder=record.get("builder"),
        verdict=Verdict(name=verdict_name(plan, built.sha256), report=verdict),
    )  # fmt: skip


def library_result(context: "Context", plan: "BuildPlan", built: "BuiltLibrary") -> "Result":
    """What the key of a native library gave here."""
    from kvpack.publish.shared import Result

    record = context.store.read_record("actions", plan.key) or {}
    return Result(
        result_schema=2, key=plan.key, file=built.file, sha256=built.sha256, size=built.size,
        seconds=built.seconds, made=int(record.get("made", time.time())),
        root=record.get("root"), builder=record.get("builder"),
    )  # fmt: skip


def built_of(result: "Result") -> "BuiltWheel":
    from kvpack.build.model import BuiltWheel
    from kvpack.names import Sha256

    return BuiltWheel(
        key=Sha256(result.key), file=result.file, sha256=Sha256(result.sha256),
        size=result.size, seconds=result.seconds, hit=True,
    )  # fmt: skip


def with_trial(
    plan: "BuildPlan", report: "AuditReport", result: "Result", name: str
) -> "AuditReport | None":
    """The report of this machine with what running the wheel showed where it was built.

    Running it again here would need the builder root, which a hit must not fetch. Whoever could
    forge that verdict could forge the wheel. So with what was found of native libraries, which need
    not be here. ``None``: it was not judged by the rules of today.
    """
    from pydantic import ValidationError

    from kvpack.audit.library import UNUSED
    from kvpack.audit.model import AuditReport

    run_here = bool(plan.recipe.audit.imports or plan.recipe.audit.run)
    otherwise = None if run_here else report
    if result.verdict is None or result.verdict.name != name:
        return otherwise
    try:
        there = AuditReport.model_validate(result.verdict.report)
    except ValidationError:
        return otherwise
    same = there.facts == report.facts and set(map(str, report.findings)) <= set(
        map(str, there.findings)
    )
    if not same or not there.passed:
        return otherwise
    more = [one for one in there.findings if one not in report.findings]
    if not run_here:
        more = [one for one in more if one.check == UNUSED]
    return report.model_copy(update={"findings": (*more, *report.findings)})
