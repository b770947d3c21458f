"""What another machine built, in the store of this one: held to the plan, then recorded."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kvpack.cli.context import Context

if TYPE_CHECKING:
    from kvpack.audit.model import AuditReport
    from kvpack.build.model import BuildPlan, BuiltLibrary, BuiltWheel
    from kvpack.publish.shared import Result

T = TypeVar("T")
Taken = tuple["Result", Path, tuple[str, bool]]
"""A record, the file with the bytes that it names, where both are from, and whether one of several
keys had to have signed it."""
Accept = Callable[[Context, "BuildPlan", Taken], T]
"""Holds what was taken to the plan, and keeps it; raises ``Poisoned``."""


def accept_library(context: Context, plan: "BuildPlan", taken: Taken) -> "BuiltLibrary":
    """Keep a native library whose tar has the one form: it lies nowhere but at its prefix.

    :raises Poisoned: if it has not.
    """
    from kvpack.build.library import check_canonical
    from kvpack.build.model import BuiltLibrary
    from kvpack.names import Sha256
    from kvpack.publish.shared import Poisoned

    result, tar, _ = taken
    try:
        check_canonical(plan, tar)
    except ValueError as error:
        raise Poisoned(f"its library is none that kvpack built: {error}") from None
    context.store.add_file(tar, expected=result.sha256)
    _record(context, plan, taken, "library")
    return BuiltLibrary(
        plan=plan, sha256=Sha256(result.sha256), size=result.size, seconds=result.seconds,
        hit=True, shared=True,
    )  # fmt: skip


def accept_wheel(context: Context, plan: "BuildPlan", taken: Taken) -> "BuiltWheel":
    """Keep a wheel that carries what its build was ordered to, and passes the audit here.

    :raises Poisoned: if it does not.
    """
    from kvpack.build.sbom import sbom
    from kvpack.publish.shared import check_wheel
    from kvpack.tools.files import canonical_json

    result, wheel, _ = taken
    bill = canonical_json(sbom(plan.recipe, plan.inputs, plan.key, plan.libraries))
    check_wheel(wheel, plan, bill)
    report = _examined(context, plan, wheel)
    context.store.add_file(wheel, expected=result.sha256)
    return _judged(context, plan, taken, report)


def _examined(context: Context, plan: "BuildPlan", wheel: Path) -> "AuditReport":
    """Audit the wheel here.

    :raises Poisoned: if it does not pass.
    """
    from kvpack.cli.judge import static_report
    from kvpack.errors import WheelInvalid
    from kvpack.publish.shared import Poisoned

    try:
        report = static_report(context, plan, wheel)
    except WheelInvalid as error:
        raise Poisoned(error.what) from None
    if not report.passed:
        first = report.errors[0]
        count = len(report.errors)
        rest = f" (and {count - 1} more)" if count > 1 else ""
        raise Poisoned(f"its wheel breaks a rule: {first.place}: {first.message}{rest}")
    return report


def _judged(
    context: Context, plan: "BuildPlan", taken: Taken, report: "AuditReport"
) -> "BuiltWheel":
    """Remember result and verdict, running the wheel here only if nobody did by these rules.

    :raises Poisoned: if the wheel does not pass.
    """
    from kvpack.cli.judge import judge, verdict_name
    from kvpack.cli.sharedverdict import built_of, with_trial
    from kvpack.publish.shared import Poisoned

    result = taken[0]
    built, name = built_of(result), verdict_name(plan, result.sha256)
    whole = with_trial(plan, report, result, name)
    if whole is not None:
        context.store.write_record("audits", name, whole.as_json())
    verdict = judge(context, plan, built)
    if not verdict["passed"]:
        raise Poisoned("its wheel fails when it is run")
    _record(context, plan, taken, "wheel")
    return built


def _record(context: Context, plan: "BuildPlan", taken: Taken, kind: str) -> None:
    """Write the records that a build here would have left; whose it is, is in them."""
    result, _, (name, demanded) = taken
    record: dict[str, Any] = {
        "schema": 1, "key": plan.key, "action": plan.action, "made": int(time.time()),
        "seconds": result.seconds, "root": result.root, "builder": result.builder,
        "shared": name, "demanded": demanded,
        kind: {"file": result.file, "sha256": result.sha256, "size": result.size},
    }  # fmt: skip
    context.store.write_record("actions", plan.key, record)
    context.store.write_record("cells", plan.cell, {"key": plan.key, "seconds": result.seconds})
