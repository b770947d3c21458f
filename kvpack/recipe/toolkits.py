"""What a target gets as its accelerator's toolkit: data in ``toolkits.toml``. Pure but for it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from packaging.specifiers import SpecifierSet
from pydantic import AfterValidator, Field, model_validator

from kvpack.base import Name, Text, Value
from kvpack.errors import Fault
from kvpack.names import Accelerator, Arch, did_you_mean, version_key
from kvpack.recipe.toolkitimage import ToolkitImage
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
    image: ToolkitImage | None = None
    variables: tuple[Text, ...] = ()
    """Of an image: variables that name its folder where it is built with."""
    exclude: tuple[Text, ...] = ()
    """Of an image: what no build reads; globs over paths below its folder."""

    @model_validator(mode="after")
    def _whole(self) -> "Toolkit":
        if self.kind == "wheels" and not (self.project and self.version and self.components):
            raise ValueError("a toolkit of wheels names project, version and components")
        if self.kind == "image" and self.image is None:
            raise ValueError("a toolkit that is an image names it")
        return self


class Misfit(NamedTuple):
    """Why a toolkit cannot be used in a cell."""

    axis: Literal["arch", "glibc"]
    """The axis on which another value would do."""
    cause: str
    hint: str


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

    def image(self, recipe: "Recipe", accelerator: Accelerator) -> ToolkitImage | None:
        """The image whose folder a recipe is built with, if its toolkit is one."""
        kit = self.toolkit.get(accelerator)
        if kit is None or kit.kind != "image" or not recipe.build.toolkit_for(accelerator):
            return None
        return recipe.build.toolkit_image.get(accelerator, kit.image)

    def images(self, recipe: "Recipe") -> Iterator[tuple[Accelerator, Arch, ToolkitImage]]:
        """The images that a lock of a recipe names, per accelerator and architecture."""
        for accelerator in recipe.targets.accelerator:
            if image := self.image(recipe, accelerator):
                for arch in recipe.targets.arch:
                    if arch in image.arch:
                        yield accelerator, arch, image

    def unlockable(self, recipe: "Recipe", accelerator: Accelerator) -> str:
        """Why no lock can name the toolkit of an accelerator; empty: it can, or none is needed."""
        if accelerator == Accelerator.CPU or not recipe.build.toolkit_for(accelerator):
            return ""
        return "" if accelerator in self.toolkit else "kvpack knows no toolkit for it"

    def misfit(
        self, recipe: "Recipe", accelerator: Accelerator, arch: Arch, root: tuple[str, str]
    ) -> Misfit | None:
        """Why a cell cannot be built with its toolkit; ``None``: it can.

        :param root: id and glibc of the builder root.
        """
        image = self.image(recipe, accelerator)
        if image is None:
            return None
        hint = f"build.toolkit-image.{accelerator} in recipes/{recipe.name}.toml may name another"
        if arch not in image.arch:
            known = ", ".join(image.arch)
            cause = f"its toolkit, {image.image}, is for {known}"
            return Misfit("arch", cause, f"choose {known}; {hint}")
        name, glibc = root
        if version_key(glibc) < version_key(image.glibc):
            return Misfit(
                "glibc",
                f"its toolkit, {image.folder} of {image.image}, needs glibc {image.glibc}; "
                f"the builder root {name} has {glibc}",
                f"choose a floor whose root has {image.glibc} or newer "
                f"(kvpack show {recipe.name}); {hint}",
            )
        return None


def toolkit_faults(recipe: "Recipe", toolkits: Toolkits, place: str) -> Iterator[Fault]:
    """Components that do not exist, or not for an accelerator that the recipe offers."""
    named = recipe.build.toolkit
    if isinstance(named, dict):
        for accelerator in {*named} - {*recipe.targets.accelerator}:
            yield _unoffered(recipe, f"{place}: build.toolkit.{accelerator}")
    for accelerator in recipe.build.toolkit_version:
        if accelerator not in recipe.targets.accelerator:
            yield _unoffered(recipe, f"{place}: build.toolkit-version.{accelerator}")
    yield from _image_faults(recipe, toolkits, f"{place}: build.toolkit-image")
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


def _image_faults(recipe: "Recipe", toolkits: Toolkits, place: str) -> Iterator[Fault]:
    """Images for accelerators that are not offered, or whose toolkit is none."""
    for accelerator in recipe.build.toolkit_image:
        kit = toolkits.toolkit.get(accelerator)
        if accelerator not in recipe.targets.accelerator:
            yield _unoffered(recipe, f"{place}.{accelerator}")
        elif kit is None or kit.kind != "image":
            yield Fault(
                place=f"{place}.{accelerator}",
                message=f"the toolkit of {accelerator} is not an image",
                hint="build.toolkit-version narrows the version of one that is made of wheels",
            )


def _unoffered(recipe: "Recipe", where: str) -> Fault:
    return Fault(
        place=where,
        message="this accelerator is not offered by targets.accelerator",
        hint=f"offered: {', '.join(recipe.targets.accelerator)}",
    )
