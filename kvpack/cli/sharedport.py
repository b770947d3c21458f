"""What a build asks of results that machines share; ``kvpack/cli/shared.py`` answers."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan, BuiltLibrary, BuiltWheel


class Shared(Protocol):
    """Taken before a build, given after one; each says what ``SharedResults`` says of it."""

    def take(self, plan: "BuildPlan") -> "BuiltWheel | None": ...

    def give(self, plan: "BuildPlan", built: "BuiltWheel", verdict: dict[str, Any]) -> bool: ...

    def take_library(self, plan: "BuildPlan") -> "BuiltLibrary | None": ...

    def give_library(self, plan: "BuildPlan", built: "BuiltLibrary") -> bool: ...
