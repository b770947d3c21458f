"""What changed between two lock files, and which targets that rebuilds.

A and B are lock files (or the name of a recipe for its lock in the catalogue). With one argument
that is a recipe, its lock as committed (git) is compared with the file that is there. Of a native
library, the targets of the recipes that build with it are listed too.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.errors import KvpackError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        if args.a.endswith(".toml"):
            raise UsageError(
                f"{args.a} is one lock file, and there is no other to compare it with",
                hint="kvpack diff OLD NEW; or name the recipe, to compare with the last commit",
            )
        old, new = _committed(args.a, context), _read(args.a, context)
    else:
        old, new = _read(args.a, context), _read(args.b, context)
    changes = differences(old, new)
    rebuilt, unknown = _rebuilt(old, new, context) if changes else ([], {})
    console = context.console
    if console.as_json:
        rows = [change.as_json() for change in changes]
        console.answer("diff", {"changes": rows, "rebuilds": rebuilt, "unknown": unknown})
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
    for name, why in unknown.items():
        console.print(f"not known of {name}: {why}")
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


def _rebuilt(
    old: "Lock", new: "Lock", context: Context
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Targets whose key differs under the two locks: of the recipe and of those built with it.

    Also the recipes of which that cannot be said, and why.
    """
    from kvpack.cli.planning import read_checked_lock
    from kvpack.cli.uses import users
    from kvpack.lock.check import Slicer
    from kvpack.recipe.load import load_recipe

    recipe = load_recipe(context.catalogue, new.recipe)
    libraries = [Slicer(recipe, lock) for lock in (old, new)]
    found = _changed(context, recipe, libraries, libraries)
    named, unknown = users(context, recipe.name) if recipe.library else ([], {})
    for name in named:
        user = load_recipe(context.catalogue, name)
        try:
            slicer = Slicer(user, read_checked_lock(context, user))
        except KvpackError as error:
            unknown[name] = error.what
            continue
        found += _changed(context, user, [slicer, slicer], libraries)
    return found, unknown


def _changed(
    context: Context, recipe: "Recipe", own: "list[Slicer]", libraries: "list[Slicer]"
) -> list[dict[str, Any]]:
    """Targets of one recipe whose key differs.

    :param own: its lock before and after.
    :param libraries: the lock of the recipe that was named, before and after.
    """
    from kvpack.build.difference import first_difference

    found = []
    for version in recipe.versions:
        for target in _every(context, recipe, version):
            actions = []
            for slicer, library in zip(own, libraries, strict=True):
                context.library_locks[library.recipe.name] = library
                actions.append(_action(context, recipe, slicer, target))
            before, after = actions
            if after is None or before == after:
                continue
            because = first_difference(before, after) if before else "not in the first lock"
            found.append({"target": target.title, "because": because})
    return found


def _every(context: Context, recipe: "Recipe", version: str) -> "Iterator[Target]":
    """The matrix, and each target with extensions of every torch that it can have."""
    from kvpack.recipe.expand import matrix
    from kvpack.recipe.torch import ascending

    for target in matrix(recipe, context.roots, version):
        yield target
        every = ascending(recipe.targets.torch.get(target.accelerator, ()))
        if every != target.torch:
            yield target.model_copy(update={"torch": every})


def _action(
    context: Context, recipe: "Recipe", slicer: "Slicer", target: "Target"
) -> dict[str, Any] | None:
    from kvpack.cli.planning import plan_for

    try:
        return plan_for(context, recipe, slicer, target).action
    except KvpackError:
        return None
