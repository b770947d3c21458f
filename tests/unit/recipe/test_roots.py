"""The packaged table of builder roots is true to itself."""

import pytest

from kvpack.names import version_key
from kvpack.recipe.library import TAKEN
from kvpack.recipe.roots import RootKind, load_roots

ROOTS = load_roots()
SUITES = {kind.suite: kind.glibc for kind in ROOTS.root if kind.family == "debian"}
IMAGES = [kind for kind in ROOTS.root if kind.family == "pypa"]


@pytest.mark.parametrize("kind", IMAGES, ids=lambda kind: kind.id)
def test_packages_beside_an_image_are_of_the_newest_suite_that_its_glibc_can_run(
    kind: RootKind,
) -> None:
    fitting = [s for s, glibc in SUITES.items() if version_key(glibc) <= version_key(kind.glibc)]
    newest = max(fitting, key=lambda suite: version_key(SUITES[suite]), default=None)
    assert kind.suite == newest
    assert kind.takes_packages == bool(fitting)


def test_no_library_takes_the_folder_of_the_packages() -> None:
    assert ROOTS.image.prefix.removeprefix("/opt/") in TAKEN


def test_what_decides_a_loader_is_the_images_own() -> None:
    """A second C library on LD_LIBRARY_PATH would stop every program."""
    assert {"libc6", "libgcc-s1", "libstdc++6", "zlib1g"} <= {*ROOTS.image.provided}
