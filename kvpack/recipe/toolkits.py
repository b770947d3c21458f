"""What a target gets as its accelerator's toolkit: data in ``toolkits.toml``. Pure but for it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from packaging.specifiers import SpecifierSet
from pydantic import AfterValidator, Field, model_validator

from kvpack.base import Name, Text, Value
from kvpack.errors import Fault
from kvpack.names import Accelerator, did_you_mean
from kvpack.recipe.versions import VersionRange

if TYPE_CHECKING:
    from kvpack.recipe.model import Recipe


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Stub(Value):
    """A library of the driver, made from headers so that builds can link with it."""

    library: Text
    soname: Text
    headers: tuple[Text, ...]
    """Files of ``include/``; those that are there are read."""
    declared: Pattern
    """Its group ``name`` is a function that the library exports."""
    renamed: Pattern
    """Of a macro that calls the exported function ``name``; ``kind``: of which per-thread kind."""
    code: int = Field(gt=0)
    """What every function returns."""


class Toolkit(Value):
    """The toolkit of one accelerator."""

    kind: Literal["wheels", "image"]
    project: Name | None = None
    """The project whose extras are the components and whose version is the toolkit's."""
    version: VersionRange | None = None
    components: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    """Component -> extras of ``project``."""
    missing: dict[Name, Text] = Field(default_factory=dict)
    """Components that other accelerators have and this one lacks, each with the reason."""

    @model_validator(mode="after")
    def _whole(self) -> "Toolkit":
        if self.kind == "wheels" and not (self.project and self.version and self.components):
            raise ValueError("a toolkit of wheels names project, version and components")
        return self


class Toolkits(Value):
    """The content of ``toolkits.toml``."""

    toolkits_schema: Literal[1] = Field(default=1, alias="schema")
    toolkit: dict[Accelerator, Toolkit] = Field(default_factory=dict)
    stub: tuple[Stub, ...] = ()

    def requirement(self, recipe: "Recipe", accelerator: Accelerator) -> str | None:
        """What a recipe's components are asked for as: one requirement (PEP 508), if any.

        :raises KeyError: if there is no such component; ``toolkit_faults`` names those.
        """
        kit = self.toolkit.get(accelerator)
        names = recipe.build.toolkit_for(accelerator)
        if kit is None or kit.kind != "wheels" or not names:
            return None
        extras = sorted({extra for name in names for extra in kit.components[name]})
        narrowed = recipe.build.toolkit_version.get(accelerator)
        ranges = SpecifierSet(",".join(filter(None, (kit.version, narrowed))))
        text = ",".join(sorted(map(str, ranges)))
        return f"{kit.project}[{','.join(extras)}]{text}"

    def unlockable(self, recipe: "Recipe", accelerator: Accelerator) -> str:
        """Why no lock can name the toolkit of an accelerator; empty: it can, or none is needed."""
        if accelerator == Accelerator.CPU or not recipe.build.toolkit_for(accelerator):
            return ""
        kit = self.toolkit.get(accelerator)
        if kit is None:
            return "kvpack knows no toolkit for it"
        return "" if kit.kind == "wheels" else "its toolkit is an image by digest, none is named"


def toolkit_faults(recipe: "Recipe", toolkits: Toolkits, place: str) -> Iterator[Fault]:
    """Components that do not exist, or not for an accelerator that the recipe offers."""
    named = recipe.build.toolkit
    if isinstance(named, dict):
        for accelerator in {*named} - {*recipe.targets.accelerator}:
            yield _unoffered(recipe, f"{place}: build.toolkit.{accelerator}")
    for accelerator in recipe.build.toolkit_version:
        if accelerator not in recipe.targets.accelerator:
            yield _unoffered(recipe, f"{place}: build.toolkit-version.{accelerator}")
    for accelerator in recipe.targets.accelerator:
        kit = toolkits.toolkit.get(accelerator)
        if kit is None or kit.kind != "wheels":
            continue
        where = f"{place}: build.toolkit" + (f".{accelerator}" if isinstance(named, dict) else "")
        for name in recipe.build.toolkit_for(accelerator):
            if name in kit.missing:
                yield Fault(
                    place=where,
                    message=f"{accelerator} has no component {name!r}: {kit.missing[name]}",
                    hint=f"name components per accelerator (build.toolkit.{accelerator} = "
                    f"[…]) without it, or drop {accelerator} from targets.accelerator",
                )
            elif name not in kit.components:
                yield Fault(
                    place=where,
                    message=f"{accelerator} has no component {name!r}",
                    hint=did_you_mean(name, kit.components),
                )


def _unoffered(recipe: "Recipe", where: str) -> Fault:
    return Fault(
        place=where,
        message="this accelerator is not offered by targets.accelerator",
        hint=f"offered: {', '.join(recipe.targets.accelerator)}",
    )
