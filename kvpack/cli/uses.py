"""Between recipes: does a native library offer what it is asked for, and who builds with it."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.errors import Fault, KvpackError, RecipeInvalid, TargetUnavailable
from kvpack.names import Accelerator, counted, did_you_mean, version_key

if TYPE_CHECKING:
    from kvpack.recipe.library import LibraryUse
    from kvpack.recipe.model import Recipe, Target


def check_libraries(context: Context, recipe: "Recipe") -> None:
    """Whether each target that a recipe offers has its native libraries, at places of their own.

    Asks no lock.

    :raises RecipeInvalid: with a fault for each library that is not offered.
    """
    if found := [*_use_faults(context, recipe), *_prefix_faults(context, recipe)]:
        raise RecipeInvalid(
            f"recipes/{recipe.name}.toml has {counted(len(found), 'fault')} in what it builds with",
            hint=f"mend {'it' if len(found) == 1 else 'them'}, then: kvpack check {recipe.name}",
            faults=found,
        )


def _use_faults(context: Context, recipe: "Recipe") -> Iterator[Fault]:
    """What libraries do not offer of what a recipe builds with; each said as ``plan`` says it.

    A library whose recipe cannot be read has an error of its own.
    """
    from kvpack.recipe.expand import library_target
    from kvpack.recipe.load import load_recipe

    place = context.catalogue.shown(context.catalogue.recipe_path(recipe.name))
    for index, use in enumerate(recipe.build.libraries):
        try:
            library = load_recipe(context.catalogue, use.name)
        except KvpackError:
            continue
        found: dict[str, Fault] = {}
        for target in _targets(context, recipe, use):
            try:
                library_target(library, context.roots, use.version, target)
            except TargetUnavailable as error:
                key, hint = _nearest(context, library, use, target)
                at = f"{place}: build.libraries[{index}]{key}"
                found[error.what] = Fault(place=at, message=error.what, hint=hint)
        yield from found.values()


def _prefix_faults(context: Context, recipe: "Recipe") -> Iterator[Fault]:
    """Libraries of one build at one prefix, or at that of the library which they are for."""
    from kvpack.recipe.library import clashes
    from kvpack.recipe.load import load_recipe

    place = context.catalogue.shown(context.catalogue.recipe_path(recipe.name))
    order = [use.name for use in recipe.build.libraries]
    prefixes = {recipe.name: recipe.library.prefix} if recipe.library else {}
    for name in order:
        with contextlib.suppress(KvpackError):
            if library := load_recipe(context.catalogue, name).library:
                prefixes[name] = library.prefix
    found: dict[tuple[str, str], Fault] = {}
    for version in recipe.versions:
        for accelerator in recipe.targets.accelerator:
            used = [use.name for use in recipe.build.libraries_for(version, accelerator)]
            placed = [(n, prefixes[n]) for n in (recipe.name, *used) if n in prefixes]
            for first, second, prefix in clashes(placed):
                limits = "" if first == recipe.name else ", or limit one use by when or accelerator"
                found[first, second] = Fault(
                    place=f"{place}: build.libraries[{order.index(second)}]",
                    message=f"{first} and {second} are both at {prefix}: they would write over "
                    "each other",
                    hint=f"give one another [library] prefix in recipes/{second}.toml{limits}",
                )
    yield from found.values()


def _nearest(
    context: Context, library: "Recipe", use: "LibraryUse", target: "Target"
) -> tuple[str, str]:
    """The key that is at fault for one target, and the nearest value that the library has."""
    from kvpack.recipe.expand import matrix

    if library.library is None:
        names = [one for one in context.catalogue.names if _is_library(context, one)]
        return ".name", did_you_mean(use.name, names)
    if use.version not in library.versions:
        return ".version", did_you_mean(use.version, library.versions)
    offered = library.targets
    cells = matrix(library, context.roots, use.version)
    floors = sorted({cell.glibc for cell in cells}, key=version_key)
    if not {target.accelerator, Accelerator.CPU} & set(offered.accelerator):
        found = (
            f"accelerator {target.accelerator}: {_known(target.accelerator, offered.accelerator)}"
        )
    elif target.arch not in offered.arch:
        found = f"arch {target.arch}: {_known(target.arch, offered.arch)}"
    else:
        found = f"glibc {target.glibc}: its roots have {', '.join(floors)}"
    return "", (
        f"{found}; add it to [targets] or build.root of recipes/{library.name}.toml, or limit "
        "the use with when or accelerator"
    )


def _known(value: str, offered: "Iterable[str]") -> str:
    return did_you_mean(str(value), [str(one) for one in offered])


def _targets(context: Context, recipe: "Recipe", use: "LibraryUse") -> "Iterator[Target]":
    """The targets that a lock can hold, of those that build with the library."""
    from kvpack.lock.roots import supplies
    from kvpack.recipe.expand import matrix

    for version in recipe.versions:
        for target in matrix(recipe, context.roots, version):
            if use.fits(version, target.accelerator) and supplies(
                recipe, context.roots.get(target.root)
            ):
                yield target


def _is_library(context: Context, name: str) -> bool:
    from kvpack.recipe.load import load_recipe

    try:
        return load_recipe(context.catalogue, name).library is not None
    except KvpackError:
        return False


def users(context: Context, library: str) -> tuple[list[str], dict[str, str]]:
    """The recipes that build with a library, also below another; and those that cannot be read."""
    from kvpack.cli.planning import library_names

    found: list[str] = []
    unread: dict[str, str] = {}
    for name in context.catalogue.names:
        try:
            if library in library_names(context, [name]):
                found.append(name)
        except KvpackError as error:
            unread[name] = error.what
    return found, unread
