"""Tiny native libraries for tests: recipes, locked against a world in memory."""

from pathlib import Path

from kvpack.lock.file import write_lock
from tests.unit.catalogues import Tiny, lock_of, recipe_of
from tests.unit.lock.outside import Outside

LIBRARY = """\
schema = 1
name = "lib"
summary = "A native library"
license = "MIT"
default-version = "2.0"

[library]
prefix = "/opt/lib"

[versions."2.0"]
source = { archive = "https://files.example/lib-2.0.tar.gz", sha256 = "DIGEST" }

[targets]
glibc = ["2.36", "2.39", "2.41"]
accelerator = ["cpu", "cuda12"]
default = { glibc = ["2.36"] }

[options.fast]
default = true
configure = "enable-fast"

[build]
debian = ["flex"]
steps = ["./configure --prefix=$PREFIX $KVPACK_CONFIGURE_OPTIONS", "make install"]
""".replace("DIGEST", "2" * 64)
USE = 'libraries = [{ name = "lib", version = "2.0" }]\n'
"""What the ``[build]`` of a recipe says of it."""


def renamed(name: str, *, needs: str = "") -> str:
    """The library under another name, at a prefix of its own.

    :param needs: a library that it is built with.
    """
    text = LIBRARY.replace('"lib"', f'"{name}"').replace("/opt/lib", f"/opt/{name}")
    return text + (USE.replace('"lib"', f'"{needs}"') if needs else "")


def add(root: Path, name: str = "lib", text: str = LIBRARY, *, pinned: bool = True) -> Path:
    """Write the recipe of a library into a catalogue, and its lock.

    :param pinned: whether upstream is reached when it is locked.
    """
    path = root / "recipes" / f"{name}.toml"
    path.write_text(text)
    outside = Outside(archives=pinned)
    write_lock(root / "lock" / f"{name}.toml", lock_of(recipe_of(text), outside))
    return path


def use(tiny: Tiny, *names: str) -> None:
    """Let the tiny recipe build with libraries; its lock is not concerned."""
    uses = ", ".join(f'{{ name = "{name}", version = "2.0" }}' for name in names)
    tiny.edit("[audit]", f"libraries = [{uses}]\n[audit]")
