"""An output folder as ``kvpack build`` leaves it, without a build."""

import json
from pathlib import Path

from kvpack.audit.checks import audit
from kvpack.audit.wheel import inspect_wheel
from kvpack.build.model import BuildPlan
from kvpack.cli.context import Context, Options
from kvpack.cli.judge import policy_of
from kvpack.cli.select import Selected, plans
from kvpack.console import Console
from tests.unit.publish.made import packed


def plans_of(root: Path, store: Path, *recipes: str) -> list[BuildPlan]:
    """The plans of the default targets of recipes."""
    options = Options(root=root, store=store)
    return plans(Context(options, Console()), Selected(recipes=list(recipes)))


def deliver(plan: BuildPlan, folder: Path, *, content: str = "", more: str = "") -> Path:
    """Write a wheel of a plan, really audited, with its evidence.

    :param more: one more member of it.
    """
    target = plan.inputs.target
    tag = f"{target.python_tag}-{target.python_tag}-{target.platform_tag}"
    files = {
        f"{plan.recipe.distribution.owns[0]}/__init__.py": content,
        "@info/kvpack/key": plan.key,
    } | ({more: "text"} if more else {})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.distribution.replace('-', '_')}-{plan.version}-{tag}.whl"
    path.write_bytes(packed(plan.distribution, plan.version, files, ("false", tag)))
    facts, faults = inspect_wheel(path)
    assert facts is not None, faults
    report = audit(facts, policy_of(plan), faults).as_json()
    beside(path, ".audit.json").write_text(json.dumps(report))
    beside(path, ".action.json").write_text(json.dumps(plan.action))
    beside(path, ".cdx.json").write_text("{}")
    return path


def beside(wheel: Path, suffix: str) -> Path:
    return wheel.with_name(wheel.name + suffix)
