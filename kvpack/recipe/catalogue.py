"""Where a catalogue lies. Apart from ``load``: what only looks for one reads no recipe."""

from dataclasses import dataclass
from pathlib import Path

from kvpack.errors import CatalogueError

CATALOGUE_HINT = (
    "run kvpack inside a catalogue (a folder with recipes/), or name one with --root DIR"
)


@dataclass(frozen=True)
class Catalogue:
    """A folder with ``recipes/``, ``patches/`` and ``lock/``."""

    root: Path

    def recipe_path(self, name: str) -> Path:
        return self.root / "recipes" / f"{name}.toml"

    def lock_path(self, name: str) -> Path:
        return self.root / "lock" / f"{name}.toml"

    def patch_path(self, recipe: str, file: str) -> Path:
        return self.root / "patches" / recipe / file

    @property
    def names(self) -> list[str]:
        return sorted(path.stem for path in (self.root / "recipes").glob("*.toml"))

    def shown(self, path: Path) -> str:
        """A path as messages name it: relative to the catalogue."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )


def find_catalogue(start: Path, *, explicit: bool = False) -> Catalogue:
    """The catalogue that holds ``start``, searched upwards unless it was named explicitly.

    :raises CatalogueError: if there is none.
    """
    folders = [start] if explicit else [start, *start.parents]
    for folder in folders:
        recipes = folder / "recipes"
        # Above the start, a folder of that name alone is too weak a sign: any tool may make one.
        if recipes.is_dir() and (folder == start or any(recipes.glob("*.toml"))):
            return Catalogue(folder)
    raise CatalogueError(
        f"no catalogue at {start}" + ("" if explicit else " or in a folder above it"),
        cause="a catalogue is a folder that holds recipes/",
        hint=CATALOGUE_HINT,
    )
