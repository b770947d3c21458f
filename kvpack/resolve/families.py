"""Families as data: which distributions must not meet in one environment, and which one to take."""

import re
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, field_validator, model_validator

from kvpack.base import Name, Text, Value
from kvpack.names import Accelerator


class Member(Value):
    """One of several distributions that own the same import names."""

    name: Name
    accelerator: Accelerator | None = None
    """What it is built against; ``None``: it is taken only where an intent names it."""
    flavour: str = ""
    """A second axis (``efa``): members of one flavour replace each other."""


class Family(Value):
    """Distributions that own the same import names."""

    name: Name
    members: tuple[Member, ...] = Field(min_length=2)
    dispatcher: Name | None = None
    """Belongs to the family, owns another import name, and stays beside the one member."""
    lockstep: bool = False
    """Whether the member must have the dispatcher's version."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members, without the dispatcher."""
        return tuple(member.name for member in self.members)

    def member(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)

    def choose(self, accelerator: Accelerator, flavour: str = "") -> Member | None:
        """The member for an accelerator; ``None`` if the family has none."""
        for member in self.members:
            if (member.accelerator, member.flavour) == (accelerator, flavour):
                return member
        return None


class BuiltFor(Value):
    """One name whose versions are each built against one accelerator."""

    name: Name
    cpu: str | None = None
    cuda12: str | None = None
    cuda13: str | None = None
    rocm7: str | None = None

    @field_validator("cpu", "cuda12", "cuda13", "rocm7")
    @classmethod
    def _specifier(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                SpecifierSet(text)
            except InvalidSpecifier as error:
                raise ValueError(str(error)) from None
        return text

    def versions(self, accelerator: Accelerator) -> str | None:
        """The range of versions for an accelerator (PEP 440); ``None`` if there are none."""
        found: str | None = getattr(self, accelerator.value)
        return found


class Base(Value):
    """A distribution that belongs to the environment, not to a set that is added to it."""

    name: Name


class TorchExtension(Value):
    """Files that are built for one minor version of torch."""

    file: Text
    """Regular expression over installed paths, with groups ``major`` and ``minor``."""

    @field_validator("file")
    @classmethod
    def _expression(cls, text: str) -> str:
        try:
            groups = re.compile(text).groupindex
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        if set(groups) != {"major", "minor"}:
            raise ValueError("it must have the groups major and minor, and no other")
        return text


class Families(Value):
    """The content of ``families.toml``."""

    families_schema: Literal[1] = Field(alias="schema")
    family: tuple[Family, ...]
    built_for: tuple[BuiltFor, ...] = ()
    base: tuple[Base, ...] = ()
    torch_extension: tuple[TorchExtension, ...] = ()

    @model_validator(mode="after")
    def _one_owner(self) -> "Families":
        names = [name for family in self.family for name in family.names]
        names += [family.dispatcher for family in self.family if family.dispatcher]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return self

    def of(self, distributions: Iterable[str]) -> Family | None:
        """The family that two or more of these distributions are members of."""
        names = set(distributions)
        for family in self.family:
            if len(names & set(family.names)) > 1:
                return family
        return None

    def family_of(self, name: str) -> Family | None:
        """The family that a distribution is a member or the dispatcher of."""
        for family in self.family:
            if name == family.dispatcher or name in family.names:
                return family
        return None

    def built(self, name: str) -> BuiltFor | None:
        return next((one for one in self.built_for if one.name == name), None)

    def is_base(self, name: str) -> bool:
        """Whether it belongs to the environment (torch)."""
        return any(one.name == name for one in self.base)


def load_families() -> Families:
    """Read the packaged ``families.toml``."""
    text = files("kvpack.resolve").joinpath("families.toml").read_text(encoding="utf-8")
    return Families.model_validate(tomllib.loads(text))
