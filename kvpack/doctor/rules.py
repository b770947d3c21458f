"""What the doctor knows of versions, libraries, kernels and channels: ``rules.toml``, checked."""

import re
import tomllib
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, Field

from kvpack.base import Name, Text, Value
from kvpack.doctor.model import Severity


def _specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(str(error)) from None
    return text


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


Versions = Annotated[str, AfterValidator(_specifier)]
"""A range of versions (PEP 440)."""
Expression = Annotated[str, AfterValidator(_expression)]


def holds(versions: str, version: str) -> bool:
    """Whether a version lies in a range; a local part does not take it out."""
    try:
        return SpecifierSet(versions).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


class Cuda(Value):
    major: Expression
    runtime: Expression


class HostLibrary(Value):
    """A library that wheels leave to the host."""

    soname: Text
    """Glob."""
    package: str | None = None
    """Of Debian."""
    codename: str | None = None
    """The one release that has the package."""
    vendor: Literal["nvidia", "amd"] | None = None
    """The driver of such a GPU brings it."""
    why: str = ""


class OnDemand(Value):
    """Files that are loaded when a feature is asked for."""

    path: Text
    """Glob over installed paths."""
    but: tuple[Text, ...] = Field(default=(), alias="except")


class TorchMinors(Value):
    versions: Versions
    cuda12: tuple[Text, ...] = ()
    cuda13: tuple[Text, ...] = ()


class Peermem(Value):
    versions: Versions
    switch: Literal["build", "variable"]
    default: bool | Literal["if-loaded"]
    """``if-loaded``: where the kernel has the module."""


class DmaBuf(Value):
    kernel: Text
    verbs: Text
    no_peermem: tuple[Text, ...]


class FourGib(Value):
    since: Text
    fixed: tuple[Text, ...]
    """The first fixed version of each stable series, then the first fixed series."""


class Memlock(Value):
    least: int
    enough: int


class Bug(Value):
    """A fault of some versions, under some conditions."""

    check: Name
    family: Name
    members: tuple[Name, ...] = ()
    versions: Versions
    when: tuple[Literal["dma-buf", "expandable-segments", "several-nics"], ...] = ()
    severity: Severity
    message: Text
    why: Text
    upgrade: Text
    upgrade_glibc: dict[str, str] = Field(default_factory=dict)
    """Python -> glibc that the upgrade's wheel wants; empty: it has a wheel for this machine."""


class Ionic(Value):
    """An AINIC channel: the user space that it has, and the kernel modules that fit it."""

    channel: Text
    libionic: str | None = None
    """How the version of Debian's ``libionic1`` starts."""
    dkms: tuple[Text, ...] = ()
    abi: int | None = None


class Mori(Value):
    archs: tuple[Text, ...]


class Rules(Value):
    """The content of ``rules.toml``."""

    rules_schema: Literal[1] = Field(alias="schema")
    variables: tuple[Text, ...]
    rdma: tuple[Name, ...]
    unread: tuple[Text, ...]
    libc: tuple[Text, ...]
    always: tuple[Text, ...]
    copies: dict[str, str]
    cuda: Cuda
    host: tuple[HostLibrary, ...]
    on_demand: tuple[OnDemand, ...]
    torch_minors: tuple[TorchMinors, ...]
    peermem: tuple[Peermem, ...]
    dma_buf: DmaBuf
    four_gib: FourGib
    memlock: Memlock
    bug: tuple[Bug, ...]
    ionic: tuple[Ionic, ...]
    mori: Mori

    def host_library(self, soname: str) -> HostLibrary | None:
        return next((one for one in self.host if fnmatchcase(soname, one.soname)), None)

    def is_on_demand(self, path: str) -> bool:
        """Whether what a file lacks takes one feature only."""
        return any(
            fnmatchcase(path, one.path) and not any(fnmatchcase(path, but) for but in one.but)
            for one in self.on_demand
        )

    def cuda_majors(self, sonames: tuple[str, ...]) -> tuple[str, ...]:
        """The CUDA majors that sonames ask for, sorted."""
        found = [re.fullmatch(self.cuda.major, soname) for soname in sonames]
        return tuple(sorted({match.group(1) for match in found if match}))


def load_rules() -> Rules:
    """Read the packaged ``rules.toml``."""
    text = files("kvpack.doctor").joinpath("rules.toml").read_text(encoding="utf-8")
    return Rules.model_validate(tomllib.loads(text))
