"""What a plan needs from the registries, as fetching sees it."""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.cli.remote import wanted_wheel
from kvpack.cli.sources import git_sources, repository_for
from kvpack.errors import DigestMismatch, FetchFailed
from kvpack.fetch.download import fetch
from kvpack.fetch.mirrors import input_place
from kvpack.fetch.model import ChangeWanted, GitRepository, GitWanted, PartWanted, Wanted
from kvpack.fetch.transfer import Effort
from kvpack.lock.source import DirtyTree, LockedArchive, LockedSource
from kvpack.recipe.source import SdistSource
from kvpack.tools.files import sha256_of

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan
    from kvpack.lock.gofile import AnyGoFile
    from kvpack.lock.model import Inputs
    from kvpack.lock.source import BuildSource, LockedPatch
    from kvpack.recipe.model import Recipe


AnyWanted = Wanted | GitWanted | ChangeWanted | PartWanted


def source_of(plan: "BuildPlan") -> list[AnyWanted]:
    """The source, the patches that are commits, and Go modules."""
    patches = [patch for patch in plan.inputs.patches if patch.commit]
    return [
        *wanted_source(plan.recipe, plan.inputs.source),
        *(wanted_change(plan.recipe, patch) for patch in patches),
        *wanted_modules(plan.inputs.modules),
    ]


def wanted_source(recipe: "Recipe", source: "BuildSource") -> list[AnyWanted]:
    """A locked source, and what meson's subprojects download."""
    wraps = (
        Wanted(registry="url", place=w.url, mirrors=w.mirrors, filename=w.file, sha256=w.sha256)
        for w in source.wrap
    )
    return [*_wanted_tree(recipe, source), *wraps]


def wanted_modules(files: "Iterable[AnyGoFile]") -> list[AnyWanted]:
    """Files of Go modules whose bytes are known."""
    from kvpack.lock.gofile import LockedGoFile

    return [
        Wanted(
            registry="go",
            place=one.place,
            filename=one.place.rpartition("/")[2],
            sha256=one.sha256,
            size=one.size,
        )
        for one in files
        if isinstance(one, LockedGoFile)
    ]


def _wanted_tree(recipe: "Recipe", source: "BuildSource") -> list[AnyWanted]:
    """A locked source; a working tree is in the store already."""
    named = recipe.versions[source.version].source
    mirrors = () if isinstance(named, SdistSource) else named.mirrors
    match source:
        case LockedSource():
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
        case LockedArchive():
            return [
                Wanted(
                    registry="url",
                    place=source.archive,
                    mirrors=mirrors,
                    filename=source.file,
                    sha256=source.sha256,
                    size=source.size,
                )
            ]
        case DirtyTree():
            return []
        case _:
            label = f"{recipe.name} {source.version}"
            return [
                GitWanted(
                    repository=GitRepository(
                        name=recipe.name, label=label, git=source.git, mirrors=mirrors
                    ),
                    commit=source.commit,
                    submodules=source.submodules,
                    sha256=source.sha256,
                )
            ]


def wanted_change(recipe: "Recipe", patch: "LockedPatch") -> ChangeWanted:
    """A locked patch that is a commit."""
    source = next(
        found
        for one in recipe.patches
        if one.id == patch.id and (found := recipe.git_for(one)) is not None
    )
    repository = repository_for(recipe.name, f"patch {patch.id}", source)
    return ChangeWanted(repository=repository, commit=str(patch.commit), sha256=patch.sha256)


def root_parts(inputs: "Inputs") -> list[AnyWanted]:
    """The packages of a root, generated or beside an image, and the tools of a generated one."""
    debs: list[AnyWanted] = [
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


def toolkit_parts(inputs: "Inputs") -> list[AnyWanted]:
    """The wheels of the accelerator's toolkit, or the parts of its image."""
    from kvpack.cli.toolkitimages import image_parts

    image = image_parts(inputs.toolkit_image) if inputs.toolkit_image else []
    return [*(wanted_wheel(wheel) for wheel in inputs.toolkit), *image]


def build_parts(plan: "BuildPlan") -> list[AnyWanted]:
    """What a build takes beside its root."""
    inputs = plan.inputs
    torch = (wheel for one in inputs.torch for wheel in one.wheels)
    wheels = {wheel.file: wheel for wheel in (*inputs.build, *torch, *inputs.host)}
    return source_of(plan) + [wanted_wheel(wheel) for wheel in wheels.values()]


def import_parts(inputs: "Inputs") -> list[AnyWanted]:
    return [wanted_wheel(wheel) for wheel in inputs.imports]


def everything(plan: "BuildPlan") -> list[AnyWanted]:
    """What a target and the native libraries below it take."""
    inputs = plan.inputs
    root = root_parts(inputs) + toolkit_parts(inputs)
    below = [entry for library in plan.libraries for entry in everything(library)]
    return build_parts(plan) + root + import_parts(inputs) + below


def supply(context: Context, wanted: list[AnyWanted]) -> None:
    """Bring inputs into the store.

    :raises SourceUnreachable: if no place of a git source has its commit.
    """
    if all(context.store.has(entry.sha256) for entry in wanted):
        return
    # kvpack store gc keeps what the locks of known catalogues name.
    root = str(context.catalogue.root)
    context.store.write_record("catalogues", sha256_of(root.encode())[:16], {"root": root})
    for entry in wanted:
        if isinstance(entry, GitWanted | ChangeWanted) and not _mirrored(context, entry):
            git_sources(context).supply(entry)
    if parts := [entry for entry in wanted if isinstance(entry, PartWanted)]:
        from kvpack.cli.toolkitimages import supply_parts

        supply_parts(context, parts)
    fetch(
        [entry for entry in wanted if isinstance(entry, Wanted)],
        store=context.store,
        registries=context.registries,
        reporter=context.console,
        offline=context.options.offline,
    )


def _mirrored(context: Context, entry: GitWanted | ChangeWanted) -> bool:
    """Take what a commit gives from the mirrors of inputs, so that git need not be asked."""
    sha256, mirrors = entry.sha256, context.registries.inputs()
    if mirrors is None or context.options.offline or context.store.has(sha256):
        return context.store.has(sha256)
    file = Wanted(registry="storage", place=input_place(sha256), filename=sha256, sha256=sha256)
    with contextlib.suppress(FetchFailed, DigestMismatch):  # git is the next place
        fetch(
            [file], store=context.store, registries=mirrors, reporter=context.console,
            effort=Effort(rounds=1),
        )  # fmt: skip
    return context.store.has(sha256)
