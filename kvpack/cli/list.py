"""Lists the recipes of the catalogue: default version, axes, summary.

A recipe that cannot be read is listed with its number of faults; kvpack check names them. --page
writes the catalogue as a page of Markdown instead, with every recipe's versions, targets, options,
patches and proofs; there, every recipe must be valid.
"""

import argparse
import os
from pathlib import Path

from kvpack.cli.context import Context, Options
from kvpack.errors import RecipeInvalid

AXES = ("python", "glibc", "arch", "accelerator")


class Args(Options):
    page: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--page", type=Path, metavar="FILE.md", help="write the catalogue as a page of Markdown"
    )


def run(args: Args, context: Context) -> int:
    """Print the catalogue, or write its page."""
    from kvpack.recipe.load import load_recipe

    if args.page is not None:
        return _write_page(args.page, context)
    rows, found, broken = [], [], None
    for name in context.catalogue.names:
        try:
            recipe = load_recipe(context.catalogue, name)
        except RecipeInvalid as error:
            count = f"{len(error.faults)} fault{'' if len(error.faults) == 1 else 's'}"
            rows.append([name, "invalid", *[""] * len(AXES), f"{count}: kvpack check {name}"])
            found.append({"name": name, "faults": len(error.faults)})
            broken = broken or error
            continue
        targets = recipe.targets
        axes = [", ".join(str(value) for value in getattr(targets, axis)) or "-" for axis in AXES]
        rows.append([name, recipe.default_version, *axes, recipe.summary])
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
        context.console.table(["recipe", "version", *AXES, "summary"], rows)
    return broken.exit_code if broken else 0


def _write_page(path: Path, context: Context) -> int:
    """:raises RecipeInvalid: if a recipe has faults; the page stays as it was."""
    from kvpack.recipe.load import load_recipe
    from kvpack.recipe.page import page
    from kvpack.tools.files import write_text

    catalogue = context.catalogue
    recipes = [load_recipe(catalogue, name) for name in catalogue.names]
    place = path.absolute()
    root = Path(os.path.relpath(catalogue.root.resolve(), place.parent.resolve())).as_posix()
    shown = Path(os.path.relpath(place.resolve(), catalogue.root.resolve())).as_posix()
    locked = {name for name in catalogue.names if catalogue.lock_path(name).is_file()}
    command = f"kvpack list --page {shown}"
    kits = context.roots.toolkits
    text = page(recipes, locked=locked, root=root, command=command, toolkits=kits)
    changed = not place.is_file() or place.read_bytes() != text.encode()
    if changed:
        write_text(place, text)
    if context.console.as_json:
        names = [recipe.name for recipe in recipes]
        context.console.answer("page", {"file": shown, "changed": changed, "recipes": names})
    else:
        context.console.print(f"{shown} {'written' if changed else 'is current'}")
    return 0
