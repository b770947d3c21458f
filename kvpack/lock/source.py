"""What a lock says about sources and patches: known by digest, or not reached yet. Pure values."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from kvpack.base import Name, Sha256, Text, Value
from kvpack.lock.gofile import AnyGoFile
from kvpack.recipe.model import EPOCH_MAX, EPOCH_MIN
from kvpack.recipe.source import Commit, GitUrl, Ref, WebUrl
from kvpack.recipe.versions import WheelVersion


def _place(text: str) -> str:
    """A place below a registry's root: no way up, no other host."""
    if not re.fullmatch(r"[A-Za-z0-9][^\\\s:]*", text) or ".." in text.split("/"):
        raise ValueError(f"{text!r} is no place below a registry's root")
    return text


Place = Annotated[str, AfterValidator(_place)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~!%-]*$")]
Size = Annotated[int, Field(gt=0)]
Epoch = Annotated[int, Field(ge=EPOCH_MIN, le=EPOCH_MAX)]


class LockedWrap(Value):
    """One archive that a subproject of meson downloads, as the source's ``.wrap`` file names it."""

    name: Text
    """Of the subproject."""
    file: FileName
    """What it is called in meson's cache of packages."""
    url: WebUrl
    mirrors: tuple[WebUrl, ...] = ()
    sha256: Sha256


class LockedSource(Value):
    """The sdist of one version."""

    version: WheelVersion
    project: Name
    file: FileName
    registry: Literal["pypi"] = "pypi"
    path: Place
    """The place in the registry."""
    sha256: Sha256
    size: Size
    """Bytes."""
    epoch: Epoch
    """SOURCE_DATE_EPOCH, seconds: the newest file of the source, not before 1980 (zip)."""
    epoch_from_recipe: bool = False
    """Whether the recipe sets the epoch, so that a recipe that no longer does is drift."""
    package: Text | None = None
    """The folder whose pyproject.toml was read, where it is not the source's root."""
    backend: Text
    """The PEP 517 build back end that its pyproject.toml names."""
    build_requires: tuple[Text, ...] = ()
    """``build-system.requires`` of its pyproject.toml."""
    run_requires: tuple[Text, ...] = ()
    """Its run-time requirements."""
    wraps: tuple[Text, ...] = ()
    """The subprojects that were asked for: ``build.wraps``."""
    wrap: tuple[LockedWrap, ...] = ()
    go: tuple[Text, ...] = ()
    """The folders whose go.sum was read: ``build.go.modules``, where a build takes them."""
    module: tuple[AnyGoFile, ...] = ()
    """What those go.sum files name."""


class LockedSubmodule(Value):
    """One submodule of a git source."""

    path: Text
    url: Text
    """As its parent records it, made absolute with the URL of the recipe."""
    commit: Commit
    tree: Commit


class LockedGit(Value):
    """The tree of a git commit, exported to one canonical tar (``kvpack/tools/tree.py``)."""

    version: WheelVersion
    git: GitUrl
    tag: Ref | None = None
    """What the commit was found under."""
    commit: Commit
    submodules: bool = False
    tree: Commit
    """The hash of the commit's tree; submodules are in it by their commits."""
    sha256: Sha256
    """Of the canonical tar, submodules included."""
    size: Size
    """Bytes of the canonical tar."""
    epoch: Epoch
    """SOURCE_DATE_EPOCH, seconds: when the commit was made, not before 1980 (zip)."""
    epoch_from_recipe: bool = False
    package: Text | None = None
    backend: Text
    build_requires: tuple[Text, ...] = ()
    run_requires: tuple[Text, ...] = ()
    wraps: tuple[Text, ...] = ()
    wrap: tuple[LockedWrap, ...] = ()
    go: tuple[Text, ...] = ()
    module: tuple[AnyGoFile, ...] = ()
    submodule: tuple[LockedSubmodule, ...] = ()

    @property
    def file(self) -> str:
        """How messages name it."""
        return f"git-{self.commit[:12]}.tar"


class DirtyTree(LockedGit):
    """A working tree in place of the locked commit (``--dirty``). No lock file holds one."""

    dirty: Literal[True] = True

    @property
    def file(self) -> str:
        return f"dirty-{self.sha256[:12]}.tar"


class PendingGit(Value):
    """A git source that could not be reached when it was locked: nothing is built from it."""

    version: WheelVersion
    git: GitUrl
    tag: Ref | None = None
    commit: Commit | None = None
    """Known from the recipe, or from an earlier answer of upstream."""
    submodules: bool = False


class LockedArchive(Value):
    """An archive at a URL, by its sha256."""

    version: WheelVersion
    archive: WebUrl
    file: FileName
    sha256: Sha256
    size: Size
    """Bytes."""
    epoch: Epoch
    """SOURCE_DATE_EPOCH, seconds: the newest file of the archive."""
    epoch_from_recipe: bool = False
    package: Text | None = None
    backend: Text
    build_requires: tuple[Text, ...] = ()
    run_requires: tuple[Text, ...] = ()
    wraps: tuple[Text, ...] = ()
    wrap: tuple[LockedWrap, ...] = ()
    go: tuple[Text, ...] = ()
    module: tuple[AnyGoFile, ...] = ()


class PendingArchive(Value):
    """An archive that could not be fetched when it was locked."""

    version: WheelVersion
    archive: WebUrl
    sha256: Sha256


_OF: dict[object, str] = {
    LockedSource: "<sdist>",
    LockedGit: "<git>",
    DirtyTree: "<dirty>",
    PendingGit: "<unread-git>",
    LockedArchive: "<archive>",
    PendingArchive: "<unread-archive>",
}


def _source_kind(value: Any) -> str:  # noqa: ANN401  # what TOML may hold, or a model
    if not isinstance(value, dict):
        return _OF.get(type(value), "<sdist>")
    if "dirty" in value:
        return "<dirty>"
    if "git" in value:
        return "<git>" if {"sha256", "tree"} & value.keys() else "<unread-git>"
    if "archive" in value:
        return "<archive>" if {"size", "epoch"} & value.keys() else "<unread-archive>"
    return "<sdist>"


_Read = (
    Annotated[LockedSource, Tag("<sdist>")]
    | Annotated[LockedGit, Tag("<git>")]
    | Annotated[LockedArchive, Tag("<archive>")]
)
CompleteSource = LockedSource | LockedGit | LockedArchive
"""A source whose bytes are known."""
AnySource = Annotated[
    _Read
    | Annotated[PendingGit, Tag("<unread-git>")]
    | Annotated[PendingArchive, Tag("<unread-archive>")],
    Discriminator(_source_kind),
]
BuildSource = Annotated[_Read | Annotated[DirtyTree, Tag("<dirty>")], Discriminator(_source_kind)]


class LockedPatch(Value):
    id: Name
    file: FileName | None = None
    """A file in ``patches/<recipe>/``."""
    commit: Commit | None = None
    """Or the commit whose change it is, as one canonical text (``kvpack/fetch/gitpatch.py``)."""
    sha256: Sha256

    @property
    def name(self) -> str:
        """What the patch is called where it is applied."""
        return self.file or f"{self.commit}.patch"


class PendingPatch(Value):
    """The change of a commit that could not be reached when it was locked."""

    id: Name
    commit: Commit


def _patch_kind(value: Any) -> str:  # noqa: ANN401  # what TOML may hold, or a model
    if isinstance(value, dict):
        return "<read>" if "sha256" in value or "file" in value else "<unread>"
    return "<unread>" if isinstance(value, PendingPatch) else "<read>"


AnyPatch = Annotated[
    Annotated[LockedPatch, Tag("<read>")] | Annotated[PendingPatch, Tag("<unread>")],
    Discriminator(_patch_kind),
]
