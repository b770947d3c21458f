"""The environment that a set is for: what fits it, and which markers hold in it. Pure."""

import functools
from dataclasses import dataclass

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag

from kvpack.resolve.wheels import tags_of


@dataclass(frozen=True)
class Environment:
    """What wheels are to be installed into: CPython on Linux."""

    python: str
    glibc: str
    arch: str

    def __str__(self) -> str:
        return f"Python {self.python}, glibc {self.glibc}, {self.arch}"

    @functools.cached_property
    def tags(self) -> list[Tag]:
        """The tags that it accepts, best first."""
        return tags_of(self.python, self.glibc, self.arch)

    @functools.cached_property
    def markers(self) -> dict[str, str]:
        """The environment's marker variables (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def wants(self, marker: Marker | None, **more: frozenset[str]) -> bool:
        """Whether a requirement with this marker belongs to the environment."""
        if marker is None:
            return True
        return marker.evaluate(
            {**self.markers, **more}, context="lock_file" if more else "metadata"
        )

    def asks_for(self, requirement: str) -> bool:
        """Whether a line of ``Requires-Dist`` counts here, extras left out."""
        try:
            return self.wants(Requirement(requirement).marker)
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            return False
