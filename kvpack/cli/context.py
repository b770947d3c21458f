"""What every command gets: the global options, and the few objects that outlive one call."""

import argparse
import functools
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.console import Console
from kvpack.errors import TargetUnavailable, UsageError
from kvpack.names import Arch
from kvpack.tools.store import Store, default_store

if TYPE_CHECKING:
    from kvpack.cli.sharedport import Shared
    from kvpack.errors import KvpackError
    from kvpack.fetch.config import Config
    from kvpack.fetch.registries import Registries
    from kvpack.lock.check import Slicer
    from kvpack.lock.toolkit import FoundImage
    from kvpack.recipe.catalogue import Catalogue
    from kvpack.recipe.roots import Roots
    from kvpack.tools.claims import Claim
    from kvpack.tools.engine import Engine


class Options(argparse.Namespace):
    """The global options, as the parser leaves them."""

    root: Path | None = None
    store: Path | None = None
    offline: bool = False
    json: bool = False
    verbosity: int = 0
    color: str = "auto"


@dataclass
class Context:
    """Made once per run in ``cli.main``."""

    options: Options
    console: Console
    ready_roots: "dict[str, tuple[Engine, str, str]]" = field(default_factory=dict)
    """Builder roots that were found to run in this process, by lock slice: probed once."""
    claims: "dict[str, Claim]" = field(default_factory=dict)
    """Images that this process uses: ``kvpack store gc`` leaves them."""
    looked: set[str] | None = None
    """Names of records of images that were asked for, where none is to be made."""
    library_locks: "dict[str, Slicer]" = field(default_factory=dict)
    """Locks of native libraries that were read in this process, by recipe."""
    images: "dict[tuple[str, Arch], FoundImage | KvpackError]" = field(default_factory=dict)
    """What registries said of tags in this process: each is asked once."""
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    """Recipes, versions and accelerators whose unpinned sources were asked for."""
    supplied: dict[str, str] = field(default_factory=dict)
    """From ``--source``: a recipe's name, or ``recipe/submodule-path``, to the URL that counts."""
    shared: "Shared | None" = None
    """What machines share, of wheels and of the native libraries below them."""
    builder_id: str | None = None
    """From ``--builder-id``: whom provenance names as the builder of what is built now."""

    @functools.cached_property
    def store(self) -> Store:
        root = self.options.store or default_store()
        if root.exists() and not root.is_dir():
            raise UsageError(
                f"the store {root} is a file",
                cause="a store is a folder; kvpack makes it where there is none",
                hint="name a folder with --store DIR or KVPACK_STORE",
            )
        return Store(root)

    @functools.cached_property
    def catalogue(self) -> "Catalogue":
        from kvpack.recipe.catalogue import find_catalogue

        named = self.options.root
        return find_catalogue((named or Path.cwd()).absolute(), explicit=named is not None)

    @functools.cached_property
    def roots(self) -> "Roots":
        from kvpack.recipe.roots import load_roots

        return load_roots()

    @functools.cached_property
    def config(self) -> "Config":
        """``kvpack.toml``, for commands that ask no registry: those take 25 ms to import.

        :raises ConfigInvalid: with every fault of it.
        """
        from kvpack.fetch.config import load

        return load(self.catalogue.root)

    @functools.cached_property
    def registries(self) -> "Registries":
        from kvpack.fetch.registries import Registries

        return Registries(self.catalogue.root, reporter=self.console, memory=self.store)

    @functools.cached_property
    def machine(self) -> Arch:
        """This machine's architecture.

        :raises TargetUnavailable: if kvpack does not know it.
        """
        name = platform.machine()
        try:
            return Arch({"amd64": "x86_64", "arm64": "aarch64"}.get(name.lower(), name))
        except ValueError:
            raise TargetUnavailable(
                f"this machine is {name!r}, which kvpack has no roots for",
                hint=f"kvpack builds for {', '.join(Arch)}",
            ) from None

    def recipe_names(self, named: list[str]) -> list[str]:
        """The recipes that were named, or all of the catalogue."""
        return named or self.catalogue.names
