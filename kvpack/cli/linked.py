"""Whether a wheel has anything of the native libraries that it was built with."""

from typing import TYPE_CHECKING

from kvpack.cli.context import Context

if TYPE_CHECKING:
    from kvpack.audit.model import Finding, WheelFacts
    from kvpack.build.model import BuildPlan


def library_findings(
    context: Context, plan: "BuildPlan", facts: "WheelFacts"
) -> "tuple[Finding, ...]":
    """A finding for each library that the recipe names and the wheel shows nothing of.

    Nothing is said where it cannot be told: of headers and programs alone, of what may have been
    linked from a static archive, and of a library that is not in the store, as below a wheel that
    another machine built.
    """
    from kvpack.audit.library import unused

    found: list[Finding] = []
    for library in plan.libraries:
        title = f"{library.recipe.name} {library.inputs.target.version}"
        shared = _shared(context, library)
        found += unused(facts, title, shared, recipe=plan.recipe.name)
    return tuple(found)


def _shared(context: Context, library: "BuildPlan") -> list[str]:
    """Names of its shared objects, remembered; none if linking leaves no name or it is not here."""
    from kvpack.audit.library import inspect_library
    from kvpack.cli.libraries import stored_library

    built = stored_library(context, library)
    if built is None:
        return []
    name = f"{built.sha256}-shared"
    known = context.store.read_record("facts", name)
    if known is None:
        told = inspect_library(context.store.check(built.sha256))
        shared = list(told.shared) if told and not told.archives else []
        known = {"shared": shared}
        context.store.write_record("facts", name, known)
    return [str(one) for one in known["shared"]]
