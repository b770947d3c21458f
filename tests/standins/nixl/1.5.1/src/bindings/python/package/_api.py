"""Stand-in for NIXL's Python interface."""

from ._bindings import version

__all__ = ["version"]
