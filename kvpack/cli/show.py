"""Shows one recipe: versions, targets with their builder roots, options, patches, locked inputs."""

import argparse
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.errors import KvpackError

if TYPE_CHECKING:
    from kvpack.recipe.model import Recipe


class Args(Options):
    recipe: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="name of a recipe")


def run(args: Args, context: Context) -> int:
    """Print one recipe."""
    from kvpack.recipe.expand import matrix
    from kvpack.recipe.load import load_recipe

    recipe = load_recipe(context.catalogue, args.recipe)
    targets = matrix(recipe, context.roots, recipe.default_version)
    locked = _locked(context, recipe)
    console = context.console
    if console.as_json:
        console.answer(
            "show",
            {
                "recipe": recipe.as_json(),
                "targets": [{"id": t.id, **t.as_json()} for t in targets],
                "lock": locked,
            },
        )
        return 0
    console.print(f"{recipe.name} {recipe.default_version}: {recipe.summary} ({recipe.license})")
    others = [version for version in recipe.versions if version != recipe.default_version]
    if others:
        console.print(f"other versions: {', '.join(others)}")
    if recipe.homepage:
        console.print(recipe.homepage)
    console.print()
    rows = [[t.python, t.glibc, t.arch, t.accelerator, t.root] for t in targets]
    console.table(["python", "glibc", "arch", "accelerator", "builder root"], rows)
    if recipe.options:
        console.print()
        console.table(["option", "sets", "default", "what"], _options(recipe))
    for patch in recipe.patches:
        console.print(f"patch {patch.id} ({patch.when or 'all versions'}): {patch.why}")
    console.print()
    console.print("lock: " + locked["state"])
    for line in locked.get("incomplete", []):
        console.print(f"  incomplete: {line}")
    return 0


def _options(recipe: "Recipe") -> list[list[str]]:
    rows = []
    for name, option in sorted(recipe.options.items()):
        values = [f"{a}: {v}" for a, v in option.per_accelerator.items()]
        default = ", ".join([str(option.default), *values]).lower()
        rows.append([name, option.cmake or option.env or "", default, option.summary])
    return rows


def _locked(context: Context, recipe: "Recipe") -> dict[str, Any]:
    from kvpack.cli.select import read_checked_lock

    try:
        lock = read_checked_lock(context, recipe)
    except KvpackError as error:
        return {"state": f"{error.what} ({error.hint})"}
    debs = sum(len(root.packages) for root in lock.root)
    state = f"{len(lock.source)} source(s), {len(lock.wheels)} wheels, {debs} Debian packages"
    return {"state": state, "digest": lock.digest, "incomplete": list(lock.incomplete)}
