"""What fetch is asked for and what it hands on. Digests name bytes; hosts are not part of it."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import model_validator

from kvpack.base import Sha256, Text, Value

Registry = Literal["pypi", "debian", "go", "url", "storage"]
"""``storage``: a place below any of the storages that hold the same objects."""
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class Wanted(Value):
    """One file that is wanted by its digest, and where a registry keeps it."""

    registry: Registry
    place: Text
    """Below the registry's root: ``packages/ab/cd/rest/x.whl``, ``pool/main/g/gcc-12/x.deb``,
    ``example.com/some/module/@v/v1.2.3.zip``.
    For ``url``: the whole URL."""
    filename: Text
    sha256: Sha256
    size: int | None = None
    """Bytes, where the lock knows."""
    mirrors: tuple[Text, ...] = ()
    """For ``url``: other whole URLs of the same bytes, in the order to try."""
    project: Text | None = None
    """The normalized project name (PEP 503) of a file of ``pypi``."""

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if _UNSAFE.search(self.place) or "/" in self.filename or _UNSAFE.search(self.filename):
            raise ValueError(f"{self.place!r}: a space, backslash or control character in a place")
        if self.registry == "url":
            for url in (self.place, *self.mirrors):
                if not re.match(r"(https?|file)://", url):
                    raise ValueError(f"{url!r} is no http, https or file URL")
        elif self.place.startswith("/") or ".." in self.place.split("/") or ":" in self.place:
            raise ValueError(f"{self.place!r} is no place below a registry's root")
        if self.registry == "pypi" and self.project is None:
            raise ValueError(f"{self.filename!r} of pypi names no project")
        if self.size is not None and self.size < 0:
            raise ValueError(f"{self.filename!r} has the size {self.size}")
        return self


class GitRepository(Value):
    """A repository that a recipe names, and what ``--source`` may replace it by."""

    name: Text
    """The recipe's name; a submodule's is ``recipe/path``."""
    label: Text
    """How messages name what is wanted: ``mooncake 0.3.14``."""
    git: Text
    mirrors: tuple[Text, ...] = ()


class GitWanted(Value):
    """The tree of a commit as one canonical tar, with or without its submodules."""

    repository: GitRepository
    commit: Text
    submodules: bool = False
    sha256: Sha256
    """Of the tar."""


class ChangeWanted(Value):
    """What a commit changed, as one canonical text."""

    repository: GitRepository
    commit: Text
    sha256: Sha256
    """Of the text."""


class PartWanted(Value):
    """A part of an image: its manifest, or a layer."""

    image: Text
    """``registry/name@sha256:digest``: one copy of it has all its parts."""
    sha256: Sha256
    size: int | None = None
    """Bytes, where the lock knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Submodule:
    path: str
    url: str
    commit: str
    tree: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedTree:
    """The canonical tar of a commit's tree, in the store."""

    commit: str
    tree: str
    sha256: str
    size: int
    """Bytes."""
    epoch: int
    """Seconds: when the commit was made."""
    submodules: tuple[Submodule, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """Bytes in the store that no lock names yet."""

    sha256: str
    size: int
    place: str
    """Where PyPI keeps them, which follows from the bytes (BLAKE2b-256), whatever mirror
    they came from."""
