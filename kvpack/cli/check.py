"""Validates recipes and their locks: every fault of every file in one report, offline."""

import argparse

from kvpack.cli.context import Context, Options
from kvpack.errors import KvpackError


class Args(Options):
    recipes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipes", metavar="RECIPE", nargs="*", help="default: all recipes")


def run(args: Args, context: Context) -> int:
    """Check each recipe; the exit code is that of the first fault."""
    from kvpack.cli.planning import read_checked_lock
    from kvpack.cli.uses import check_libraries
    from kvpack.recipe.load import load_recipe

    context.registries.config()  # kvpack.toml has faults of its own
    found, first = [], None
    for name in context.recipe_names(args.recipes):
        try:
            recipe = load_recipe(context.catalogue, name)
            check_libraries(context, recipe)
            lock = read_checked_lock(context, recipe)
        except KvpackError as error:
            found.append({"recipe": name, "valid": False, **error.as_json()})
            first = first or error
            if not context.console.as_json:
                context.console.error(error)
            continue
        found.append({"recipe": name, "valid": True, "incomplete": list(lock.incomplete)})
        if not context.console.as_json:
            context.console.print(f"{name}: valid")
            for reason in lock.incomplete:
                context.console.print(f"  incomplete: {reason}")
    if context.console.as_json:
        context.console.answer("check", {"recipes": found})
    return first.exit_code if first else 0
