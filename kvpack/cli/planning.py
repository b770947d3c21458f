"""Recipe and lock -> the plan of a target, with those of the native libraries below it."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.errors import RecipeInvalid

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan
    from kvpack.lock.check import Slicer
    from kvpack.lock.model import Inputs, Lock
    from kvpack.recipe.model import Recipe, Target


def read_checked_lock(context: Context, recipe: "Recipe") -> "Lock":
    """The recipe's lock, which says what the recipe asks for.

    :raises LockDrift: if it does not; nothing is ever built from a stale lock.
    """
    from kvpack.lock.check import check
    from kvpack.lock.file import read_lock
    from kvpack.tools.files import sha256_file

    catalogue = context.catalogue
    path = catalogue.lock_path(recipe.name)
    place = catalogue.shown(path)
    lock = read_lock(path, place)
    check(
        recipe, context.roots, lock, place,
        lambda file: sha256_file(catalogue.patch_path(recipe.name, file)),
    )  # fmt: skip
    return lock


def plan_for(
    context: Context,
    recipe: "Recipe",
    slicer: "Slicer",
    target: "Target",
    above: tuple[str, ...] = (),
) -> "BuildPlan":
    """The plan of one target, with those of the native libraries that it is built with.

    :param above: the recipes that need it, as a library.
    """
    from kvpack.cli.sources import take_file

    inputs = slicer.inputs(target)
    take_file(context, inputs)
    return _plan(context, recipe, inputs, above)


def _plan(
    context: Context, recipe: "Recipe", inputs: "Inputs", above: tuple[str, ...] = ()
) -> "BuildPlan":
    from kvpack.build.key import action, action_key, local_version
    from kvpack.build.model import BuildPlan
    from kvpack.lock.source import DirtyTree

    target = inputs.target
    libraries = library_plans(context, recipe, target, above)
    below = {plan.recipe.name: plan.action for plan in libraries}
    document = action(recipe, inputs, context.roots, below)
    key = action_key(document)
    return BuildPlan(
        recipe=recipe,
        inputs=inputs,
        action=document,
        key=key,
        distribution=recipe.distribution.name_for(target.accelerator) or recipe.name,
        version=local_version(target.version, key, dirty=isinstance(inputs.source, DirtyTree)),
        libraries=libraries,
    )


def in_working_tree(context: Context, planned: "list[BuildPlan]") -> "list[BuildPlan]":
    """The plans of one recipe with the working tree of ``--source`` in place of the commit."""
    from kvpack.cli.sources import dirty_tree

    ordered = sorted(planned, key=lambda plan: len(plan.inputs.modules))  # those with Go count
    trees = {plan.inputs.target.version: plan.inputs for plan in ordered}
    sources = {version: dirty_tree(context, inputs) for version, inputs in trees.items()}
    return [
        _plan(
            context,
            plan.recipe,
            plan.inputs.model_copy(update={"source": sources[plan.inputs.target.version]}),
        )
        for plan in planned
    ]


def uses(context: Context, recipe: "Recipe", target: "Target") -> "Iterator[tuple[Slicer, Target]]":
    """The lock and the target of each native library that a target is built with, by name.

    :raises TargetUnavailable: if a library is not offered for the target's cell.
    """
    if not recipe.build.libraries:
        return

    from kvpack.lock.check import Slicer
    from kvpack.recipe.expand import library_target
    from kvpack.recipe.load import load_recipe

    named = recipe.build.libraries_for(target.version, target.accelerator)
    for use in sorted(named, key=lambda one: one.name):
        if use.name not in context.library_locks:
            library = load_recipe(context.catalogue, use.name)
            context.library_locks[use.name] = Slicer(library, read_checked_lock(context, library))
        slicer = context.library_locks[use.name]
        yield slicer, library_target(slicer.recipe, context.roots, use.version, target)


def library_plans(
    context: Context, recipe: "Recipe", target: "Target", above: tuple[str, ...] = ()
) -> "tuple[BuildPlan, ...]":
    """The plans of the native libraries that a target is built with.

    :param above: the recipes that led here.
    :raises RecipeInvalid: if a library needs itself.
    :raises LockMissing: if the source of one is not pinned.
    """
    found = []
    for slicer, wanted in uses(context, recipe, target):
        chain = _chained((*above, recipe.name), wanted)
        found.append(plan_for(context, slicer.recipe, slicer, wanted, chain))
    _check_prefixes(recipe, found)
    return tuple(found)


def _check_prefixes(recipe: "Recipe", libraries: "list[BuildPlan]") -> None:
    """Two libraries at one prefix would write over each other.

    :raises RecipeInvalid: if there are.
    """
    from kvpack.recipe.library import clashes

    # A library is there too: what its steps install would lie over what it is built with.
    recipes = [recipe, *(plan.recipe for plan in libraries)]
    placed = [(one.name, one.library.prefix) for one in recipes if one.library]
    for first, second, prefix in clashes(placed):
        raise RecipeInvalid(
            f"recipe {recipe.name} builds with {first} and {second}, both at {prefix}"
            if first != recipe.name
            else f"recipe {recipe.name} is at {prefix}, as {second}, which it is built with",
            cause="they would write over each other",
            hint=f"give one another [library] prefix in recipes/{second}.toml",
        )


def library_names(context: Context, recipes: "Iterable[str]") -> list[str]:
    """The native libraries below recipes, whatever the version and the accelerator."""
    from kvpack.recipe.load import load_recipe

    found: set[str] = set()
    todo = list(recipes)
    while todo:
        uses = load_recipe(context.catalogue, todo.pop()).build.libraries
        new = {use.name for use in uses} - found
        found |= new
        todo += new
    return sorted(found)


def pending(
    context: Context, recipe: "Recipe", target: "Target", above: tuple[str, ...] = ()
) -> "tuple[Target, str] | None":
    """The first native library below a target whose source is not pinned, and why.

    :param above: the recipes that led here.
    :raises RecipeInvalid: if a library needs itself.
    """
    for slicer, wanted in uses(context, recipe, target):
        chain = _chained((*above, recipe.name), wanted)
        if reason := slicer.pending(wanted.version):
            return wanted, reason
        if below := pending(context, slicer.recipe, wanted, chain):
            return below
    return None


def complete(
    context: Context, slicer: "Slicer", target: "Target", above: tuple[str, ...] = ()
) -> bool:
    """Whether the locks of a target and of the native libraries below it could hold all inputs.

    :raises RecipeInvalid: if a library needs itself.
    """
    return slicer.complete(target) and all(
        complete(context, below, wanted, _chained((*above, slicer.recipe.name), wanted))
        for below, wanted in uses(context, slicer.recipe, target)
    )


def _chained(chain: tuple[str, ...], wanted: "Target") -> tuple[str, ...]:
    """The recipes that lead to a native library.

    :raises RecipeInvalid: if it is one of them.
    """
    if wanted.recipe in chain:
        raise RecipeInvalid(
            f"native libraries need each other: {' -> '.join((*chain, wanted.recipe))}",
            cause="none of them could be built first",
            hint=f"correct build.libraries in recipes/{chain[-1]}.toml",
        )
    return chain


def with_libraries(plans: "list[BuildPlan]") -> "list[BuildPlan]":
    """The plans with those that they need before them, each once."""
    found: dict[str, BuildPlan] = {}
    for plan in plans:
        for one in (*with_libraries(list(plan.libraries)), plan):
            found.setdefault(one.key, one)
    return list(found.values())
