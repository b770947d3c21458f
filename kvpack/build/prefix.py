"""How a native library lies in the roots of what is built with it. Pure."""

LAYER = 1
"""Part of the key of every library, and of what is built with one. Raise it when a change here or
in ``build/library.py`` changes bytes."""


def library_environment(prefix: str, variables: dict[str, str]) -> dict[str, str]:
    """What a root's environment gains with a library: programs, pkg-config, CMake, the loader.

    :param variables: the environment of the root below.
    """
    libraries = [f"{prefix}/lib", f"{prefix}/lib64"]
    gained = {
        "PATH": [f"{prefix}/bin"],
        # share: of headers alone.
        "PKG_CONFIG_PATH": [f"{place}/pkgconfig" for place in (*libraries, f"{prefix}/share")],
        "CMAKE_PREFIX_PATH": [prefix],
        # For what is run while building; and auditwheel looks there for what a wheel needs.
        "LD_LIBRARY_PATH": libraries,
    }
    return {
        name: ":".join([*folders, *filter(None, [variables.get(name, "")])])
        for name, folders in gained.items()
    }
