"""The rules of a Mooncake configuration as data: ``mooncake_rules.toml`` and its schema."""

import tomllib
from functools import cached_property
from importlib.resources import files
from typing import Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, field_validator

from kvpack.base import Text, Value
from kvpack.doctor.model import Severity

Side = Literal["vllm", "owner", "mooncake", "sglang", "ascend"]


class Key(Value):
    """A key of mooncake_config.json that vLLM reads."""

    name: Text
    type: Literal["string", "boolean", "size", "string-or-null", "strings-or-null"]
    default: str | bool | int | None = None


class Foreign(Value):
    """A key that another reader of such files knows, and vLLM ignores."""

    name: Text
    of: Text
    """Whose it is: SGLang, Ascend, kv_connector_extra_config, …"""
    instead: Text
    """What to do with it."""
    harmless: bool = False
    """Whether nothing is lost when vLLM ignores it."""


class Variable(Value):
    """An environment variable."""

    name: Text
    side: Side
    type: Literal[
        "text", "path", "host-port", "host", "whole", "ratio", "flag", "choice", "lenient"
    ]
    """``flag``: exactly the words that turn it on, all others are off; ``lenient``: usual words."""
    default: str = ""
    low: int | None = None
    high: int | None = None
    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    any_case: bool = False
    choices: tuple[str, ...] = ()
    severity: Severity = "error"
    otherwise: str = ""
    """What the program does with a value that it does not know."""
    instead: str = ""
    """Of another program's variable: what vLLM reads instead."""


class Alias(Value):
    """Two names of one setting."""

    name: Text
    """The one that wins."""
    old: Text


class Ability(Value):
    """What needs a range of versions of Mooncake."""

    name: Text
    versions: Text
    why: Text

    @field_validator("versions")
    @classmethod
    def _specifier(cls, text: str) -> str:
        try:
            SpecifierSet(text)
        except InvalidSpecifier as error:
            raise ValueError(str(error)) from None
        return text


class Metadata(Value):
    """A kind of metadata server, by the scheme of its address."""

    scheme: Text
    needs: Literal["", "etcd", "redis"] = ""


class Protocol(Value):
    """A transport that Mooncake knows."""

    name: Text
    rdma: bool = False
    """Whether it takes device names."""


class Flags(Value):
    """Command-line flags of one program."""

    boolean: tuple[Text, ...]
    valued: tuple[Text, ...]


class Ports(Value):
    master: int
    client_rpc: int
    segment: int


class StagingRules(Value):
    budget: int
    ratio: float
    alignment: int
    padding: int


class Rules(Value):
    """The content of ``mooncake_rules.toml``."""

    rules_schema: Literal[1] = Field(alias="schema")
    modes: tuple[Text, ...]
    segment_alignment: int
    tiny: int
    ports: Ports
    staging: StagingRules
    total_size_limit: int
    key_: tuple[Key, ...] = Field(alias="key")
    foreign: tuple[Foreign, ...]
    protocol: tuple[Protocol, ...]
    metadata: tuple[Metadata, ...]
    variable: tuple[Variable, ...]
    alias: tuple[Alias, ...]
    known: tuple[Text, ...]
    """Further names of variables, read by Mooncake and not judged here."""
    cluster: tuple[Text, ...]
    """Regular expressions over names that Kubernetes makes of services."""
    ability: tuple[Ability, ...]
    master: Flags
    client: Flags

    @cached_property
    def keys(self) -> dict[str, Key]:
        return {one.name: one for one in self.key_}

    @cached_property
    def variables(self) -> dict[str, Variable]:
        return {one.name: one for one in self.variable}

    def key(self, name: str) -> Key:
        return self.keys[name]

    def is_of(self, name: str, side: Side) -> bool:
        return name in self.variables and self.variables[name].side == side

    def able(self, name: str) -> Ability:
        return next(one for one in self.ability if one.name == name)


def load_rules() -> Rules:
    """Read the packaged ``mooncake_rules.toml``."""
    text = files("kvpack.doctor").joinpath("mooncake_rules.toml").read_text(encoding="utf-8")
    return Rules.model_validate(tomllib.loads(text))
