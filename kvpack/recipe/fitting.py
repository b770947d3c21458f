"""Which cells of a matrix their toolkits allow. Pure."""

from collections.abc import Sequence

from kvpack.errors import TargetUnavailable
from kvpack.recipe.model import Recipe, Selection, Target
from kvpack.recipe.roots import Roots


def fitting(
    recipe: Recipe, roots: Roots, targets: Sequence[Target], selection: Selection | None
) -> list[Target]:
    """The targets that can be built with the toolkit of their accelerator.

    Nothing that was selected by name is dropped (promise 7): neither an accelerator that was
    selected together with a floor or an architecture, nor the last cell of a selection.

    :param selection: what was selected; ``None``: the whole matrix is looked at.
    :raises TargetUnavailable: if a target cannot be left out.
    """
    kept: list[Target] = []
    first: TargetUnavailable | None = None
    for target in targets:
        root = (target.root, roots.get(target.root).glibc)
        misfit = roots.toolkits.misfit(recipe, target.accelerator, target.arch, root)
        if misfit is None:
            kept.append(target)
            continue
        error = TargetUnavailable(
            f"{target.title} cannot be built", cause=misfit.cause, hint=misfit.hint
        )
        if selection is not None and _named(selection, misfit.axis):
            raise error
        first = first or error
    if not kept and first is not None and selection is not None:
        raise first
    return kept


def _named(selection: Selection, axis: str) -> bool:
    """Whether somebody chose the accelerator, and a value on another axis with it."""
    return selection.accelerator is not None and getattr(selection, axis) is not None
