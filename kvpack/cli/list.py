"""Lists the recipes of the catalogue: default version, axes, summary.

A recipe that cannot be read is listed with its number of faults; kvpack check names them.
"""

import argparse

from kvpack.cli.context import Context, Options
from kvpack.errors import RecipeInvalid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments beside the global options."""
    del parser


def run(args: Options, context: Context) -> int:
    """Print the catalogue."""
    from kvpack.recipe.load import load_recipe

    del args
    rows, found, broken = [], [], None
    for name in context.catalogue.names:
        try:
            recipe = load_recipe(context.catalogue, name)
        except RecipeInvalid as error:
            rows.append([name, "invalid", f"{len(error.faults)} fault(s): kvpack check {name}"])
            found.append({"name": name, "faults": len(error.faults)})
            broken = broken or error
            continue
        targets = recipe.targets
        axes = " ".join(
            "/".join(str(value) for value in getattr(targets, axis))
            for axis in ("python", "glibc", "arch", "accelerator")
        )
        rows.append([name, recipe.default_version, axes, recipe.summary])
        found.append(
            {
                "name": name,
                "default-version": recipe.default_version,
                "versions": list(recipe.versions),
                "targets": targets.as_json(),
                "summary": recipe.summary,
            }
        )
    if context.console.as_json:
        context.console.answer("list", {"recipes": found})
    else:
        context.console.table(
            ["recipe", "version", "python glibc arch accelerator", "summary"], rows
        )
    return broken.exit_code if broken else 0
