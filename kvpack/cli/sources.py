"""``--source`` and ``--dirty``: where the sources of this one run are taken from."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.errors import DigestMismatch, Fault, LockDrift, UsageError

if TYPE_CHECKING:
    from kvpack.fetch.git import GitSources
    from kvpack.fetch.model import GitRepository
    from kvpack.lock.model import Inputs
    from kvpack.lock.sdist import Sdist
    from kvpack.lock.source import DirtyTree
    from kvpack.recipe.source import GitSource

_HELP = (
    "--source NAME=PATH_OR_URL: a recipe (or recipe/submodule-path) or a native library below it, "
    "and a clone or mirror of that"
)


def add_source_options(parser: argparse.ArgumentParser, *, dirty: bool = False) -> None:
    """Add ``--source`` and, where something is built, ``--dirty``."""
    parser.add_argument(
        "--source", dest="sources", action="append", default=[], metavar="NAME=PATH_OR_URL",
        help="take the source of recipe NAME from this clone or mirror, at the locked commit",
    )  # fmt: skip
    if dirty:
        parser.add_argument(
            "--dirty", action="store_true",
            help="with --source NAME=PATH: build the working tree as it is, marked as dirty",
        )  # fmt: skip


def supplied(words: list[str], recipes: list[str]) -> dict[str, str]:
    """``--source`` as URLs by name.

    :raises UsageError: if a word is no ``NAME=PATH_OR_URL`` of a recipe that was named.
    """
    from kvpack.names import did_you_mean
    from kvpack.recipe.source import git_url_fault

    found = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not value:
            raise UsageError(f"--source does not take {word!r}", hint=_HELP)
        if name.partition("/")[0] not in recipes:
            raise UsageError(
                f"--source {word}: {name.partition('/')[0]!r} is not among the recipes named",
                cause=did_you_mean(name, recipes),
                hint=_HELP,
            )
        if "://" in value or "::" in value:
            if fault := git_url_fault(value, local=True):
                raise UsageError(f"--source {name}: {fault}", hint=_HELP)
            found[name] = value
            continue
        path = Path(value)
        if not path.exists():
            raise UsageError(f"--source {name}: there is no {value}", hint=_HELP)
        found[name] = path.absolute().as_uri()
    return found


def path_of(url: str) -> Path | None:
    """The folder or file of a ``file`` URL."""
    from urllib.parse import unquote, urlsplit

    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None


def git_sources(context: Context) -> "GitSources":
    """The fetcher of git sources, for this run's places."""
    from kvpack.fetch.git import GitSources
    from kvpack.fetch.gitplaces import GitPlaces

    mirrors = context.registries.config().registries.git.mirrors
    places = GitPlaces(mirrors=mirrors, supplied=context.supplied)
    return GitSources(context.store, places, context.console, offline=context.options.offline)


def repository_for(recipe: str, label: str, source: "GitSource") -> "GitRepository":
    """The repository of a recipe's git source."""
    from kvpack.fetch.model import GitRepository

    return GitRepository(name=recipe, label=label, git=source.git, mirrors=source.mirrors)


def unpack_source(archive: Path, target: Path, name: str) -> None:
    """Unpack a source; its one top folder becomes ``target``.

    :raises ArchiveUnsafe: with every fault.
    """
    from kvpack.tools.archive import unpack

    unpacked = target.with_name(f"{target.name}.unpacked")
    unpack(archive, unpacked, name=name)
    tops = list(unpacked.iterdir())
    (tops[0] if len(tops) == 1 and tops[0].is_dir() else unpacked).rename(target)
    if unpacked.exists():
        unpacked.rmdir()


def take_file(context: Context, inputs: "Inputs") -> None:
    """``--source NAME=FILE`` for an sdist or archive: the file, if it has the locked bytes.

    :raises DigestMismatch: if it has others.
    :raises UsageError: if it is no file.
    """
    from kvpack.lock.source import LockedGit
    from kvpack.tools.files import sha256_file

    name, source = inputs.target.recipe, inputs.source
    if name not in context.supplied or isinstance(source, LockedGit):
        return
    path = path_of(context.supplied[name])
    if path is None or not path.is_file():
        raise UsageError(
            f"--source {name}: the source is the file {source.file}, not a git repository",
            hint=f"--source {name}=FILE; mirrors of it belong into kvpack.toml or the recipe",
        )
    found = sha256_file(path)
    if found != source.sha256:
        raise DigestMismatch(
            f"--source {name}: {path} has sha256 {found}, the lock names {source.sha256}",
            cause=f"it is not the {source.file} that was locked",
            hint="name the file with the locked bytes, or leave --source out",
        )
    context.store.add_file(path, expected=source.sha256)


def dirty_tree(context: Context, inputs: "Inputs") -> "DirtyTree":
    """The working tree that ``--source`` names, in place of the locked commit.

    :raises UsageError: if none is named.
    :raises LockDrift: if it asks for other build requirements, or Go modules, than the locked ones.
    """
    from kvpack.fetch.dirty import export_working_tree
    from kvpack.lock.sdist import read_build_system
    from kvpack.lock.source import DirtyTree, LockedGit

    name, source = inputs.target.recipe, inputs.source
    path = path_of(context.supplied.get(name, ""))
    if path is None or not isinstance(source, LockedGit):
        raise UsageError(
            f"--dirty needs the working tree of {name}"
            + ("" if isinstance(source, LockedGit) else ", whose source is not in git"),
            cause="it builds what lies in a clone, committed or not",
            hint=f"--source {name}=PATH --dirty",
        )
    sha256, size = export_working_tree(
        path, context.store, context.console, epoch=source.epoch, submodules=source.submodules
    )
    pyproject = "/".join(filter(None, (source.package, "pyproject.toml")))
    content = content_of(context, (f"{path} (dirty)", sha256, size), source.epoch, pyproject)
    backend, requires = read_build_system(content)
    if (backend, requires) != (source.backend, source.build_requires):
        raise LockDrift(
            f"{path} asks for other build requirements than lock/{name}.toml",
            cause="its pyproject.toml was changed since the locked commit",
            hint=f"commit it, then: kvpack lock {name} --source {name}={path}",
            faults=[
                Fault(
                    place=f"{path}/{pyproject}: build-system",
                    message=f"{backend} with {list(requires)}; the lock has {source.backend} with "
                    f"{list(source.build_requires)}",
                )
            ],
        )
    if inputs.modules:
        _check_modules(context, inputs, path, sha256)
    context.console.warn(
        f"{inputs.target.title} is built from the working tree {path}: its wheel is marked dirty"
    )
    fields = {key: getattr(source, key) for key in type(source).model_fields}
    return DirtyTree.model_validate({**fields, "sha256": sha256, "size": size, "dirty": True})


def _check_modules(context: Context, inputs: "Inputs", path: Path, sha256: str) -> None:
    """See that the go.sum files of a working tree name nothing that is not locked."""
    from kvpack.lock.gomodules import files_of, read_go_sums
    from kvpack.tools.archive import read_member

    name, folders = inputs.target.recipe, inputs.source.go
    blob, shown = context.store.blob_path(sha256), f"{path} (dirty)"
    places = [place for folder in folders for place in files_of(folder)]
    texts = {place: read_member(blob, place, name=shown) for place in places}
    known = {(one.place, one.h1) for one in inputs.modules}
    found = read_go_sums(shown, folders, texts)
    if fresh := [one for one in found if (one.place, one.h1) not in known]:
        raise LockDrift(
            f"{path} needs Go modules that lock/{name}.toml does not have",
            cause="a go.sum was changed since the locked commit",
            hint=f"commit it, then: kvpack lock {name} --source {name}={path}",
            faults=[Fault(place=f"go: {one.place}", message=one.h1) for one in fresh],
        )


def content_of(
    context: Context,
    named: tuple[str, str, int],
    epoch: int,
    pyproject: str = "pyproject.toml",
    *,
    wraps: bool = False,
) -> "Sdist":
    """What a source archive of the store says about itself.

    :param named: how messages call it, its sha256 and its size.
    :param pyproject: the place of its pyproject.toml, below its one top folder.
    :param wraps: whether meson's subprojects are read too.
    """
    from kvpack.lock.sdist import Sdist
    from kvpack.tools.archive import read_member

    shown, sha256, size = named
    path = context.store.blob_path(sha256)
    return Sdist(
        file=shown,
        path="",
        sha256=sha256,
        size=size,
        epoch=epoch,
        pyproject=read_member(path, pyproject, name=shown),
        pkg_info=read_member(path, "PKG-INFO", name=shown),
        wraps=wraps_of(path, pyproject, shown) if wraps else {},
    )


def wraps_of(archive: Path, pyproject: str, shown: str) -> dict[str, bytes]:
    """The ``.wrap`` files of meson's subprojects, by name, beside a pyproject.toml."""
    from kvpack.tools.archive import read_folder

    folder = "/".join(filter(None, (pyproject.rpartition("/")[0], "subprojects")))
    found = read_folder(archive, folder, ".wrap", name=shown)
    return {file.removesuffix(".wrap"): text for file, text in found.items()}
