"""Do a recipe's keys around extensions of torch fit together? Pure."""

from collections.abc import Iterator

from kvpack.errors import Fault
from kvpack.names import Accelerator, did_you_mean
from kvpack.recipe.model import Recipe


def torch_faults(recipe: Recipe, place: str) -> Iterator[Fault]:
    """What does not fit together around ``targets.torch``."""
    offered = recipe.targets.torch
    if not offered:
        yield from _without(recipe, place)
        return
    if recipe.library is not None or recipe.build.pure:
        kind = "a native library" if recipe.library else "a pure wheel"
        yield Fault(
            place=f"{place}: targets.torch",
            message=f"{kind} has no extensions of torch",
            hint="an extension belongs to one Python and one accelerator: drop targets.torch",
        )
    for accelerator, minors in offered.items():
        yield from _offer(recipe, accelerator, minors, f"{place}: targets.torch.{accelerator}")
    every = sorted({minor for minors in offered.values() for minor in minors})
    yield from _pythons(recipe, every, f"{place}: targets.torch-python")
    for minor in recipe.targets.default.torch or ():
        if minor not in every:
            yield Fault(
                place=f"{place}: targets.default.torch",
                message=f"{minor!r} is not offered by targets.torch",
                hint=did_you_mean(minor, every),
            )
    if not recipe.build.torch_adds and any(len(minors) > 1 for minors in offered.values()):
        yield Fault(
            place=f"{place}: build.torch-adds",
            message="it is missing: what the build for each further version adds to the wheel",
            hint='such as ["nixl_ep_*/nixl_ep_cpp_torch*"]',
        )


def _offer(
    recipe: Recipe, accelerator: Accelerator, minors: tuple[str, ...], at: str
) -> Iterator[Fault]:
    if accelerator not in recipe.targets.accelerator:
        yield Fault(
            place=at,
            message="this accelerator is not offered by targets.accelerator",
            hint=f"offered: {', '.join(recipe.targets.accelerator)}",
        )
    for minor in sorted({one for one in minors if minors.count(one) > 1}):
        yield Fault(place=at, message=f"{minor!r} is named twice")


def _pythons(recipe: Recipe, every: list[str], at: str) -> Iterator[Fault]:
    for minor, pythons in recipe.targets.torch_python.items():
        if minor not in every:
            hint = did_you_mean(minor, every)
            yield Fault(place=at, message=f"{minor!r} is not offered by targets.torch", hint=hint)
        for python in sorted({*pythons} - {*recipe.targets.python}):
            yield Fault(
                place=f"{at}.{minor}",
                message=f"Python {python} is not offered by targets.python",
                hint=f"offered: {', '.join(recipe.targets.python)}",
            )


def _without(recipe: Recipe, place: str) -> Iterator[Fault]:
    """What would never count, as no version of torch is offered."""
    idle = [
        f"options.{name}.with-torch"
        for name, one in recipe.options.items()
        if one.with_torch is not None
    ]
    idle += ["build.torch-adds"] if recipe.build.torch_adds else []
    idle += ["targets.torch-python"] if recipe.targets.torch_python else []
    idle += ["targets.default.torch"] if recipe.targets.default.torch else []
    for key in idle:
        yield Fault(
            place=f"{place}: {key}",
            message="it never counts: no version of torch is offered",
            hint='name them per accelerator: targets.torch = { cuda13 = ["2.13"] }',
        )
