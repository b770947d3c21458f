"""What distributions claim of an environment, and where their claims collide."""

from typing import Literal

from pydantic import Field

from kvpack.base import Text, Value


class Claim(Value):
    """One path that a distribution writes when it is installed."""

    path: Text
    """Relative to the environment: ``site-packages/nixl/x.py``, ``bin/nixl_example``."""
    sha256: str | None = None
    """Of the content; none for what an installer generates."""
    size: int | None = None
    """Bytes."""
    made_from: str | None = None
    """For a generated script: the entry point, ``module:attribute``."""

    @property
    def identity(self) -> tuple[str | None, str | None]:
        """Equal for the same bytes."""
        return (self.sha256, self.made_from)


class Claims(Value):
    """All that one distribution writes."""

    distribution: Text
    """Normalized project name."""
    version: Text
    origin: Text
    """Where it was read: a file, a URL without credentials, an environment."""
    claims: tuple[Claim, ...]
    size: int = 0
    """Bytes of the wheel."""
    read: int = 0
    """Bytes that were read of it."""


class Owner(Value):
    """One side of a collision."""

    distribution: Text
    version: Text
    sha256: str | None
    path: Text
    """As this distribution writes it; differs from the others' only in case."""


class Collision(Value):
    """One path that several distributions write."""

    path: Text
    kind: Literal["different-bytes", "same-bytes", "case", "file-and-folder"]
    owners: tuple[Owner, ...]
    advice: str = ""
    """What to change."""


class ConflictReport(Value):
    """Who owns what, where it is not one distribution alone."""

    report_schema: Literal[1] = Field(default=1, alias="schema")
    distributions: tuple[tuple[Text, Text], ...]
    """Name and version of every distribution that was looked at."""
    conflicts: tuple[Collision, ...]
    shared: tuple[Collision, ...]
    """Paths that several write with the same bytes: the first uninstall removes them for all."""
    bytes_read: int
    bytes_total: int
    """Of the wheels that were not installed."""
