"""Images of toolkits in a lock: what a recipe asks for, and what is locked of it. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kvpack.errors import Fault
from kvpack.lock.model import Lock, LockedImage, LockedLayer
from kvpack.names import Accelerator, Arch
from kvpack.recipe.model import Recipe, Target
from kvpack.recipe.roots import Roots
from kvpack.recipe.toolkitimage import ToolkitImage


class FoundImage(NamedTuple):
    """What a registry says of a tag, for one architecture."""

    image: str
    """``registry/name@sha256:digest``."""
    layers: tuple[LockedLayer, ...]


Ask = Callable[[str, Arch], FoundImage | None]
"""An image's name with its tag -> what its registry says; ``None``: it did not answer."""


def pinned(
    recipe: Recipe, roots: Roots, old: Lock | None, upgrade: str | None, ask: Ask
) -> Iterator[LockedImage]:
    """The images of a recipe's toolkits; one whose registry does not answer is left out.

    :param upgrade: the input that may move: an accelerator.
    :param ask: asks the registry; it is not asked for what is locked and stays.
    """
    for accelerator, arch, image in roots.toolkits.images(recipe):
        kept = _locked(old.toolkit if old else (), accelerator, arch, image)
        if kept is not None and upgrade != accelerator:
            yield kept
        elif found := ask(image.image, arch):
            yield LockedImage(
                accelerator=accelerator,
                arch=arch,
                tagged=image.image,
                folder=image.folder,
                image=found.image,
                layers=found.layers,
            )


def _locked(
    locked: Iterable[LockedImage], accelerator: Accelerator, arch: Arch, wanted: ToolkitImage
) -> LockedImage | None:
    for one in locked:
        names = (one.accelerator, one.arch, one.tagged, one.folder)
        if names == (accelerator, arch, wanted.image, wanted.folder):
            return one
    return None


def movable(recipe: Recipe, roots: Roots) -> set[str]:
    """What ``--upgrade`` may name of images: the accelerators whose toolkit is one."""
    return {str(accelerator) for accelerator, _, _ in roots.toolkits.images(recipe)}


def missing(recipe: Recipe, roots: Roots, locked: Iterable[LockedImage]) -> Iterator[str]:
    """What a lock cannot name yet, each with its reason."""
    known = tuple(locked)
    for accelerator in recipe.targets.accelerator:
        if reason := roots.toolkits.unlockable(recipe, accelerator):
            yield f"accelerator {accelerator}: {reason}"
    for accelerator, arch, image in roots.toolkits.images(recipe):
        if _locked(known, accelerator, arch, image) is None:
            arches = f" for {arch}" if len(image.arch) > 1 else ""
            yield (
                f"accelerator {accelerator}: the digest of {image.image}{arches} is not known "
                "(registry unreachable)"
            )


def toolkit_faults(recipe: Recipe, roots: Roots, lock: Lock, place: str) -> Iterator[Fault]:
    """Locked images that the recipe does not ask for; those that lack are ``incomplete``."""
    wanted = list(roots.toolkits.images(recipe))
    for one in lock.toolkit:
        same = [w for w in wanted if w[:2] == (one.accelerator, one.arch)]
        if not same:
            message = f"the toolkit image {one.title} is no longer needed"
            yield Fault(place=f"{place}: toolkit", message=message)
        elif _locked([one], *same[0]) is None:
            image = same[0][2]
            yield Fault(
                place=f"{place}: toolkit",
                message=f"{one.accelerator} {one.arch} is locked to {one.folder} of {one.tagged}, "
                f"the recipe names {image.folder} of {image.image}",
            )


def image_for(recipe: Recipe, lock: Lock, target: Target) -> LockedImage | None:
    """The locked image of a target's toolkit; ``None``: it has none."""
    if not recipe.build.toolkit_for(target.accelerator):
        return None
    cell = (target.accelerator, target.arch)
    return next((one for one in lock.toolkit if (one.accelerator, one.arch) == cell), None)
