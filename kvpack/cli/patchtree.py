"""A scratch copy of a source to try patches on, and the texts of patches."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.cli.sources import git_sources, repository_for, unpack_source
from kvpack.errors import UsageError

if TYPE_CHECKING:
    from kvpack.recipe.model import Patch, Recipe
    from kvpack.tools.apply import Tree


@contextmanager
def source_tree(
    context: Context, recipe: "Recipe", version: str, against: str | None = None
) -> "Iterator[tuple[Tree, str]]":
    """The unpacked source of a version, or of a ref of its repository, and its name in words.

    :raises SourceUnreachable: if it cannot be had.
    :raises UsageError: if ``against`` names nothing, or the source is not in git.
    """
    from kvpack.tools.apply import Tree
    from kvpack.tools.git import Git

    if against is None:
        sha256, shown = _of_version(context, recipe, version), f"{recipe.name} {version}"
    else:
        sha256, shown = _of_ref(context, recipe, version, against)
    with context.store.scratch("patches") as scratch:
        folder = scratch / "source"
        unpack_source(context.store.check(sha256), folder, shown)
        yield Tree(folder, Git(scratch / "git", context.console), context.console), shown


def _of_version(context: Context, recipe: "Recipe", version: str) -> str:
    """The blob of a version's source: the locked one, else what upstream gives now."""
    from kvpack.cli.planning import read_checked_lock
    from kvpack.cli.remote import Online
    from kvpack.cli.supply import supply, wanted_source
    from kvpack.lock.source import PendingArchive, PendingGit
    from kvpack.recipe.source import GitSource

    lock = read_checked_lock(context, recipe)
    source = next(one for one in lock.source if one.version == version)
    if isinstance(source, PendingArchive):
        named = recipe.versions[version].source
        return Online(context, recipe.name).archive(f"{recipe.name} {version}", named).sha256  # type: ignore[arg-type]  # no drift
    if isinstance(source, PendingGit):
        named = recipe.versions[version].source
        assert isinstance(named, GitSource)  # noqa: S101  # the lock has not drifted
        repository = repository_for(recipe.name, f"{recipe.name} {version}", named)
        commit = source.commit or _commit(context, recipe, version, f"refs/tags/{source.tag}")
        return git_sources(context).tree(repository, commit, submodules=source.submodules).sha256
    supply(context, wanted_source(recipe, source))
    return source.sha256


def _of_ref(context: Context, recipe: "Recipe", version: str, ref: str) -> tuple[str, str]:
    from kvpack.recipe.source import GitSource, is_ref

    source = recipe.versions[version].source
    if not isinstance(source, GitSource):
        raise UsageError(
            f"--against {ref}: the source of {recipe.name} {version} is not in git",
            hint=f"kvpack patches status {recipe.name} --version V tries another version",
        )
    if not is_ref(ref):
        raise UsageError(f"--against {ref!r} is not the name of a tag, branch or commit")
    refs = ("HEAD",) if ref == "HEAD" else (f"refs/tags/{ref}", f"refs/heads/{ref}")
    commit = ref if re.fullmatch(r"[0-9a-f]{40}", ref) else _commit(context, recipe, version, *refs)
    repository = repository_for(recipe.name, f"{recipe.name} {ref}", source)
    found = git_sources(context).tree(repository, commit, submodules=source.submodules)
    return found.sha256, f"{ref} ({commit[:12]})" if ref != commit else ref[:12]


def _commit(context: Context, recipe: "Recipe", version: str, *refs: str) -> str:
    from kvpack.recipe.source import GitSource

    source = recipe.versions[version].source
    assert isinstance(source, GitSource)  # noqa: S101  # the callers looked
    repository = repository_for(recipe.name, f"{recipe.name} {version}", source)
    found = git_sources(context).commit_of(repository, *refs)
    if found is None:
        raise UsageError(
            f"{source.git} has no {' and no '.join(ref.removeprefix('refs/') for ref in refs)}",
            cause="it is misspelt, was removed, or the clone that was named does not have it",
            hint=f"git ls-remote {source.git} lists what there is",
        )
    return found


def version_of(ref: str) -> str | None:
    """The version that a tag names: ``v0.3.14`` -> ``0.3.14``; ``None`` for other refs."""
    from packaging.version import InvalidVersion, Version

    if re.fullmatch(r"[0-9a-f]{40}", ref):
        return None
    try:
        return str(Version(ref))
    except InvalidVersion:
        return None


def text_of(context: Context, recipe: "Recipe", patch: "Patch") -> bytes:
    """A patch's text: its file, or what its commit changed.

    :raises SourceUnreachable: if the commit cannot be had.
    """
    if patch.file is not None:
        return context.catalogue.patch_path(recipe.name, patch.file).read_bytes()
    source = recipe.git_for(patch)
    assert source is not None  # noqa: S101  # the loader looked
    repository = repository_for(recipe.name, f"patch {patch.id}", source)
    return context.store.read(git_sources(context).change(repository, str(patch.commit)))
