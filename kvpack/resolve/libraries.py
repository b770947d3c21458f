"""Libraries as data: which toolkit, driver or package of the host a soname belongs to."""

import re
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Literal, TypeVar

from pydantic import Field

from kvpack.base import Name, Text, Value

_GRAFTED = re.compile(r"-[0-9a-f]{6,}(?=[.-])")
"""What auditwheel and delvewheel put into the name of a library that they copy into a wheel."""

Toolkit = Literal["cuda", "rocm"]


class Source(Value):
    """Libraries that come from one place."""

    sonames: tuple[Text, ...] = Field(min_length=1)
    """Globs over ``DT_NEEDED`` and ``DT_SONAME``."""

    def matches(self, soname: str) -> bool:
        return any(fnmatchcase(soname, glob) for glob in self.sonames)


_Source = TypeVar("_Source", bound=Source)


class ToolkitLibrary(Source):
    """Libraries of CUDA or ROCm."""

    toolkit: Toolkit
    majors: tuple[int, ...] = Field(min_length=1)
    """The toolkit's majors that have this soname; one: it tells the major."""
    wheel: dict[str, Name] = Field(default_factory=dict)
    """Major -> the distribution that carries it."""


class Driver(Source):
    """Libraries of a kernel driver's user space."""

    name: Text


class HostLibrary(Source):
    """Libraries that the host installs, which no wheel carries."""

    debian: str = ""
    """The Debian package, where Debian has it."""
    vendor: str = ""
    """Where it comes from otherwise."""
    only_for: str = ""
    """What loads it on demand: without it the rest of the wheel works."""


class BaseLibraries(Source):
    """Libraries of a distribution that an environment provides."""

    name: Name
    brings: tuple[Toolkit, ...] = ()
    """Toolkits whose libraries it requires for itself."""


class Optional(Value):
    """Files of wheels that are loaded on demand: the rest works where they cannot be."""

    files: tuple[Text, ...] = Field(min_length=1)
    """Globs over member paths."""
    what: Text

    def matches(self, path: str) -> bool:
        return any(fnmatchcase(path, glob) for glob in self.files)


class Named(Value):
    """Distributions that carry a toolkit's major in their name."""

    names: tuple[Text, ...] = Field(min_length=1)
    """Globs over normalized project names."""
    toolkit: Toolkit
    major: int


class Libraries(Value):
    """The content of ``libraries.toml``."""

    libraries_schema: Literal[1] = Field(alias="schema")
    by_name: tuple[Text, ...] = ()
    """Globs of distributions whose libraries are known by file name: never fetched whole."""
    named: tuple[Named, ...] = ()
    library: tuple[ToolkitLibrary, ...]
    driver: tuple[Driver, ...]
    host: tuple[HostLibrary, ...]
    base: tuple[BaseLibraries, ...] = ()
    optional: tuple[Optional, ...] = ()

    def known_by_name(self, distribution: str) -> bool:
        return any(fnmatchcase(distribution, glob) for glob in self.by_name)

    def toolkit_of(self, soname: str) -> ToolkitLibrary | None:
        return _first(self.library, soname)

    def driver_of(self, soname: str) -> Driver | None:
        return _first(self.driver, soname)

    def host_of(self, soname: str) -> HostLibrary | None:
        return _first(self.host, soname)

    def base_of(self, soname: str) -> BaseLibraries | None:
        return _first(self.base, soname)

    def optional_of(self, paths: Iterable[str]) -> Optional | None:
        """The entry that all these files belong to."""
        found = {next((one for one in self.optional if one.matches(path)), None) for path in paths}
        return found.pop() if len(found) == 1 else None

    def named_for(self, distribution: str) -> Named | None:
        for one in self.named:
            if any(fnmatchcase(distribution, glob) for glob in one.names):
                return one
        return None


def _first(sources: Iterable[_Source], soname: str) -> _Source | None:
    return next((source for source in sources if source.matches(soname)), None)


def plain(soname: str) -> str:
    """``libcudart-1b2c3d4e.so.12.8`` -> ``libcudart.so.12.8``."""
    return _GRAFTED.sub("", soname)


def load_libraries() -> Libraries:
    """Read the packaged ``libraries.toml``."""
    text = files("kvpack.resolve").joinpath("libraries.toml").read_text(encoding="utf-8")
    return Libraries.model_validate(tomllib.loads(text))
