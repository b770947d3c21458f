"""What a build is asked for and what it hands on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvpack.lock.model import Inputs
from kvpack.lock.source import DirtyTree
from kvpack.names import Sha256
from kvpack.recipe.model import Recipe

INPUTS = "kvpack-inputs"
"""The folder of the container's project that holds every locked input, beside the source."""
SOURCE = "source"
"""The source's folder in that project, of a wheel or a library that is delivered."""


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """One action: everything that decides a wheel's bytes, and the key that stands for it."""

    recipe: Recipe
    inputs: Inputs
    action: dict[str, Any]
    key: Sha256
    distribution: str
    """The project name that the wheel gets."""
    version: str
    """The version that the wheel gets, with its local part."""
    libraries: "tuple[BuildPlan, ...]" = ()
    """The native libraries that it is built with, by name; their actions are part of its own."""

    @property
    def cell(self) -> str:
        """Where ``why`` looks for what was built for this target before."""
        target = self.inputs.target
        return f"{target.recipe}/{target.version}/{target.id}"

    @property
    def title(self) -> str:
        return self.inputs.target.title + (" DIRTY" if self.dirty else "")

    @property
    def below(self) -> "tuple[BuildPlan, ...]":
        """The native libraries below it, those of libraries too, each once."""
        found: dict[str, BuildPlan] = {}
        for one in self.libraries:
            found |= {each.key: each for each in (*one.below, one)}
        return tuple(found.values())

    @property
    def tar(self) -> str:
        """``ucx-1.23.0+kvp.1a2b3c4d-debian-bookworm-x86_64-cuda13.tar``, of a native library."""
        return f"{self.distribution}-{self.version}-{self.inputs.target.id}.tar"

    @property
    def dirty(self) -> bool:
        """Whether it is built from a working tree, not from the locked commit."""
        return isinstance(self.inputs.source, DirtyTree)


@dataclass(frozen=True, kw_only=True)
class BuiltWheel:
    """A wheel in the store, with what made it."""

    key: Sha256
    file: str
    sha256: Sha256
    size: int
    """Bytes."""
    seconds: float
    """How long the build took, when it was built."""
    hit: bool
    """Whether it was in the store before."""


@dataclass(frozen=True, kw_only=True)
class BuiltLibrary:
    """A native library in the store: a canonical tar of what lies below its prefix."""

    plan: BuildPlan
    sha256: Sha256
    size: int
    """Bytes."""
    seconds: float
    hit: bool
    shared: bool = False
    """Whether another machine's result was taken just now."""

    @property
    def file(self) -> str:
        return self.plan.tar


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What one run of cibuildwheel is given beside its plan."""

    image: str
    folder: Path
    """Scratch space."""
    source_folder: str = SOURCE
    """Name of the source's folder; a rebuild uses another one, so that a path in a file shows."""
    compiler_cache: Path | None = None
