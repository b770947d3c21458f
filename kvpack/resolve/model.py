"""What distributions claim of an environment, and where their claims collide."""

from typing import Literal

from pydantic import Field

from kvpack.audit.model import ElfFile, Severity
from kvpack.base import Glibc, Text, Value
from kvpack.names import Accelerator


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
    requires: tuple[str, ...] = ()
    """``Requires-Dist``, as written."""
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


class SetMember(Value):
    """One distribution of a set, as the library graph sees it."""

    distribution: Text
    version: Text
    paths: tuple[str, ...]
    """What it writes, as in ``Claim``."""
    requires: tuple[str, ...] = ()
    """``Requires-Dist`` that the environment's markers leave."""
    elf: tuple[ElfFile, ...] = ()
    brought_by: tuple[str, ...] = ()
    """The requirements, files or words that put it into the set."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


class SetTarget(Value):
    """What a set of distributions is to be loaded in."""

    glibc: Glibc
    arch: Text
    accelerator: Accelerator | None = None
    """``None``: nobody said; the set must agree with itself."""
    torch: str | None = None
    """Version of the environment's torch."""
    base: tuple[str, ...] = ()
    """Distributions that the environment provides: torch."""
    allowed: tuple[str, ...] = ()
    """Globs of sonames that every host of this floor has (the manylinux policy)."""


class SetFinding(Value):
    """One fact about a set that breaks a rule, or that a user should know."""

    check: Text
    """Id of the check, kebab-case: ``cuda-major``, ``library``."""
    severity: Severity
    distribution: Text
    version: Text
    path: str = ""
    """The installed path or wheel member that it is about; empty: all of the distribution."""
    message: Text
    """What is wrong, with the value."""
    brought_by: tuple[str, ...] = ()
    """What put the distribution into the set."""
    advice: str = ""
    """What to change."""


class ProofReport(ConflictReport):
    """Whether a set of distributions can live in one environment: paths, then libraries."""

    findings: tuple[SetFinding, ...] = ()
    """Of the graph of libraries; errors first."""
    provided: dict[str, str] = Field(default_factory=dict)
    """Soname that a wheel takes from outside -> who provides it."""
    brought_by: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Distribution -> the requirements, files or words that put it into the set."""
    libraries: bool = False
    """Whether the graph of libraries was looked at."""
    bytes_fetched: int = 0
    """Of wheels that were fetched whole for their ELF files."""

    @property
    def errors(self) -> tuple[SetFinding, ...]:
        """Findings that forbid the set."""
        return tuple(one for one in self.findings if one.severity is Severity.ERROR)

    @property
    def holds(self) -> bool:
        """Whether nothing forbids the set."""
        return not self.conflicts and not self.errors
