"""What a package expects of the machine that it runs on, as recipes say it. Pure values."""

import re

from pydantic import Field, model_validator

from kvpack.base import Text, Value
from kvpack.recipe.source import WebUrl
from kvpack.recipe.steps import Limited
from kvpack.recipe.versions import RequirementText


class Channel(Value):
    """One channel of a vendor's repository, and the kernel module that its user space works with.

    What is left out is not known.
    """

    channel: Text
    libraries: Text | None = None
    """The version of its user-space libraries."""
    dkms: tuple[Text, ...] = ()
    """Versions of the kernel module."""
    abi: int | None = Field(default=None, ge=0)
    """The kernel ABI that the user space asks for."""
    source: Text
    """Where that was said or measured."""


class HostStack(Value):
    """User space that must fit the host's kernel driver: installed there, never in a wheel."""

    summary: Text
    repository: WebUrl
    """An apt repository."""
    key: WebUrl
    """The key that signs it."""
    suite: Text
    channel: Text | None = None
    """The part of the repository that is frozen to one release; none: it has no channels."""
    moving: Text | None = None
    """Expression over names of channels whose packages change under the same name."""
    packages: tuple[Text, ...] = Field(min_length=1)
    """Debian packages, perhaps ``name=version``."""
    channels: tuple[Channel, ...] = ()
    notes: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _frozen(self) -> "HostStack":
        if self.channel is None or self.moving is None:
            return self
        try:
            moving = re.compile(self.moving)
        except re.error as error:
            raise ValueError(f"{self.moving!r} is not a regular expression: {error}") from None
        if moving.fullmatch(self.channel):
            frozen = [one.channel for one in self.channels if not moving.fullmatch(one.channel)]
            known = f"; frozen ones are {', '.join(frozen)}" if frozen else ""
            raise ValueError(
                f"the channel {self.channel!r} is not frozen: its packages change under the same "
                f"name{known}"
            )
        return self


class RunVariable(Limited):
    """An environment variable that the package needs when it runs; no build can set it."""

    value: str
    why: Text


class RequirementGroup(Value):
    """Distributions that one use of the package needs, beside its own requirements."""

    summary: Text
    requires: tuple[RequirementText, ...] = Field(min_length=1)


class Runtime(Value):
    """What the package needs where it runs."""

    environment: dict[Text, RunVariable] = Field(default_factory=dict)
