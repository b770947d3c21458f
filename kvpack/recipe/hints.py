"""What ``kvpack new`` guesses from: the reviewed tables of ``hints.toml``."""

import tomllib
from importlib.resources import files
from typing import Literal

from pydantic import Field, model_validator

from kvpack.base import DebianPackage, Name, PythonVersion, Text, Value


class Library(Value):
    """What sources ask for, and what gives it: packages, a build requirement, or only advice."""

    debian: tuple[DebianPackage, ...] = ()
    requires: Name | None = None
    note: Text | None = None
    assumed: bool = True
    """Whether a draft asks for it where sources do; otherwise it is only mentioned."""
    headers: tuple[Text, ...] = ()
    """Globs over what ``#include`` names."""
    cmake: tuple[Text, ...] = ()
    """Names of ``find_package``."""
    pkgconfig: tuple[Text, ...] = ()
    link: tuple[Text, ...] = ()
    """Names as the linker takes them: ``numa`` of ``-lnuma``."""
    host: tuple[Text, ...] = ()
    """Sonames that belong to the host's drivers or kernel: never copied into a wheel."""

    @model_validator(mode="after")
    def _gives_one_thing(self) -> "Library":
        given = (bool(self.debian), self.requires is not None, self.note is not None)
        if sum(given) != 1 or (self.host and not self.debian):
            raise ValueError("it gives Debian packages, a requirement or a note: one of them")
        return self

    @property
    def title(self) -> str:
        return ", ".join(self.debian) or self.requires or "note"


class Backend(Value):
    """A build back end that asks for more once it runs."""

    module: Text
    requires: tuple[Text, ...] = ()
    note: Text | None = None


class Words(Value):
    """Words of a build file that a user should be told about, or that ask for a requirement."""

    file: Text
    words: tuple[Text, ...]
    note: Text | None = None
    requires: Name | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Words":
        if (self.note is None) == (self.requires is None):
            raise ValueError("words stand for a note or a requirement: one of them")
        return self


class Hints(Value):
    """The content of ``hints.toml``."""

    hints_schema: Literal[1] = Field(alias="schema")
    oldest_python: PythonVersion
    aside: tuple[Text, ...]
    backends: tuple[Backend, ...]
    libraries: tuple[Library, ...]
    words: tuple[Words, ...]
    licences: dict[str, str]
    common_names: tuple[Text, ...]
    """Folders of site-packages that no one wheel should own."""


def load_hints() -> Hints:
    """Read the packaged ``hints.toml``."""
    text = files("kvpack.recipe").joinpath("hints.toml").read_text(encoding="utf-8")
    return Hints.model_validate(tomllib.loads(text))
