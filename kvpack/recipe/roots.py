"""Which builder roots exist and which one a target gets: data in ``roots.toml``."""

import tomllib
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field

from kvpack.base import DebianPackage, Glibc, Name, PythonVersion, Text, Value
from kvpack.names import version_key
from kvpack.recipe.toolkits import Toolkits


class RootKind(Value):
    """One builder root that kvpack can make or obtain."""

    id: Text
    family: Literal["debian", "pypa"]
    glibc: Glibc
    """The glibc of its userland: what is built in it needs no newer one."""
    python: tuple[PythonVersion, ...]
    packages: tuple[Text, ...] = ()
    """Packages that this suite needs beside those of every Debian root."""
    suite: Name | None = None
    """Debian's suite that its packages are of: those it is made of, or that lie beside an image."""
    image: Text | None = None

    @property
    def takes_packages(self) -> bool:
        """Whether a lock can name system packages for it."""
        return self.suite is not None


class DebianBase(Value):
    packages: tuple[Text, ...]
    python_packages: tuple[Text, ...]
    exclude: tuple[Text, ...]
    links: dict[str, str]


class ImageBase(Value):
    """How Debian packages lie beside an image."""

    prefix: Annotated[str, Field(pattern=r"^/opt/[a-z0-9-]+$")]
    relocated: tuple[Text, ...]
    """Files whose paths are those of the packages' own root; globs over names."""
    provided: tuple[DebianPackage, ...]
    """Packages that the image has in its own form: neither they nor what they need is laid."""


class Tools(Value):
    """Requirements of kvpack's own, locked for every recipe."""

    host_python: PythonVersion
    host: tuple[Text, ...]
    root: tuple[Text, ...]
    build: tuple[Text, ...]


class Roots(Value):
    """The content of ``roots.toml``, and what is laid over a root for an accelerator."""

    roots_schema: Literal[1] = Field(alias="schema")
    root: tuple[RootKind, ...]
    debian: DebianBase
    image: ImageBase
    tools: Tools
    toolkits: Toolkits = Toolkits()

    def get(self, root_id: str) -> RootKind:
        """The root with this id.

        :raises KeyError: if there is none.
        """
        for kind in self.root:
            if kind.id == root_id:
                return kind
        raise KeyError(root_id)

    def matching(self, *wanted: str) -> tuple[RootKind, ...]:
        """Roots of these families, or with these ids, oldest glibc first."""
        found = [kind for kind in self.root if kind.family in wanted or kind.id in wanted]
        return tuple(sorted(found, key=lambda kind: version_key(kind.glibc)))

    def pick(self, wanted: str | tuple[str, ...], python: str, glibc: str) -> RootKind | None:
        """The newest matching root that is not above the floor and has the Python.

        :param python: empty if any will do: of a native library.
        """
        floor = version_key(glibc)
        names = (wanted,) if isinstance(wanted, str) else wanted
        fitting = [
            kind
            for kind in self.matching(*names)
            if version_key(kind.glibc) <= floor and (python in kind.python or not python)
        ]
        return fitting[-1] if fitting else None

    def names(self) -> list[str]:
        """What a recipe may write as ``build.root``."""
        return sorted({kind.family for kind in self.root} | {kind.id for kind in self.root})


def load_roots() -> Roots:
    """Read the packaged ``roots.toml`` and ``toolkits.toml``."""
    raw, toolkits = (
        tomllib.loads(files("kvpack.recipe").joinpath(name).read_text(encoding="utf-8"))
        for name in ("roots.toml", "toolkits.toml")
    )
    return Roots.model_validate({**raw, "toolkits": toolkits})
