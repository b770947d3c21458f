"""The packaged table of builder roots is true to itself."""

import re

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


HEADERS = {
    "libatomic1": "libgcc-10-dev", "libc6": "libc6-dev", "libcrypt1": "libcrypt-dev",
    "libexpat1": "libexpat1-dev", "libgcc-s1": "libgcc-10-dev", "libglib2.0-0": "libglib2.0-dev",
    "libgomp1": "libgcc-10-dev", "libltdl7": "libltdl-dev", "libstdc++6": "libstdc++-10-dev",
    "libx11-6": "libx11-dev", "zlib1g": "zlib1g-dev",
}  # fmt: skip
"""Libraries of bullseye, each with the package that has the link that a linker follows."""


def test_a_library_is_the_images_own_only_with_its_headers() -> None:
    """Else that link, beside the image, would lead to what is left out there: -llzma found none."""
    provided = {*ROOTS.image.provided}
    assert {name for name in provided if re.fullmatch(r"(lib|zlib).*[0-9]g?", name)} == {*HEADERS}
    assert {*HEADERS.values()} <= provided
