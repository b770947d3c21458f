"""Does ``[build.go]`` fit the rest of its recipe? Pure."""

from collections.abc import Iterator

from kvpack.errors import Fault
from kvpack.names import did_you_mean
from kvpack.recipe.model import Recipe


def go_faults(recipe: Recipe, place: str) -> Iterator[Fault]:
    """What does not fit together around ``build.go``."""
    go, at = recipe.build.go, f"{place}: build.go"
    if go is None:
        return
    if recipe.build.pure:
        yield Fault(
            place=at,
            message="build.pure says that the wheel has no binaries, and Go makes some",
            hint="drop one of the two",
        )
    for name in go.options:
        option = recipe.options.get(name)
        if option is None:
            yield Fault(
                place=f"{at}.option",
                message=f"no option is called {name!r}",
                hint=did_you_mean(name, recipe.options),
            )
        elif option.type != "bool":
            yield Fault(
                place=f"{at}.option",
                message=f"the option {name!r} is of type {option.type!r}: it is neither on nor off",
                hint='name one of type = "bool"',
            )
    for folder in sorted({one for one in go.modules if go.modules.count(one) > 1}):
        yield Fault(place=f"{at}.modules", message=f"{folder!r} is named twice")
