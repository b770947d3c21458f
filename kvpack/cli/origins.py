"""Where ``kvpack new`` reads a source: an sdist of the index, a file, a tag of a repository."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidSdistFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from kvpack.cli.context import Context
from kvpack.errors import FetchFailed, KvpackError, ResolutionFailed, UsageError
from kvpack.fetch.simple import Link, sdists_of
from kvpack.names import normalize

if TYPE_CHECKING:
    from kvpack.recipe.source import GitSource

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A source in the store, and what its place says about it."""

    file: str
    """How messages call it."""
    sha256: str
    project: str = ""
    """Normalized; empty where only the source itself can tell."""
    version: str = ""
    links: tuple[Link, ...] = ()
    """Files of the same project on the index."""

    @property
    def wheels(self) -> list[Link]:
        """Published wheels of the same version."""
        return [link for link in self.links if _is_wheel_of(link.filename, self.version)]


def from_index(context: Context, spec: str) -> Origin:
    """``NAME`` or ``NAME==VERSION``: the sdist of that version, or of the newest.

    :raises UsageError: if it is neither.
    :raises FetchFailed: if the index does not know the project.
    :raises ResolutionFailed: if it has no sdist of it.
    """
    from kvpack.fetch.unlocked import fetch_unlocked

    named = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:==([A-Za-z0-9.!+_-]+))?", spec)
    if named is None:
        raise UsageError(
            f"--sdist does not take {spec!r}",
            cause="it is neither a project, such as zstandard or zstandard==0.25.0, nor an archive",
            hint="kvpack new --help",
        )
    if context.options.offline:
        raise UsageError(
            f"the sdist of {spec} is found on an index, which --offline forbids",
            hint="--sdist FILE.tar.gz reads a file",
        )
    project = normalize(named[1])
    links = _links(context, project)
    link, version = _sdist(links, project, named[2])
    with context.console.step(f"Fetching {link.filename}"):
        web = context.registries.web("pypi")
        fetched = fetch_unlocked(link.url, store=context.store, web=web, sha256=link.sha256)
    return Origin(
        file=link.filename, sha256=fetched.sha256, project=project, version=version, links=links
    )


def from_file(context: Context, path: Path) -> Origin:
    """An sdist on this machine.

    :raises UsageError: if there is none, or its name is not an sdist's.
    """
    if not path.is_file():
        raise UsageError(f"--sdist {path}: there is no such file", hint="kvpack new --help")
    try:
        project, version = parse_sdist_filename(path.name)
    except InvalidSdistFilename:
        raise UsageError(
            f"--sdist {path}: its name is not an sdist's",
            cause="an sdist is named NAME-VERSION.tar.gz (PEP 625)",
            hint="python -m build --sdist makes one; a repository: --git URL --tag TAG",
        ) from None
    links: tuple[Link, ...] = ()
    if not context.options.offline:
        try:
            links = context.registries.links(normalize(project))
        except KvpackError as error:
            context.console.detail(error.what)
    return Origin(
        file=path.name,
        sha256=context.store.add_file(path),
        project=normalize(project),
        version=str(version),
        links=links,
    )


def from_git(context: Context, recipe: str, source: "GitSource") -> Origin:
    """The tree of a tag.

    :raises SourceUnreachable: if no place has the repository.
    :raises ResolutionFailed: if it has no such tag.
    """
    from kvpack.cli.remote import Online

    online, label = Online(context, recipe), f"{recipe} {source.tag}"
    commit = source.commit or online.commit_of(label, source)
    if commit is None:
        raise ResolutionFailed(
            f"{source.git} has no tag {source.tag!r}",
            cause="it is misspelt, or the repository names its releases otherwise",
            hint=f"git ls-remote --tags {source.git} lists them",
        )
    tree = online.git_tree(label, source, commit)
    return Origin(file=f"{source.git} at {source.tag}", sha256=tree.content.sha256)


def import_names(context: Context, origin: Origin) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Import names and programs of a published wheel of the same version, and its file name.

    Only its RECORD is read, by range requests. None is no fault: then they are guessed.
    """
    from kvpack.audit.layout import top_level
    from kvpack.resolve.ranged import claims_of_url

    wheels = origin.wheels
    if not wheels or context.options.offline:
        return (), (), ""
    link = min(wheels, key=_preference)
    try:
        with context.console.step(f"Reading RECORD of {link.filename}"):
            web = context.registries.web("pypi")
            claims = claims_of_url(web, link.url, (origin.project, origin.version))
    except KvpackError as error:
        context.console.detail(error.what)
        return (), (), ""
    paths = [claim.path for claim in claims.claims]
    site = [path.removeprefix("site-packages/") for path in paths if path.startswith("site-pack")]
    programs = sorted(path.removeprefix("bin/") for path in paths if path.startswith("bin/"))
    return top_level(site), tuple(programs), link.filename


def _preference(link: Link) -> tuple[bool, bool, str]:
    """Linux before others, this machine's most common architecture first."""
    return ("manylinux" not in link.filename, "x86_64" not in link.filename, link.filename)


def _is_wheel_of(filename: str, version: str) -> bool:
    try:
        return filename.endswith(".whl") and parse_wheel_filename(filename)[1] == Version(version)
    except ValueError:
        return False


def _links(context: Context, project: str) -> tuple[Link, ...]:
    try:
        return context.registries.links(project)
    except FetchFailed as error:
        raise FetchFailed(
            error.what,
            cause="the project is named otherwise than the recipe, is misspelt, or is not on "
            "this machine's index",
            hint="--sdist PROJECT names it as the index does; a repository: --git URL --tag TAG",
            faults=error.faults,
        ) from error


def _sdist(links: tuple[Link, ...], project: str, version: str | None) -> tuple[Link, str]:
    found = sdists_of(links)
    if not found:
        wheels = sum(link.filename.endswith(".whl") for link in links)
        raise ResolutionFailed(
            f"{project} has no sdist on the index, only {wheels} wheels",
            cause="its authors publish binaries only",
            hint=f"find its repository, then: kvpack new {project} --git URL --tag TAG",
        )
    listed = ", ".join(str(one) for one in sorted(found)[-8:])
    if version is None:
        usable = [one for one, link in found.items() if not link.yanked] or list(found)
        best = max(usable, key=lambda one: (not one.is_prerelease, one))
        return found[best], str(best)
    wanted = next((one for one in found if str(one) == version or one == _version(version)), None)
    if wanted is None:
        raise ResolutionFailed(
            f"{project} {version} has no sdist on the index",
            cause=f"sdists there: {listed}",
            hint=f"kvpack new NAME --sdist {project}=={max(found)}",
        )
    return found[wanted], str(wanted)


def _version(text: str) -> Version:
    try:
        return Version(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a version (PEP 440), such as 0.3.14", hint="kvpack new --help"
        ) from None
