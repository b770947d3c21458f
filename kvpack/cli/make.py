"""One target from plan to delivered wheel: hit or build, audit, deliver. Locks per key."""

import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvpack.build.model import SOURCE, BuildPlan, BuiltWheel
from kvpack.cli.context import Context
from kvpack.errors import AuditFailed, Fault
from kvpack.tools.files import place_file, sha256_file, write_text


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A wheel in the output folder."""

    plan: BuildPlan
    built: BuiltWheel
    path: Path
    audit: dict[str, Any] | None
    """What the audit says; none of a native library: the wheels that are built with it have one."""
    shared: bool = False
    """Whether another machine's result was taken."""

    def as_json(self) -> dict[str, Any]:
        return {
            "target": self.plan.title,
            "key": self.plan.key,
            "hit": self.built.hit,
            "shared": self.shared,
            "dirty": self.plan.dirty,
            "wheel": str(self.path),
            "sha256": self.built.sha256,
            "size": self.built.size,
            "seconds": round(self.built.seconds, 3),
            "audit": self.audit and {name: self.audit[name] for name in ("passed", "counts")},
        }


def make(context: Context, plan: BuildPlan, out: Path, cache: Path | None) -> Delivered:
    """Deliver one target's wheel, from the store if it is there, or from what machines share.

    Two processes that want the same key: one builds, the other waits and finds it.

    :raises AuditFailed: with every error; nothing is written to ``out``.
    """
    from kvpack.audit.library import UNUSED
    from kvpack.cli.judge import judge, remembered

    if plan.recipe.library is not None:
        return _library(context, plan, out, cache)
    shared = context.shared
    built, taken = stored(context, plan), False
    verdict = remembered(context, plan, built.sha256) if built else None
    if built is None or verdict is None:
        with context.store.lock(f"action-{plan.key}") as waited:
            if waited:
                context.console.note(f"{plan.title}: another kvpack was building it")
            built = stored(context, plan)
            if built is None and shared:
                built = shared.take(plan)
                taken = built is not None
            built = built or build(context, plan, cache)
            verdict = judge(context, plan, built)
    if not verdict["passed"]:
        withdraw(out / built.file, built.sha256)
        raise failed_audit(plan, built, verdict)
    if shared and not taken and shared.give(plan, built, verdict):
        first = shared.take(plan)
        built, taken = first or built, first is not None
        verdict = judge(context, plan, built)
    for finding in verdict["findings"]:
        if finding["check"] == UNUSED:
            context.console.warn(f"{built.file}: {finding['message']}; next: {finding['hint']}")
    path = deliver(context, plan, built, (verdict, out))
    return Delivered(plan=plan, built=built, path=path, audit=verdict, shared=taken)


def _library(context: Context, plan: BuildPlan, out: Path, cache: Path | None) -> Delivered:
    """Deliver a native library as a tar, for who wants to look into it."""
    from kvpack.cli.libraries import make_library

    made = make_library(context, plan, cache)
    path = out / made.file
    if not (path.is_file() and sha256_file(path) == made.sha256):
        place_file(context.store.check(made.sha256), path)
    built = BuiltWheel(
        key=plan.key,
        file=made.file,
        sha256=made.sha256,
        size=made.size,
        seconds=made.seconds,
        hit=made.hit,
    )
    return Delivered(plan=plan, built=built, path=path, audit=None, shared=made.shared)


def stored(context: Context, plan: BuildPlan) -> BuiltWheel | None:
    """The wheel of this key, if the store has it."""
    record = context.store.read_record("actions", plan.key)
    wheel = (record or {}).get("wheel")
    if record is None or not wheel or not context.store.has(str(wheel["sha256"])):
        return None
    return BuiltWheel(
        key=plan.key,
        file=wheel["file"],
        sha256=wheel["sha256"],
        size=wheel["size"],
        seconds=record["seconds"],
        hit=True,
    )


def build(context: Context, plan: BuildPlan, cache: Path | None) -> BuiltWheel:
    """Build, keep the wheel, and record the action; the record comes last."""
    start = time.monotonic()
    with context.store.scratch("build") as folder:
        wheel, root = cibuildwheel_in(context, plan, (folder, SOURCE), cache)
        sha256 = context.store.add_file(wheel)
        built = BuiltWheel(
            key=plan.key,
            file=wheel.name,
            sha256=sha256,
            size=wheel.stat().st_size,
            seconds=time.monotonic() - start,
            hit=False,
        )
    record = {
        "schema": 1,
        "key": plan.key,
        "action": plan.action,
        "made": int(time.time()),
        "builder": context.builder_id,
        "seconds": built.seconds,
        "root": root,
        "wheel": {"file": built.file, "sha256": built.sha256, "size": built.size},
    }
    context.store.write_record("actions", plan.key, record)
    context.store.write_record("cells", plan.cell, {"key": plan.key, "seconds": built.seconds})
    return built


def cibuildwheel_in(
    context: Context, plan: BuildPlan, place: tuple[Path, str], cache: Path | None
) -> tuple[Path, str]:
    """Run one build in a scratch folder; returns the stamped wheel and the root's digest.

    :param place: scratch folder, and the name of the source's folder inside the container.
    """
    from kvpack.build.pure import pure_wheel
    from kvpack.build.run import cibuildwheel, prepare
    from kvpack.cli.libraries import outfitted

    shop, engine, root = outfitted(context, plan, (*place, cache), prepare)
    log = context.store.log_path(plan.key)
    if plan.recipe.build.pure:
        return pure_wheel(plan, shop, engine, log=log, reporter=context.console), root
    tools = host_tools(context, plan, shop.folder)
    wheel = cibuildwheel(plan, shop, engine, tools=tools, log=log, reporter=context.console)
    return wheel, root


def host_tools(context: Context, plan: BuildPlan, folder: Path) -> Path:
    """Unpack the locked cibuildwheel, verified, into a scratch folder; it runs from there."""
    from kvpack.build.pytools import unpack_pure

    wheels = [(wheel, context.store.check(wheel.sha256)) for wheel in plan.inputs.host]
    unpack_pure(wheels, folder / "tools")
    return folder / "tools"


def deliver(
    context: Context, plan: BuildPlan, built: BuiltWheel, what: tuple[dict[str, Any], Path]
) -> Path:
    """Write the wheel beside its evidence; the wheel comes last."""
    from kvpack.publish.attest import attest

    verdict, out = what
    target = out / built.file
    blob = context.store.check(built.sha256)
    report, bill, action, *_ = _evidence(target)
    # Sorted: the same bytes whether the verdict is new, remembered or shared. They are published.
    write_text(report, json.dumps(verdict, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    write_text(action, json.dumps(plan.action, indent=2, sort_keys=True) + "\n")
    with zipfile.ZipFile(blob) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/sboms/kvpack.cdx.json"))
        write_text(bill, archive.read(name).decode())
    record = context.store.read_record("actions", plan.key) or {}
    attest(target, plan.action, builder=record.get("builder"), sha256=built.sha256)
    if not (target.is_file() and sha256_file(target) == built.sha256):
        place_file(blob, target)
    return target


def withdraw(wheel: Path, sha256: str) -> None:
    """Take a wheel that no longer passes out of the output folder, with its evidence."""
    if wheel.is_file() and sha256_file(wheel) == sha256:
        for path in (wheel, *_evidence(wheel)):
            path.unlink(missing_ok=True)


def _evidence(wheel: Path) -> list[Path]:
    """Audit report, bill of materials, action, statement and provenance, beside a wheel."""
    suffixes = (".audit.json", ".cdx.json", ".action.json", ".intoto.jsonl", ".provenance")
    return [wheel.with_name(wheel.name + suffix) for suffix in suffixes]


def failed_audit(plan: BuildPlan, built: BuiltWheel, verdict: dict[str, Any]) -> AuditFailed:
    errors = [found for found in verdict["findings"] if found["severity"] == "error"]
    return AuditFailed(
        f"{built.file} breaks {len(errors)} rule{'s' if len(errors) > 1 else ''}",
        cause="it was built, but was not written to the output folder",
        hint=f"correct recipes/{plan.recipe.name}.toml; rules that only judge do not rebuild",
        faults=[
            Fault(place=f"{e['place']} [{e['check']}]", message=e["message"], hint=e["hint"])
            for e in errors
        ],
    )
