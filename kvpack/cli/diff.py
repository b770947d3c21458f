"""What changed between two lock files, and which targets that rebuilds.

A and B are lock files (or the name of a recipe for its lock in the catalogue). With one argument
that is a recipe, its lock as committed (git) is compared with the file that is there.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.errors import KvpackError, UsageError

if TYPE_CHECKING:
    from kvpack.lock.check import Slicer
    from kvpack.lock.model import Lock
    from kvpack.recipe.model import Recipe, Target


class Args(Options):
    a: str
    b: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a lock file, or a recipe's name")
    parser.add_argument("b", metavar="B", nargs="?", help="a lock file, or a recipe's name")


def run(args: Args, context: Context) -> int:
    """Print the differences and the targets whose key changes."""
    from kvpack.lock.diff import differences

    if args.b is None:
        old, new = _committed(args.a, context), _read(args.a, context)
    else:
        old, new = _read(args.a, context), _read(args.b, context)
    changes = differences(old, new)
    rebuilt = _rebuilt(old, new, context) if changes else []
    console = context.console
    if console.as_json:
        rows = [change.as_json() for change in changes]
        console.answer("diff", {"changes": rows, "rebuilds": rebuilt})
        return 0
    for change in changes:
        console.print(change.line())
    if not changes:
        console.print("no input differs")
        return 0
    console.print()
    console.print(f"rebuilds {len(rebuilt)} target(s)" + (":" if rebuilt else ""))
    for row in rebuilt:
        console.print(f"  {row['target']}  {row['because']}")
    return 0


def _read(named: str, context: Context) -> "Lock":
    from kvpack.lock.file import parse, read_lock

    path = Path(named)
    if path.suffix == ".toml" or path.exists():
        if not path.is_file():
            raise UsageError(f"there is no lock file {named}", hint="kvpack diff --help")
        return parse(path.read_bytes(), named)
    path = context.catalogue.lock_path(named)
    return read_lock(path, context.catalogue.shown(path))


def _committed(name: str, context: Context) -> "Lock":
    """The lock of a recipe in the last commit.

    :raises UsageError: if git has none.
    """
    from kvpack.lock.file import parse
    from kvpack.tools.process import Command
    from kvpack.tools.process import run as run_program

    args = ["git", "show", f"HEAD:./lock/{name}.toml"]
    result = run_program(Command(args=args, folder=context.catalogue.root), context.console)
    if result.code != 0:
        raise UsageError(
            f"git has no committed lock/{name}.toml to compare with",
            cause=" ".join(result.tail(1)),
            hint="name two lock files: kvpack diff OLD NEW",
        )
    return parse(result.output.encode(), f"HEAD:lock/{name}.toml")


def _rebuilt(old: "Lock", new: "Lock", context: Context) -> list[dict[str, Any]]:
    """Targets of the recipe, as it is now, whose key differs under the two locks."""
    from kvpack.build.key import first_difference
    from kvpack.lock.check import Slicer
    from kvpack.recipe.expand import matrix
    from kvpack.recipe.load import load_recipe

    recipe = load_recipe(context.catalogue, new.recipe)
    slicers = [Slicer(recipe, lock) for lock in (old, new)]
    found = []
    for version in recipe.versions:
        for target in matrix(recipe, context.roots, version):
            before, after = (_action(context, recipe, slicer, target) for slicer in slicers)
            if after is None or before == after:
                continue
            because = first_difference(before, after) if before else "not in the first lock"
            found.append({"target": target.title, "because": because})
    return found


def _action(
    context: Context, recipe: "Recipe", slicer: "Slicer", target: "Target"
) -> dict[str, Any] | None:
    from kvpack.cli.planning import plan_for

    try:
        return plan_for(context, recipe, slicer, target).action
    except KvpackError:
        return None
