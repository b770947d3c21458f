"""What to build: recipes as people write them, and the targets that they offer."""

from typing import Annotated, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_serializer, model_validator

from kvpack.base import Glibc, Name, PythonVersion, Text, Value
from kvpack.names import Accelerator, Arch, platform_tag, python_tag
from kvpack.recipe.build import Audit, Build
from kvpack.recipe.golang import Go
from kvpack.recipe.host import HostStack, RequirementGroup, Runtime
from kvpack.recipe.library import Library, library_fault
from kvpack.recipe.option import Option
from kvpack.recipe.prove import Identity, Proves
from kvpack.recipe.source import Commit, GitSource, Source
from kvpack.recipe.steps import OPTIONS, commands_of, unreached
from kvpack.recipe.torch import TorchMinor
from kvpack.recipe.versions import VersionRange, WheelVersion, applies

EPOCH_MIN, EPOCH_MAX = 315532800, 4354819198
"""1980-01-01 and 2107-12-31: what a zip archive can name, in seconds."""
RECIPE_SCHEMA = 1
"""The version of the recipe format that this kvpack reads."""


class Distribution(Value):
    """Project names. All of them own the same import names: one family."""

    cpu: Name | None = None
    cuda12: Name | None = None
    cuda13: Name | None = None
    rocm7: Name | None = None
    owns: tuple[Text, ...] = Field(min_length=1)
    """Top-level import names that the wheel may hold; others are an audit error."""

    def name_for(self, accelerator: Accelerator) -> str | None:
        named: str | None = getattr(self, accelerator.value)
        return named


NONE = Distribution.model_construct(owns=())
"""Of a native library: it is no project of an index."""


class Release(Value):
    """One version of the package."""

    source: Source
    epoch: int | None = Field(default=None, ge=EPOCH_MIN, le=EPOCH_MAX)
    """SOURCE_DATE_EPOCH in seconds; by default that of the newest file of the source."""


class Selection(Value):
    """A choice on the axes; an axis that is not named is chosen by kvpack."""

    python: tuple[PythonVersion, ...] | None = None
    glibc: tuple[Glibc, ...] | None = None
    arch: tuple[Arch, ...] | None = None
    accelerator: tuple[Accelerator, ...] | None = None
    torch: tuple[TorchMinor, ...] | None = None
    """Minor versions of torch, all in one wheel; empty: a wheel without extensions of torch."""

    def holds(self, target: "Target") -> bool:
        """Whether a target has one of the values on every axis that is named."""
        return all(
            wanted is None or getattr(target, axis) in wanted
            for axis, wanted in (
                ("python", self.python),
                ("glibc", self.glibc),
                ("arch", self.arch),
                ("accelerator", self.accelerator),
            )
        )


class Targets(Value):
    """What the recipe offers on each axis, and what it builds when nothing is selected."""

    python: tuple[PythonVersion, ...] = ()
    """None for a native library."""
    glibc: tuple[Glibc, ...] = Field(min_length=1)
    """Floors: the oldest glibc that a wheel must load on."""
    arch: tuple[Arch, ...] = (Arch.X86_64, Arch.AARCH64)
    accelerator: tuple[Accelerator, ...] = (Accelerator.CPU,)
    torch: dict[Accelerator, tuple[TorchMinor, ...]] = Field(default_factory=dict)
    """Minor versions of torch that extensions can be built for."""
    torch_python: dict[TorchMinor, tuple[PythonVersion, ...]] = Field(default_factory=dict)
    """The Pythons that a minor version of torch has wheels for, where these are not all."""
    default: Selection = Selection()

    def has_torch(self, minor: str, python: str) -> bool:
        """Whether extensions can be built for a minor version of torch on a Python."""
        return python in self.torch_python.get(minor, self.python)


class Patch(Value):
    """A change to the source, applied without fuzz."""

    id: Name
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.patch$")] | None = None
    """A file in ``patches/<recipe>/``."""
    commit: Commit | None = None
    """Or a commit of upstream's own history: what it changed against its first parent."""
    when: VersionRange | None = None
    upstream: Text | None = None
    """Where upstream discusses or fixed it: ``owner/repository#123``."""
    why: Text

    @model_validator(mode="after")
    def _from_one_place(self) -> "Patch":
        if (self.file is None) == (self.commit is None):
            raise ValueError("a patch is either a file or a commit: name one")
        return self


class Recipe(Value):
    """``recipes/<name>.toml``: what a package is, where it lies, how it is built."""

    recipe_schema: Literal[1] = Field(alias="schema")
    name: Name
    summary: Text
    license: Text
    """SPDX expression of upstream's licence."""
    homepage: Text | None = None
    default_version: WheelVersion
    distribution: Distribution = NONE
    library: Library | None = None
    """Of a recipe whose result is no wheel, but a tree that other recipes build with."""
    versions: dict[WheelVersion, Release] = Field(min_length=1)
    targets: Targets
    options: dict[Name, Option] = Field(default_factory=dict)
    patches: tuple[Patch, ...] = ()
    build: Build = Build()
    audit: Audit = Audit()
    identity: Identity | None = None
    prove: Proves = ()
    host: dict[Name, HostStack] = Field(default_factory=dict)
    """User space that must fit the host's kernel driver, by NIC or device."""
    runtime: Runtime = Runtime()
    requirements: dict[Name, RequirementGroup] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _wheel_or_library(self) -> "Recipe":
        if fault := library_fault(
            self.library is not None,
            distribution="distribution" in self.model_fields_set,
            python=bool(self.targets.python),
            steps=bool(self.build.steps),
            named={*self.model_fields_set, *(f"build.{x}" for x in self.build.model_fields_set)},
        ):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _options_reach_the_steps(self) -> "Recipe":
        for tool in OPTIONS:
            values = {
                f"options.{name}": one.possible
                for name, one in self.options.items()
                if getattr(one, tool)
            }
            if fault := unreached(tool, self.build.steps, values, alone=self.library is not None):
                raise ValueError(fault)
        return self

    @field_serializer("distribution", mode="wrap")
    def _told(
        self, value: Distribution, told: SerializerFunctionWrapHandler
    ) -> dict[str, object] | None:
        return None if self.library else told(value)

    def options_for(
        self, version: str, accelerator: Accelerator, *, torch: bool = False
    ) -> dict[str, tuple[Option, str]]:
        """The options that exist in ``version``, with their values.

        :param torch: whether the wheel is built with extensions of torch.
        """
        return {
            name: (option, option.value_for(accelerator, torch=torch))
            for name, option in sorted(self.options.items())
            if applies(option.when, version)
        }

    def options_of(self, target: "Target") -> dict[str, tuple[Option, str]]:
        """The options of a target."""
        return self.options_for(target.version, target.accelerator, torch=bool(target.torch))

    def go_for(self, version: str, accelerator: Accelerator, *, torch: bool = False) -> Go | None:
        """``build.go``, where a build takes it; parameters as of ``options_for``."""
        go = self.build.go
        return go if go and go.needed(version, accelerator, self.options, torch=torch) else None

    def go_of(self, target: "Target") -> Go | None:
        """``build.go``, if a target takes it."""
        return self.go_for(target.version, target.accelerator, torch=bool(target.torch))

    def git_for(self, patch: Patch) -> GitSource | None:
        """The repository that holds a patch's commit: that of the first version it is for."""
        for version, release in self.versions.items():
            if applies(patch.when, version) and isinstance(release.source, GitSource):
                return release.source
        return next(
            (one.source for one in self.versions.values() if isinstance(one.source, GitSource)),
            None,
        )

    def patches_for(self, version: str) -> tuple[Patch, ...]:
        return tuple(patch for patch in self.patches if applies(patch.when, version))

    def commands_for(self, version: str, accelerator: Accelerator) -> list[str]:
        """The steps of ``build.steps`` for a target."""
        return commands_of(self.build.steps, version, accelerator)

    def repairs_for(self, version: str, accelerator: Accelerator) -> list[str]:
        """The steps of ``build.repaired`` for a target."""
        return commands_of(self.build.repaired, version, accelerator)


class Target(Value):
    """One cell of a recipe: what exactly one wheel is built for."""

    recipe: Name
    version: WheelVersion
    python: PythonVersion | Literal[""] = ""
    """None of a native library."""
    glibc: Glibc
    arch: Arch
    accelerator: Accelerator
    torch: tuple[TorchMinor, ...] = ()
    """The minor versions of torch that its extensions are for, ascending."""
    root: Text
    """The id of the builder root."""

    @property
    def python_tag(self) -> str:
        """``cp311``; empty for a native library."""
        return python_tag(self.python) if self.python else ""

    @property
    def platform_tag(self) -> str:
        return platform_tag(self.glibc, self.arch)

    @property
    def id(self) -> str:
        """``cp311-manylinux_2_39_x86_64-cpu``; of a library ``debian-bookworm-x86_64-cpu``.

        With extensions of torch it ends with ``-torch2.13+2.14``.
        """
        if not self.python:
            return f"{self.root}-{self.arch}-{self.accelerator}"
        torch = f"-torch{'+'.join(self.torch)}" if self.torch else ""
        return f"{self.python_tag}-{self.platform_tag}-{self.accelerator}{torch}"

    @property
    def title(self) -> str:
        """``dlslime 0.1.7 cp311-manylinux_2_39_x86_64-cpu``."""
        return f"{self.recipe} {self.version} {self.id}"
