"""Which inputs of a target differ from its last build, all of them; or where its hit comes from."""

import argparse
from typing import Any

from kvpack.cli.context import Context
from kvpack.cli.select import Selected, add_selectors
from kvpack.cli.sharing import Sharing, add_shared, use_shared


class Args(Selected, Sharing):
    pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selectors(parser)
    add_shared(parser, writes=False)


def run(args: Args, context: Context) -> int:
    """Print every difference of every selected target."""
    from kvpack.build.difference import differences
    from kvpack.cli.plan import describe
    from kvpack.cli.select import plans

    found = []
    shared = use_shared(args, context)
    for plan in plans(context, args):
        row = describe(plan, context)
        if shared:
            shared.mark([row])
        last = context.store.read_record("cells", plan.cell)
        before = context.store.read_record("actions", str(last["key"])) if last else None
        changed: list[tuple[str, Any, Any]] = []
        if row["state"] == "build" and before is not None:
            changed = differences(before["action"], plan.action)
        row["differs"] = [{"input": n, "before": b, "after": a} for n, b, a in changed]
        found.append(row)
        if not context.console.as_json:
            _print(row, context)
    if context.console.as_json:
        context.console.answer("why", {"targets": found})
    return 0


def _print(row: dict[str, Any], context: Context) -> None:
    from kvpack.build.difference import difference_lines

    console = context.console
    console.print(f"{row['target']}  key {row['key'][:12]}")
    if row["state"] == "hit":
        console.print(f"  hit: {row['wheel']['file']} is in the store")
        return
    if "shared" in row:
        console.print(f"  hit: another machine built it; its result is at {row['shared']}")
        return
    console.print(f"  must be built: {row['because']}")
    for change in row["differs"]:
        console.print(f"    {change['input']}:")
        for line in difference_lines(change["before"], change["after"]):
            console.print(f"      {line}")
