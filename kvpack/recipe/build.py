"""``[build]`` and ``[audit]`` of a recipe: how its wheel is made, and what it must show."""

from typing import Annotated

from pydantic import Field

from kvpack.base import DebianPackage, Name, Text, Value
from kvpack.names import Accelerator
from kvpack.recipe.golang import Go
from kvpack.recipe.library import LibraryUse
from kvpack.recipe.steps import AnyStep, Folder, Refusal, RootNames
from kvpack.recipe.toolkitimage import ToolkitImage
from kvpack.recipe.versions import VersionRange


class Build(Value):
    """How the source becomes a wheel."""

    root: RootNames = "debian"
    """Families of builder roots (``debian``, ``pypa``) or ids of roots. A target's root is the
    newest of them that its floor and its Python allow."""
    debian: tuple[DebianPackage, ...] = ()
    """Debian packages that the build needs, beside a compiler."""
    requires: tuple[Text, ...] = ()
    """Build requirements beside those of the source's own pyproject.toml."""
    toolkit: tuple[Name, ...] | dict[Accelerator, tuple[Name, ...]] = ("runtime",)
    """Components of the accelerator's toolkit that the build needs, for all accelerators or for
    each; they are at ``/usr/local/cuda``. Names: ``kvpack/recipe/toolkits.toml``."""
    toolkit_version: dict[Accelerator, VersionRange] = Field(default_factory=dict)
    """Narrower ranges of the toolkit's version than kvpack's own."""
    toolkit_image: dict[Accelerator, ToolkitImage] = Field(default_factory=dict)
    """Images in place of those of ``kvpack/recipe/toolkits.toml``."""
    environment: dict[str, str] = Field(default_factory=dict)
    config_settings: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Config settings for the build back end (PEP 517)."""
    steps: tuple[AnyStep, ...] = ()
    """Commands of bash (``-euo pipefail``) in the source's root, after the patches and before the
    back end."""
    repaired: tuple[AnyStep, ...] = ()
    """Commands that change the wheel ``$WHEEL`` in place after auditwheel; modes are kept."""
    package: Folder | None = None
    """The folder whose pyproject.toml is built, if it is not the source's root."""
    generated: bool = False
    """Whether the steps make that folder's pyproject.toml: it is not in the source to be read, so
    ``requires`` names what its back end needs."""
    rename: bool = False
    """Whether ``[project] name`` of that pyproject.toml becomes the target's distribution."""
    pure: bool = False
    """Whether the wheel has no binaries, so that it is for every Python and platform."""
    git_head: bool = False
    """Whether the source gets a ``.git`` that says which commit it is, and nothing else."""
    refuse: tuple[Refusal, ...] = ()
    """Lines of the log that fail the build."""
    wraps: tuple[Text, ...] = ()
    """Subprojects (names or globs of ``subprojects/*.wrap``) that meson would download: their
    archives are locked, and meson finds them in its cache."""
    go: Go | None = None
    """Go modules that are locked, and the Go that compiles them."""
    torch_adds: tuple[Text, ...] = ()
    """Members of the wheel (globs) that are made for one minor version of torch each: where a
    target has several, the wheel is built once for each, and these of all builds are kept."""
    libraries: tuple[LibraryUse, ...] = ()
    """Native libraries, recipes of their own, that lie in the root when it builds."""

    @property
    def read_package(self) -> str | None:
        """The folder of the source whose pyproject.toml is read; ``None``: its root."""
        return None if self.generated else self.package

    @property
    def roots(self) -> tuple[str, ...]:
        return (self.root,) if isinstance(self.root, str) else self.root

    def toolkit_for(self, accelerator: Accelerator) -> tuple[str, ...]:
        """The components for one accelerator."""
        named = self.toolkit
        return named.get(accelerator, ("runtime",)) if isinstance(named, dict) else named

    def libraries_for(self, version: str, accelerator: Accelerator) -> tuple[LibraryUse, ...]:
        """The native libraries that a target needs."""
        return tuple(one for one in self.libraries if one.fits(version, accelerator))


class Audit(Value):
    """What the finished wheel must show."""

    host_libraries: tuple[Text, ...] = ()
    """Sonames (globs) that the host supplies; they are never copied into the wheel."""
    host_folders: tuple[Annotated[str, Field(pattern=r"^/[^:$]+[^:$/]$")], ...] = ()
    """Folders in which every host has those libraries, so that a RUNPATH may name them."""
    imports: tuple[Text, ...] = Field(default=(), alias="import")
    """Modules that must import in a clean environment."""
    run: tuple[Annotated[tuple[Text, ...], Field(min_length=1)], ...] = ()
    """Commands of the wheel that must start and exit with 0."""
