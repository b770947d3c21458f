"""Debian packages beside an image: a layer of their own, and how builds are led there.

PyPA's images have every Python and a new compiler on an old glibc, but few libraries. Debian's
packages of a suite that is no newer fill the gap, and no package manager is run: they lie below a
folder of their own, and nothing of the image is written over.
"""

from kvpack.lock.model import LockedRoot
from kvpack.names import Arch, Sha256
from kvpack.recipe.roots import Roots
from kvpack.tools.files import canonical_json, sha256_of

BESIDE = 1
"""Part of the key of what is built with such a layer. Raise it when a change here or of
``root.py: write_beside`` changes its bytes or the environment."""


def beside_data(roots: Roots) -> dict[str, object]:
    """What decides the bytes of the layer beside its packages."""
    return {
        "generator": BESIDE,
        "prefix": roots.image.prefix,
        "relocated": list(roots.image.relocated),
        "exclude": list(roots.debian.exclude),
    }


def beside_key(root: LockedRoot, roots: Roots) -> Sha256:
    """What decides the bytes of an image with its packages."""
    packages = [deb.sha256 for deb in root.packages]
    document = {"root": root.image, "data": beside_data(roots), "packages": packages}
    return sha256_of(canonical_json(document))


def libraries_beside(root: LockedRoot, prefix: str) -> tuple[str, ...]:
    """Where the libraries of the packages beside an image lie; none: where there are none."""
    return tuple(_libraries(prefix, root.arch)) if root.suite else ()


def _libraries(prefix: str, arch: Arch) -> list[str]:
    return [f"{prefix}/usr/lib/{arch.triplet}", f"{prefix}/usr/lib"]


def beside_environment(prefix: str, arch: Arch, variables: dict[str, str]) -> dict[str, str]:
    """What a root's environment gains, each place after those that the image's variables name.

    Compilers, linker and loader search these before the folders that are built into them.

    :param variables: the environment of the image below. An empty part of a list of folders, which
        would be the current one, is left out.
    """
    user = f"{prefix}/usr"
    libraries = _libraries(prefix, arch)
    headers = [f"{user}/include", f"{user}/include/{arch.triplet}"]
    gained = {
        "PATH": [f"{user}/bin"],
        # gcc(1) and clang read them as system headers, so that -Werror does not stop at them.
        "C_INCLUDE_PATH": headers,
        "CPLUS_INCLUDE_PATH": headers,
        "LIBRARY_PATH": libraries,
        # For what is run while building, for ld, which follows DT_NEEDED there, and for auditwheel.
        "LD_LIBRARY_PATH": libraries,
        "PKG_CONFIG_PATH": [f"{libraries[0]}/pkgconfig", f"{user}/share/pkgconfig"],
        # CMake looks into an architecture's folder only where the compiler names one; so those of
        # libraries and of package files (find_package: <prefix>/<name>*/) are named.
        "CMAKE_PREFIX_PATH": [user, f"{libraries[0]}/cmake"],
        "CMAKE_LIBRARY_PATH": libraries,
        "CMAKE_INCLUDE_PATH": headers,
        "ACLOCAL_PATH": [f"{user}/share/aclocal"],
    }
    return {
        name: ":".join([*filter(None, variables.get(name, "").split(":")), *folders])
        for name, folders in gained.items()
    }
