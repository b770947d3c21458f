"""Every selected target with its action key: in the store, or to be built and why.

--all starts from the recipe's whole matrix instead of its defaults; selectors narrow it.
"""

import argparse
import contextlib
import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.cli.select import Selected, add_selectors
from kvpack.cli.sharing import Sharing, add_shared, use_shared
from kvpack.cli.sources import add_source_options
from kvpack.console import human_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvpack.build.model import BuildPlan
    from kvpack.lock.check import Slicer
    from kvpack.recipe.model import Recipe, Target


class Args(Selected, Sharing):
    all: bool = False
    all_versions: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selectors(parser)
    add_source_options(parser, dirty=True)
    add_shared(parser, writes=False)
    parser.add_argument("--all", action="store_true", help="the recipe's whole matrix")
    parser.add_argument("--all-versions", action="store_true", help="the matrix of every version")


def run(args: Args, context: Context) -> int:
    """Print the plan."""
    from kvpack.cli.select import use_sources

    use_sources(context, args)
    whole = args.all or args.all_versions
    with _kept():
        rows, incomplete = _whole(args, context) if whole else (_chosen(args, context), [])
    # A native library stands before the first target that needs it.
    rows = list({row["key"] or row["target"]: row for row in rows}.values())
    if shared := use_shared(args, context):
        shared.mark(rows)
    console = context.console
    if console.as_json:
        console.answer("plan", {"targets": rows, "incomplete": incomplete})
        return 0
    if rows or not incomplete:
        _show(context, rows)
    else:
        console.print("no target can be planned yet: the locks lack something for every one")
    for reason in incomplete:
        console.print(f"incomplete: {reason}")
    return 0


def _show(context: Context, rows: list[dict[str, Any]]) -> None:
    context.console.table(
        ["target", "root", "key", "state", "because", "last time"],
        [
            [
                row["target"],
                row["root"],
                (row["key"] or "pending")[:12],
                row["state"],
                row["because"],
                human_time(row["seconds"]) if row["seconds"] else "",
            ]
            for row in rows
        ],
    )


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """No search for garbage: thousands of plans hold none, and it takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _chosen(args: Args, context: Context) -> list[dict[str, Any]]:
    """The rows of the selected targets."""
    from kvpack.cli.select import chosen_targets

    return [
        row
        for recipe, slicer, targets in chosen_targets(context, args)
        for row in _rows(args, context, (recipe, slicer), targets)
    ]


def _rows(
    args: Args, context: Context, locked: "tuple[Recipe, Slicer]", targets: "Iterable[Target]"
) -> list[dict[str, Any]]:
    """A row per target of one recipe, also where the lock could not name the source."""
    from kvpack.cli.planning import in_working_tree, pending, plan_for, with_libraries

    rows, planned = [], []
    for target in targets:
        reason = locked[1].pending(target.version)
        if below := pending(context, locked[0], target):
            rows.append(_pending(*below))
            reason = reason or f"that of the native library {below[0].recipe} {below[0].version}"
        if reason:
            rows.append(_pending(target, reason))
        else:
            planned.append(plan_for(context, *locked, target))
    planned = in_working_tree(context, planned) if args.dirty else planned
    return rows + [describe(plan, context) for plan in with_libraries(planned)]


def _pending(target: "Target", reason: str) -> dict[str, Any]:
    """A target that has no key yet."""
    named = f"source of {target.recipe} {target.version}"
    return {
        "target": target.title,
        "root": target.root,
        "key": None,
        "state": "pending",
        "dirty": False,
        "because": "source not pinned: " + reason.removeprefix(f"{named}: "),
        "wheel": None,
        "seconds": None,
    }


def _whole(args: Args, context: Context) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of whole matrices, and what the locks cannot name."""
    from kvpack.cli.planning import complete, library_names, read_checked_lock
    from kvpack.cli.select import selection
    from kvpack.lock.check import Slicer
    from kvpack.recipe.expand import check_offered, choose_version, matrices
    from kvpack.recipe.load import load_recipe

    chosen = selection(args)
    found, incomplete = [], []
    for name in args.recipes:
        recipe = load_recipe(context.catalogue, name)
        check_offered(recipe, chosen)
        lock = read_checked_lock(context, recipe)
        slicer = Slicer(recipe, lock)
        versions = recipe.versions if args.all_versions else [choose_version(recipe, args.version)]
        targets = [
            target
            for target in matrices(recipe, context.roots, versions, chosen)
            if chosen.holds(target) and complete(context, slicer, target)
        ]
        found += _rows(args, context, (recipe, slicer), targets)
        incomplete += [f"{name}: {reason}" for reason in lock.incomplete]
        for one in library_names(context, [name]) if recipe.build.libraries else ():
            its = read_checked_lock(context, load_recipe(context.catalogue, one))
            incomplete += [f"{one}: {reason}" for reason in its.incomplete]
    return found, list(dict.fromkeys(incomplete))


def describe(plan: "BuildPlan", context: Context) -> dict[str, Any]:
    """One target: its key, whether the store has it, and if not, what differs."""
    from kvpack.build.difference import first_difference

    record = context.store.read_record("actions", plan.key)
    made = record or {}
    wheel = made.get("wheel") or made.get("library") or {}
    hit = bool(wheel) and context.store.has(str(wheel["sha256"]))
    last = context.store.read_record("cells", plan.cell)
    because = ""
    if not hit:
        because = "never built here"
        if record is not None:
            because = (
                "its library left the store" if "library" in made else "its wheel left the store"
            )
        elif last is not None:
            before = context.store.read_record("actions", str(last["key"])) or {}
            because = first_difference(before.get("action", {}), plan.action) or because
    target = plan.inputs.target
    return {
        "target": plan.title,
        "root": target.root,
        "key": plan.key,
        "state": "hit" if hit else "build",
        "dirty": plan.dirty,
        "because": because,
        "wheel": wheel if hit else None,
        "seconds": float(last["seconds"]) if last else None,
    }
