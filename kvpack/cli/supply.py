"""What a plan needs from the registries, as fetching sees it."""

from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.cli.remote import wanted_wheel
from kvpack.fetch.download import fetch
from kvpack.fetch.model import Wanted
from kvpack.tools.files import sha256_of

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan
    from kvpack.lock.model import Inputs


def source_of(inputs: "Inputs") -> list[Wanted]:
    source = inputs.source
    return [
        Wanted(
            registry="pypi",
            place=source.path,
            filename=source.file,
            sha256=source.sha256,
            size=source.size,
            project=source.project,
        )
    ]


def root_parts(inputs: "Inputs") -> list[Wanted]:
    """The packages and tools of a generated root; nothing for an image."""
    debs = [
        Wanted(
            registry="debian",
            place=deb.path,
            filename=deb.path.rpartition("/")[2],
            sha256=deb.sha256,
            size=deb.size,
        )
        for deb in inputs.root.packages
    ]
    return debs + [wanted_wheel(wheel) for wheel in inputs.root_tools]


def build_parts(inputs: "Inputs") -> list[Wanted]:
    """What a build takes beside its root."""
    return source_of(inputs) + [wanted_wheel(w) for w in (*inputs.build, *inputs.host)]


def import_parts(inputs: "Inputs") -> list[Wanted]:
    return [wanted_wheel(wheel) for wheel in inputs.imports]


def everything(plan: "BuildPlan") -> list[Wanted]:
    inputs = plan.inputs
    return build_parts(inputs) + root_parts(inputs) + import_parts(inputs)


def supply(context: Context, wanted: list[Wanted]) -> None:
    """Bring files into the store."""
    if all(context.store.has(entry.sha256) for entry in wanted):
        return
    # kvpack store gc keeps what the locks of known catalogues name.
    root = str(context.catalogue.root)
    context.store.write_record("catalogues", sha256_of(root.encode())[:16], {"root": root})
    fetch(
        wanted,
        store=context.store,
        registries=context.registries,
        reporter=context.console,
        offline=context.options.offline,
    )
