"""Tiny catalogues for tests: a recipe with every feature, locked against a world in memory."""

from dataclasses import dataclass, field
from pathlib import Path

from kvpack.lock.file import dump, write_lock
from kvpack.lock.model import Lock
from kvpack.lock.pin import pin
from kvpack.recipe.catalogue import Catalogue
from kvpack.recipe.load import load_recipe, parse_recipe
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import Roots, load_roots
from kvpack.report import Silent
from kvpack.tools.files import sha256_file, sha256_of
from tests.unit.lock.outside import Outside

REPOSITORY = Path(__file__).parents[2]
ROOTS: Roots = load_roots()
PATCH = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"

TINY = """\
schema = 1
name = "tiny"
summary = "A package with one of everything"
license = "MIT"
default-version = "1.0"

[distribution]
cpu = "tiny"
cuda12 = "tiny-cu12"
owns = ["tiny"]

[versions."1.0"]
source = { sdist = "tiny" }

[versions."2.0rc1"]
source = { sdist = "tiny" }
epoch = 1700000500

[targets]
python = ["3.11", "3.13"]
glibc = ["2.36", "2.39", "2.41"]
accelerator = ["cpu", "cuda12"]
default = { glibc = ["2.36", "2.41"] }

[options.fast]
default = true
per-accelerator = { cuda12 = false }
cmake = "TINY_FAST"
when = ">=2.0rc1"

[options.mode]
type = "string"
default = "plain"
env = "TINY_MODE"

[[patches]]
id = "first"
file = "first.patch"
why = "it is needed"

[[patches]]
id = "second"
file = "second.patch"
when = "<2"
why = "it was mended upstream"

[build]
debian = ["cmake"]

[audit]
import = ["tiny"]
"""


def recipe_of(text: str = TINY) -> Recipe:
    """A recipe that has no faults of its own."""
    recipe, faults = parse_recipe(text.encode(), "recipes/tiny.toml")
    assert recipe is not None, faults
    return recipe


def lock_of(
    recipe: Recipe,
    outside: Outside | None = None,
    *,
    old: Lock | None = None,
    upgrade: str | None = None,
) -> Lock:
    """The recipe's lock; its patches all hold ``PATCH``."""
    return pin(
        recipe,
        ROOTS,
        outside or Outside(),
        old=old,
        upgrade=upgrade,
        reporter=Silent(),
        patches=lambda _file: sha256_of(PATCH),
    )


@dataclass
class Tiny:
    """A catalogue in a folder. Files are changed one by one; nothing is locked unless asked."""

    root: Path
    outside: Outside = field(default_factory=Outside)

    def __post_init__(self) -> None:
        for name in ("recipes", "lock", "patches/tiny"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("first.patch", "second.patch"):
            (self.root / "patches" / "tiny" / name).write_bytes(PATCH)
        self.recipe_file.write_text(TINY)

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.root)

    @property
    def recipe_file(self) -> Path:
        return self.root / "recipes" / "tiny.toml"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock" / "tiny.toml"

    def edit(self, old: str, new: str) -> None:
        """Replace a text of the recipe that is there."""
        text = self.recipe_file.read_text()
        assert old in text
        self.recipe_file.write_text(text.replace(old, new))

    def edit_lock(self, old: str, new: str) -> None:
        text = self.lock_file.read_text()
        assert old in text
        self.lock_file.write_text(text.replace(old, new))

    def lock(self) -> Lock:
        """Lock the recipe as it is now."""
        catalogue = self.catalogue
        made = pin(
            load_recipe(catalogue, "tiny"),
            ROOTS,
            self.outside,
            old=None,
            upgrade=None,
            reporter=Silent(),
            patches=lambda file: sha256_file(catalogue.patch_path("tiny", file)),
        )
        write_lock(self.lock_file, made)
        return made


def text_of(lock: Lock) -> bytes:
    return dump(lock).encode()
