"""Which builder roots a recipe's lock holds, and which Debian packages of them. Pure."""

from collections.abc import Iterator

from kvpack.base import ALTERNATIVE
from kvpack.errors import Fault
from kvpack.lock.model import Lock, LockedRoot
from kvpack.names import Arch
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import RootKind, Roots


def supplies(recipe: Recipe, kind: RootKind) -> bool:
    """Whether a root can hold the system packages that the recipe needs."""
    return kind.takes_packages or not recipe.build.debian


def picked_roots(recipe: Recipe, roots: Roots) -> list[RootKind]:
    """The roots that Pythons and floors of the recipe lead to, each once, by id."""
    picked = {
        kind.id: kind
        for python in recipe.targets.python or ("",)
        for glibc in recipe.targets.glibc
        if (kind := roots.pick(recipe.build.roots, python, glibc))
    }
    return [picked[name] for name in sorted(picked)]


def used_roots(recipe: Recipe, roots: Roots) -> list[tuple[RootKind, Arch]]:
    """The roots that some target of the recipe is built in, per architecture."""
    found = [kind for kind in picked_roots(recipe, roots) if supplies(recipe, kind)]
    return [(kind, arch) for kind in found for arch in recipe.targets.arch]


def root_pythons(recipe: Recipe, kind: RootKind) -> list[str]:
    """The Pythons of a root that the recipe offers."""
    return [python for python in kind.python if python in recipe.targets.python]


def include_for(recipe: Recipe, roots: Roots, kind: RootKind) -> tuple[str, ...]:
    """The Debian packages to ask for: the base, the Pythons, the recipe's own; for an image, these.

    An image without a suite takes none; ``incomplete`` tells.
    """
    if kind.family != "debian":
        return tuple(sorted(recipe.build.debian)) if kind.takes_packages else ()
    pythons = [
        name.replace("X.Y", python)
        for python in root_pythons(recipe, kind)
        for name in roots.debian.python_packages
    ]
    own = recipe.build.debian
    return tuple(sorted({*roots.debian.packages, *kind.packages, *pythons, *own}))


def suite_beside(kind: RootKind, include: tuple[str, ...]) -> str | None:
    """The suite that a lock names for the packages beside an image."""
    return kind.suite if kind.family != "debian" and include else None


def root_faults(recipe: Recipe, roots: Roots, lock: Lock, place: str) -> Iterator[Fault]:
    """Where the locked roots are not those that the recipe asks for."""
    locked = {(root.id, root.arch): root for root in lock.root}
    for kind, arch in used_roots(recipe, roots):
        found = locked.pop((kind.id, arch), None)
        if found is None:
            yield Fault(place=f"{place}: root", message=f"{kind.id} {arch} is not locked")
            continue
        include = include_for(recipe, roots, kind)
        if found.include != include:
            before, after = set(found.include), set(include)
            yield Fault(
                place=f"{place}: root",
                message=f"{kind.id} {arch}: packages changed "
                f"(locked {sorted(before - after)}, now {sorted(after - before)})",
            )
        elif reason := _other_form(found, kind, include, roots.image.provided):
            yield Fault(place=f"{place}: root", message=f"{kind.id} {arch}: {reason}")
    for root_id, arch in locked:
        yield Fault(place=f"{place}: root", message=f"{root_id} {arch} is no longer used")


def _other_form(
    found: LockedRoot, kind: RootKind, include: tuple[str, ...], provided: tuple[str, ...]
) -> str:
    """Why a locked root cannot be one of its kind with these packages; empty: it can."""
    suite = suite_beside(kind, include)
    if (found.image is None) != (kind.family == "debian"):
        return "an image is locked" if found.image else "it is locked without its image"
    if found.suite != suite:
        before = found.suite or "no suite"
        after = suite or ("those of its own suite" if found.image is None else "none")
        return f"packages of {before} are locked, not {after}"
    if found.packages and not include:
        return "packages are locked that nothing asks for"
    has = {*provided} if found.image else set()
    if not found.packages and not all(has & {*one.split(ALTERNATIVE)} for one in include):
        return "no package is locked"
    return ""
