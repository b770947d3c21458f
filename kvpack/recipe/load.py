"""``recipes/*.toml`` -> Recipe, with every fault of a file in one error."""

import tomllib
from collections.abc import Iterator
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import ValidationError

from kvpack.base import faults_of
from kvpack.errors import CatalogueError, Fault, RecipeInvalid
from kvpack.names import did_you_mean
from kvpack.recipe.catalogue import Catalogue
from kvpack.recipe.extensions import torch_faults
from kvpack.recipe.gofaults import go_faults
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import Roots, load_roots
from kvpack.recipe.toolkits import toolkit_faults


def load_recipe(catalogue: Catalogue, name: str) -> Recipe:
    """Read and check one recipe.

    :raises CatalogueError: if there is no such recipe.
    :raises RecipeInvalid: with all faults of the file.
    """
    if name not in catalogue.names:
        raise CatalogueError(
            f"no recipe named {name!r} in {catalogue.root / 'recipes'}",
            cause=did_you_mean(name, catalogue.names),
            hint="kvpack list shows the recipes of the catalogue",
        )
    path = catalogue.recipe_path(name)
    shown = catalogue.shown(path)
    try:
        recipe, faults = parse_recipe(path.read_bytes(), shown)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        recipe, faults = None, [Fault(place=shown, message=message, hint="a recipe is a file")]
    if recipe is not None:
        faults += list(_context_faults(recipe, catalogue, shown))
    if faults or recipe is None:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        raise RecipeInvalid(
            f"{shown} has {count}",
            hint=f"mend {'it' if len(faults) == 1 else 'them'}, then: kvpack check {name}",
            faults=faults,
        )
    return recipe


def parse_recipe(data: bytes, place: str) -> tuple[Recipe | None, list[Fault]]:
    """The recipe in a TOML text, or its faults."""
    try:
        raw: dict[str, Any] = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        return None, [Fault(place=place, message=f"not UTF-8 text: {error}")]
    except (ValueError, RecursionError) as error:  # also numbers too long, lists too deep
        hint = "strings stand in quotes; a table is opened once; https://toml.io"
        return None, [Fault(place=place, message=f"not TOML: {error}", hint=hint)]
    try:
        return Recipe.model_validate(raw), []
    except ValidationError as error:
        return None, faults_of(error, Recipe, place)


def _context_faults(recipe: Recipe, catalogue: Catalogue, place: str) -> Iterator[Fault]:
    """What the file alone cannot tell: its name, its patches, the roots, the requirements."""
    stem = catalogue.recipe_path(recipe.name).stem
    if place != f"recipes/{stem}.toml":
        yield Fault(
            place=f"{place}: name",
            message=f"the name {recipe.name!r} is not the file's",
            hint=f"rename one of them: {recipe.name}.toml",
        )
    if recipe.default_version not in recipe.versions:
        yield Fault(
            place=f"{place}: default-version",
            message=f"{recipe.default_version!r} is not one of [versions]",
            hint=did_you_mean(recipe.default_version, recipe.versions),
        )
    roots = load_roots()
    yield from _target_faults(recipe, roots, place)
    yield from toolkit_faults(recipe, roots.toolkits, place)
    yield from torch_faults(recipe, place)
    yield from go_faults(recipe, place)
    yield from _patch_faults(recipe, catalogue, place)
    yield from _library_faults(recipe, catalogue, place)
    for index, text in enumerate(recipe.build.requires):
        try:
            Requirement(text)
        except InvalidRequirement as error:
            first = str(error).splitlines()[0]
            yield Fault(
                place=f"{place}: build.requires[{index}]",
                message=f"{text!r} is not a requirement (PEP 508): {first}",
                hint='such as "pybind11>=2.12"',
            )


def _target_faults(recipe: Recipe, roots: Roots, place: str) -> Iterator[Fault]:
    targets, wanted = recipe.targets, recipe.build.roots
    unknown = [name for name in wanted if not roots.matching(name)]
    for name in unknown:
        yield Fault(
            place=f"{place}: build.root",
            message=f"no builder root is called {name!r}",
            hint=did_you_mean(name, roots.names()),
        )
    if unknown:
        return
    for axis in ("python", "glibc", "arch", "accelerator"):
        offered = getattr(targets, axis)
        for value in getattr(targets.default, axis) or ():
            if value not in offered:
                yield Fault(
                    place=f"{place}: targets.default.{axis}",
                    message=f"{str(value)!r} is not offered by targets.{axis}",
                    hint=did_you_mean(str(value), [str(item) for item in offered]),
                )
    yield from _root_faults(recipe, roots, place)
    for accelerator in targets.accelerator:
        if recipe.library is None and recipe.distribution.name_for(accelerator) is None:
            yield Fault(
                place=f"{place}: distribution.{accelerator}",
                message=f"no project name for the accelerator {accelerator.value!r}",
                hint=f'add {accelerator} = "{recipe.name}-{accelerator}" or drop it from targets',
            )


def _root_faults(recipe: Recipe, roots: Roots, place: str) -> Iterator[Fault]:
    """Pythons that no root has, and system packages that no root takes."""
    targets, wanted = recipe.targets, recipe.build.roots
    offers = "; ".join(
        f"{kind.id}: glibc {kind.glibc}, Python {', '.join(kind.python)}"
        for kind in roots.matching(*wanted)
    )
    picked = {
        python: [kind for floor in targets.glibc if (kind := roots.pick(wanted, python, floor))]
        for python in targets.python or ("",)
    }
    for python, kinds in picked.items():
        if not kinds:
            every = ("debian", "pypa")
            other = any(roots.pick(every, python, floor) for floor in targets.glibc)
            yield Fault(
                place=f"{place}: targets.{'python' if python else 'glibc'}",
                message=f"no root of {' or '.join(map(repr, wanted))} has "
                f"{f'Python {python}' if python else 'a userland'} at any floor of targets.glibc",
                hint=offers + ('; build.root = ["debian", "pypa"] would have one' if other else ""),
            )
    chosen = [kind for kinds in picked.values() for kind in kinds]
    if recipe.build.debian and chosen and not any(kind.takes_packages for kind in chosen):
        images = ", ".join(sorted({kind.id for kind in chosen}))
        yield Fault(
            place=f"{place}: build.debian",
            message=f"no target has a root that takes Debian packages: {images} is older than "
            "every suite of Debian",
            hint=f"choose build.root and targets of a newer root; now: {offers}",
        )


def _library_faults(recipe: Recipe, catalogue: Catalogue, place: str) -> Iterator[Fault]:
    """Native libraries that are no recipes of the catalogue, or need the recipe itself."""
    for index, use in enumerate(recipe.build.libraries):
        at = f"{place}: build.libraries[{index}].name"
        if use.name == recipe.name:
            yield Fault(place=at, message=f"{use.name!r} would need itself")
        elif use.name not in catalogue.names:
            yield Fault(
                place=at,
                message=f"no recipe is called {use.name!r}",
                hint=did_you_mean(use.name, catalogue.names),
            )
    twice: dict[str, str] = {}
    for version in recipe.versions:
        for accelerator in recipe.targets.accelerator:
            names = [use.name for use in recipe.build.libraries_for(version, accelerator)]
            twice |= {n: f"{version} {accelerator}" for n in names if names.count(n) > 1}
    for name, cell in twice.items():
        yield Fault(
            place=f"{place}: build.libraries",
            message=f"{name!r} is named twice for {cell}",
            hint="a root holds one version: limit each with when or accelerator",
        )


def _patch_faults(recipe: Recipe, catalogue: Catalogue, place: str) -> Iterator[Fault]:
    folder = catalogue.patch_path(recipe.name, "x").parent
    present = sorted(path.name for path in folder.glob("*.patch"))
    seen: set[str] = set()
    for index, patch in enumerate(recipe.patches):
        if patch.id in seen:
            yield Fault(
                place=f"{place}: patches[{index}].id", message=f"{patch.id!r} is used twice"
            )
        seen.add(patch.id)
        if patch.commit is not None and recipe.git_for(patch) is None:
            yield Fault(
                place=f"{place}: patches[{index}].commit",
                message="no version has a git source to take the commit from",
                hint="write the change as a file: patches/<recipe>/NAME.patch",
            )
        if patch.file is not None and patch.file not in present:
            yield Fault(
                place=f"{place}: patches[{index}].file",
                message=f"{catalogue.shown(folder)}/{patch.file} does not exist",
                hint=did_you_mean(patch.file, present),
            )
