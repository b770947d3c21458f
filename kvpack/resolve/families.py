"""Families as data: which distributions must not meet in one environment."""

import tomllib
from collections.abc import Iterable
from importlib.resources import files
from typing import Literal

from pydantic import Field

from kvpack.base import Name, Value


class Family(Value):
    """Distributions that own the same import names."""

    name: Name
    members: tuple[Name, ...] = Field(min_length=2)
    dispatcher: Name | None = None
    """Belongs to the family, owns another import name, and stays beside the one member."""


class Families(Value):
    """The content of ``families.toml``."""

    families_schema: Literal[1] = Field(alias="schema")
    family: tuple[Family, ...]

    def of(self, distributions: Iterable[str]) -> Family | None:
        """The family that two or more of these distributions are members of."""
        names = set(distributions)
        for family in self.family:
            if len(names & set(family.members)) > 1:
                return family
        return None


def load_families() -> Families:
    """Read the packaged ``families.toml``."""
    text = files("kvpack.resolve").joinpath("families.toml").read_text(encoding="utf-8")
    return Families.model_validate(tomllib.loads(text))
