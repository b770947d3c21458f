"""Exactly which bytes: every input of every target of one recipe, by digest.

A lock names a registry and a place in it, never the registry's host: the host is a mirror, and
mirrors are configuration of the machine that fetches (``kvpack/fetch/registries.py``).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kvpack.base import Name, PythonVersion, Sha256, Text, Value
from kvpack.lock.gofile import LockedGoFile
from kvpack.lock.source import AnyPatch, AnySource, BuildSource, FileName, LockedPatch, Place
from kvpack.names import Accelerator, Arch
from kvpack.recipe.model import Target
from kvpack.recipe.toolkitimage import ImageFolder, TaggedImage
from kvpack.recipe.torch import TorchMinor
from kvpack.recipe.versions import WheelVersion

LOCK_SCHEMA = 1
"""The version of the lock format that this kvpack reads and writes."""


Use = Literal["build", "import", "root", "host", "toolkit"]
"""What a closure of wheels is for: the build environment, the clean environment that imports the
result, the tools inside the builder root (pip, auditwheel, patchelf), the driver on the host
(cibuildwheel), an accelerator's toolkit."""


class LockedWheel(Value):
    """One wheel of the registry ``pypi``."""

    file: FileName
    project: Name
    version: Text
    path: Place
    sha256: Sha256


class Closure(Value):
    """The wheels that satisfy some requirements in one environment, completely."""

    use: Use
    requires: tuple[Text, ...]
    """What was asked for; ``kvpack lock --check`` compares it with the recipe."""
    version: WheelVersion | None = None
    """The recipe's version it belongs to; none for tools."""
    python: PythonVersion | None = None
    root: Text | None = None
    arch: Arch | None = None
    accelerator: Accelerator | None = None
    """Of a toolkit, and of an environment that holds torch, or Go where others hold none."""
    torch: TorchMinor | None = None
    """The minor version of torch that a build environment holds."""
    files: tuple[FileName, ...]

    @property
    def title(self) -> str:
        """What tells it from the others of its lock, in words: ``toolkit x86_64 cuda13``."""
        parts = (self.use, self.version, self.python, self.root, self.arch, self.accelerator)
        torch = f"torch {self.torch}" if self.torch else None
        return " ".join(str(part) for part in (*parts, torch) if part)


class LockedDeb(Value):
    """One Debian package of a builder root."""

    name: Text
    version: Text
    path: Place
    size: int = Field(gt=0)
    """Bytes."""
    sha256: Sha256


class LockedRoot(Value):
    """One builder root: Debian packages, or an image by digest."""

    id: Text
    arch: Arch
    include: tuple[Text, ...] = ()
    """The Debian packages that were asked for; ``packages`` is their closure."""
    packages: tuple[LockedDeb, ...] = ()
    image: Text | None = None
    """``registry/name@sha256:digest`` of a PyPA image."""
    suite: Name | None = None
    """Debian's suite of packages that lie beside an image; that of a generated root is its id's."""

    @property
    def distribution(self) -> str:
        """The suite that its packages are of."""
        return self.suite or self.id.removeprefix("debian-")


class LockedLayer(Value):
    """One layer of an image, as its manifest names it."""

    sha256: Sha256
    size: int = Field(gt=0)
    """Bytes."""


class LockedImage(Value):
    """An accelerator's toolkit that is a folder of an image."""

    accelerator: Accelerator
    arch: Arch
    tagged: TaggedImage
    """What was asked for; ``kvpack lock --check`` compares it with the recipe."""
    folder: ImageFolder
    image: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$")]
    """``registry/name@sha256:digest``: the manifest for this architecture."""
    layers: tuple[LockedLayer, ...] = Field(min_length=1)
    """The image's, the lowest first."""

    @property
    def title(self) -> str:
        """What tells it from the others of its lock, in words: ``rocm7 x86_64``."""
        return f"{self.accelerator} {self.arch}"


class Lock(Value):
    """``lock/<name>.toml``."""

    lock_schema: Literal[1] = Field(alias="schema")
    recipe: Name
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    """Digest of all that follows; an edit by hand shows."""
    incomplete: tuple[Text, ...] = ()
    """What the recipe offers and this lock cannot name yet, each with its reason."""
    source: tuple[AnySource, ...] = Field(min_length=1)
    patches: tuple[AnyPatch, ...] = ()
    closure: tuple[Closure, ...]
    root: tuple[LockedRoot, ...]
    toolkit: tuple[LockedImage, ...] = ()
    """Toolkits that are images; those made of wheels are closures."""
    wheels: tuple[LockedWheel, ...]

    def wheels_of(self, closure: Closure) -> tuple[LockedWheel, ...]:
        """The wheels that a closure names, in its order."""
        by_file = {wheel.file: wheel for wheel in self.wheels}
        return tuple(by_file[file] for file in closure.files)


class TorchBuild(Value):
    """One more build of the same wheel, in an environment that holds another torch."""

    minor: TorchMinor
    wheels: tuple[LockedWheel, ...]


class Inputs(Value):
    """The slice of a lock that decides one target's bytes; of a native library, without wheels."""

    target: Target
    source: BuildSource
    patches: tuple[LockedPatch, ...]
    modules: tuple[LockedGoFile, ...] = ()
    """Go modules, where the target takes them."""
    build: tuple[LockedWheel, ...] = ()
    """The build environment; of a target with extensions of torch, that of the first minor."""
    torch: tuple[TorchBuild, ...] = ()
    """The builds for the further minors."""
    host: tuple[LockedWheel, ...] = ()
    """cibuildwheel and what it needs."""
    root: LockedRoot
    root_tools: tuple[LockedWheel, ...] = ()
    imports: tuple[LockedWheel, ...] = ()
    """What the clean environment of the import check holds; it does not decide the bytes."""
    toolkit: tuple[LockedWheel, ...] = ()
    """The accelerator's toolkit, which lies over the root."""
    toolkit_image: LockedImage | None = None
    """Or the image that has it."""

    @property
    def has_toolkit(self) -> bool:
        return bool(self.toolkit or self.toolkit_image)
