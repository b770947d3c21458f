"""Switches of upstream's build system, as a recipe types them. Pure values."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kvpack.base import Text, Value
from kvpack.names import Accelerator
from kvpack.recipe.versions import VersionRange


class Option(Value):
    """A switch of the upstream build system. One that the build ignores fails the build."""

    type: Literal["bool", "string"] = "bool"
    default: bool | str
    per_accelerator: dict[Accelerator, bool | str] = Field(default_factory=dict)
    """Values that differ from the default for some accelerators."""
    with_torch: bool | str | None = None
    """The value where minor versions of torch are selected, whatever the accelerator."""
    cmake: Text | None = None
    """The CMake variable that it sets."""
    meson: Text | None = None
    """The meson option that it sets."""
    configure: Annotated[str, Field(pattern=r"^(with|enable)-[a-z0-9-]+$")] | None = None
    """The option of ``configure`` (autoconf) that it sets: ``with-cuda``, ``enable-mt``."""
    env: Text | None = None
    """The environment variable that it sets."""
    when: VersionRange | None = None
    summary: str = ""

    @model_validator(mode="after")
    def _coherent(self) -> "Option":
        if sum(bool(name) for name in (self.cmake, self.meson, self.configure, self.env)) != 1:
            raise ValueError("an option sets one of cmake, meson, configure and env: name one")
        wanted = bool if self.type == "bool" else str
        for value in self._values:
            if not isinstance(value, wanted):
                message = f"value {value!r} does not fit type = {self.type!r}"
                raise ValueError(message)  # noqa: TRY004  # pydantic collects ValueErrors
        return self

    @property
    def _values(self) -> list[bool | str]:
        with_torch = [] if self.with_torch is None else [self.with_torch]
        return [self.default, *self.per_accelerator.values(), *with_torch]

    @property
    def possible(self) -> list[str]:
        """Every value that some target gives it, as the recipe writes it."""
        return [str(value) for value in self._values]

    def raw_for(self, accelerator: Accelerator, *, torch: bool = False) -> bool | str:
        """The value as the recipe writes it; parameters as of ``value_for``."""
        if torch and self.with_torch is not None:
            return self.with_torch
        return self.per_accelerator.get(accelerator, self.default)

    def value_for(self, accelerator: Accelerator, *, torch: bool = False) -> str:
        """The text that the build system gets.

        :param torch: whether the wheel is built with extensions of torch.
        """
        value = self.raw_for(accelerator, torch=torch)
        if isinstance(value, bool):
            words = ("ON", "OFF")
            if self.meson or self.configure:
                words = ("true", "false") if self.meson else ("yes", "no")
            return words[0] if value else words[1]
        return value
