"""``[build.go]``: Go modules that a part of the source needs, as locked inputs. Pure values."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from kvpack.base import Name
from kvpack.names import Accelerator
from kvpack.recipe.option import Option
from kvpack.recipe.steps import Folder, Limited, one_or_several
from kvpack.recipe.versions import RequirementText, applies

ROOT = "."
"""The source's own root, as the folder of a module."""


def _is_root(value: Any) -> str:  # noqa: ANN401  # what TOML may hold
    return "<root>" if value == ROOT else "<folder>"


ModuleFolder = Annotated[
    Annotated[str, Tag("<root>")] | Annotated[Folder, Tag("<folder>")], Discriminator(_is_root)
]
"""A folder of the source, or its root."""


OptionNames = Annotated[
    Annotated[Name, Tag("<one>")]
    | Annotated[tuple[Name, ...], Field(min_length=1), Tag("<several>")],
    Discriminator(
        one_or_several,
        custom_error_type="option_kind",
        custom_error_message='an option is named by a string, or several by a list: "etcd"',
    ),
]


class Go(Limited):
    """Go modules, and the Go that compiles them, where they apply."""

    modules: tuple[ModuleFolder, ...] = Field(min_length=1)
    """Folders of the source with a go.mod and a go.sum: all that go.sum names is locked."""
    toolchain: RequirementText
    """The requirement whose wheel has the program ``go``, one more build requirement."""
    option: OptionNames | None = None
    """Boolean options of the recipe: it applies where one of them is on. None: always."""

    @property
    def options(self) -> tuple[str, ...]:
        """The options that turn it on."""
        return (self.option,) if isinstance(self.option, str) else self.option or ()

    @property
    def where(self) -> str:
        """Where it applies, in words: ``where etcd is on (>=0.3.11)``; empty: always."""
        on = f"where {' or '.join(self.options)} is on" if self.options else ""
        limits = [*(self.accelerator or ()), *([self.when] if self.when else ())]
        return f"{on} ({', '.join(limits)})".strip() if limits else on

    def needed(
        self, version: str, accelerator: Accelerator, options: Mapping[str, Option], *, torch: bool
    ) -> bool:
        """Whether a build of a version for an accelerator takes it.

        :param options: those of the recipe.
        :param torch: whether the wheel is built with extensions of torch.
        """
        named = [options[name] for name in self.options if name in options]
        on = any(
            applies(one.when, version) and one.raw_for(accelerator, torch=torch) is True
            for one in named
        )
        return self.fits(version, accelerator) and (on or not self.options)
