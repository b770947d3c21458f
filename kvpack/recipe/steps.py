"""What runs before the build back end, and what a build's log may not say. Pure values."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from kvpack.base import Text, Value
from kvpack.names import Accelerator
from kvpack.recipe.versions import VersionRange, applies

OPTIONS = {
    "cmake": "KVPACK_CMAKE_OPTIONS",
    "meson": "KVPACK_MESON_OPTIONS",
    "configure": "KVPACK_CONFIGURE_OPTIONS",
}
"""Build system -> the variable in which steps find its options: ``-DX=ON``, ``--with-x=no``."""


class Limited(Value):
    """Something that holds for some versions and accelerators."""

    when: VersionRange | None = None
    accelerator: tuple[Accelerator, ...] | None = None

    def fits(self, version: str, accelerator: Accelerator) -> bool:
        """Whether it holds for a target."""
        return applies(self.when, version) and (
            self.accelerator is None or accelerator in self.accelerator
        )


class Step(Limited):
    """A shell command that runs only for some versions or accelerators."""

    run: Text


def _kind(value: Any) -> str | None:  # noqa: ANN401  # what TOML may hold, or a model
    if isinstance(value, str):
        return "<command>"
    return "<step>" if isinstance(value, dict | Step) else None


AnyStep = Annotated[
    Annotated[Text, Tag("<command>")] | Annotated[Step, Tag("<step>")],
    Discriminator(
        _kind,
        custom_error_type="step_kind",
        custom_error_message='a step is a shell command, or { run = "…", when = "…" }',
    ),
]


def commands_of(steps: tuple[AnyStep, ...], version: str, accelerator: Accelerator) -> list[str]:
    """The commands for a target, in order."""
    return [
        step if isinstance(step, str) else step.run
        for step in steps
        if isinstance(step, str) or step.fits(version, accelerator)
    ]


def unreached(
    tool: str, steps: tuple[AnyStep, ...], values: dict[str, list[str]], *, alone: bool = False
) -> str:
    """Why options would not reach a build system that steps call; empty: they do.

    :param values: the values of each option of that build system, by its key path.
    :param alone: whether no back end follows: of a native library.
    """
    text = "\n".join(step if isinstance(step, str) else step.run for step in steps)
    variable = OPTIONS[tool]
    # Back ends run CMake and meson by themselves; configure is run by steps alone.
    called = alone or tool == "configure" or re.search(rf"(?<![\w./-]){tool}\s", text)
    if not values or not called:
        return ""
    if not re.search(rf"\$\{{?{variable}\b", text):
        return f"no step hands {tool} ${variable}: {', '.join(values)} would be ignored"
    for name, possible in values.items():
        for value in possible:
            # The shell splits and expands what the variable holds.
            if re.search(r"[\s'\"\\*?\[$`]", value):
                return f"{name} is {value!r}, which a shell splits or expands: write it in a step"
    return ""


def _line_pattern(text: str) -> str:
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    if compiled.search(""):
        raise ValueError(f"{text!r} matches an empty line, so it matches every log")
    return text


class Refusal(Limited):
    """A line of the build's log that must not be there: a feature was left out without a word."""

    log: Annotated[Text, AfterValidator(_line_pattern)]
    """A regular expression that is searched for in every line."""
    why: Text


def one_or_several(value: Any) -> str | None:  # noqa: ANN401  # what TOML may hold
    """Which of two forms a value has; ``None``: neither."""
    if isinstance(value, str):
        return "<one>"
    return "<several>" if isinstance(value, list | tuple) else None


RootNames = Annotated[
    Annotated[Text, Tag("<one>")]
    | Annotated[tuple[Text, ...], Field(min_length=1), Tag("<several>")],
    Discriminator(
        one_or_several,
        custom_error_type="root_kind",
        custom_error_message='a builder root is named by a string, or several by a list: "debian"',
    ),
]


def _folder(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][\w.+-]*(/[A-Za-z0-9_][\w.+-]*)*", text):
        raise ValueError(
            f"{text!r} is not a folder of the source, written from its root, without a slash at "
            "the ends: python/package"
        )
    return text


Folder = Annotated[str, AfterValidator(_folder)]
"""A folder of the source, relative to its root."""
