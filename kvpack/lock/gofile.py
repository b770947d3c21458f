"""Files of Go modules as a lock names them: known by digest, or not fetched yet. Pure values.

Source: golang.org/x/mod/module (paths, versions, escaping) and go.dev/ref/mod#goproxy-protocol.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from kvpack.base import Sha256, Value

_WORD = r"[A-Za-z0-9_~-](?:[A-Za-z0-9_.~-]*[A-Za-z0-9_~-])?"
"""A part of a module's path: it neither begins nor ends with a dot."""
ModulePath = Annotated[str, StringConstraints(pattern=rf"^{_WORD}(?:/{_WORD})*$")]
ModuleVersion = Annotated[
    str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\+[a-z]+)?$")
]
GoSum = Annotated[str, StringConstraints(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]


def escaped(text: str) -> str:
    """A path or version as the protocol writes it: ``!a`` for ``A``, as some disks fold case."""
    return re.sub(r"[A-Z]", lambda letter: f"!{letter[0].lower()}", text)


class _GoFile(Value):
    module: ModulePath
    version: ModuleVersion
    file: Literal["mod", "zip"]
    """Its go.mod, or all of it."""
    h1: GoSum
    """What go.sum names: a digest of the files within, whatever packed them."""

    @property
    def place(self) -> str:
        """Below a proxy: ``example.com/!some/module/@v/v1.2.3.zip``."""
        return f"{escaped(self.module)}/@v/{escaped(self.version)}.{self.file}"


class LockedGoFile(_GoFile):
    """A file of a Go module."""

    sha256: Sha256
    size: int = Field(gt=0)
    """Bytes."""


class PendingGoFile(_GoFile):
    """One that could not be fetched when it was locked: nothing is built from it."""


def _kind(value: Any) -> str:  # noqa: ANN401  # what TOML may hold, or a model
    if isinstance(value, dict):
        return "<fetched>" if {"sha256", "size"} & value.keys() else "<unfetched>"
    return "<fetched>" if isinstance(value, LockedGoFile) else "<unfetched>"


AnyGoFile = Annotated[
    Annotated[LockedGoFile, Tag("<fetched>")] | Annotated[PendingGoFile, Tag("<unfetched>")],
    Discriminator(_kind),
]
