"""The world outside as locking sees it (``lock.pin.Remote``): joins registries, uv and apt."""

import configparser
import re
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.version import Version

from kvpack.cli.context import Context
from kvpack.cli.sources import content_of, git_sources, repository_for, wraps_of
from kvpack.errors import ResolutionFailed
from kvpack.fetch.download import fetch
from kvpack.fetch.model import Wanted
from kvpack.fetch.simple import sdists_of
from kvpack.fetch.unlocked import fetch_unlocked
from kvpack.lock import apt, uv
from kvpack.lock.sdist import GitTree, Sdist
from kvpack.lock.source import LockedSubmodule
from kvpack.names import Arch
from kvpack.tools.archive import newest_mtime, read_member

if TYPE_CHECKING:
    from kvpack.fetch.simple import Link
    from kvpack.lock.gofile import LockedGoFile, PendingGoFile
    from kvpack.lock.model import LockedDeb, LockedWheel
    from kvpack.lock.toolkit import FoundImage
    from kvpack.recipe.source import ArchiveSource, GitSource

_PINNED_IMAGES = "cibuildwheel/resources/pinned_docker_images.cfg"
"""Where cibuildwheel keeps the digests of PyPA's images, inside its wheel."""


class Online:
    """``lock.pin.Remote`` on this machine's registries.

    :param package: the folder of a source whose pyproject.toml counts, if it is not its root.
    :param wraps: whether meson's subprojects of a source are read.
    """

    def __init__(
        self, context: Context, recipe: str, package: str | None = None, *, wraps: bool = False
    ) -> None:
        self._context, self._recipe, self._wraps = context, recipe, wraps
        self._pyproject = f"{package}/pyproject.toml" if package else "pyproject.toml"
        self._store = context.store
        self._registries = context.registries
        self._reporter = context.console

    def sdist(self, project: str, version: str) -> Sdist:
        """Find, fetch and read an sdist."""
        links = self._registries.links(project)
        link = _sdist_of(links, project, version)
        with self._reporter.step(f"Fetching {link.filename}"):
            web = self._registries.web("pypi")
            fetched = fetch_unlocked(link.url, store=self._store, web=web, sha256=link.sha256)
        path = self._store.blob_path(fetched.sha256)
        return Sdist(
            file=link.filename,
            path=fetched.place,
            sha256=fetched.sha256,
            size=fetched.size,
            epoch=newest_mtime(path, name=link.filename),
            pyproject=read_member(path, self._pyproject, name=link.filename),
            pkg_info=read_member(path, "PKG-INFO", name=link.filename),
            wraps=wraps_of(path, self._pyproject, link.filename) if self._wraps else {},
        )

    def commit_of(self, label: str, source: "GitSource") -> str | None:
        """Ask the source's places for its tag."""
        repository = repository_for(self._recipe, label, source)
        return git_sources(self._context).commit_of(repository, f"refs/tags/{source.tag}")

    def git_tree(self, label: str, source: "GitSource", commit: str) -> GitTree:
        """Export the commit's tree into the store and read it."""
        repository = repository_for(self._recipe, label, source)
        found = git_sources(self._context).tree(repository, commit, submodules=source.submodules)
        modules = (
            LockedSubmodule(path=one.path, url=one.url, commit=one.commit, tree=one.tree)
            for one in found.submodules
        )
        shown = f"{label}, commit {commit[:12]}"
        named = (shown, found.sha256, found.size)
        content = content_of(self._context, named, found.epoch, self._pyproject, wraps=self._wraps)
        return GitTree(commit=commit, tree=found.tree, submodules=tuple(modules), content=content)

    def change(self, label: str, source: "GitSource", commit: str) -> str:
        """Bring what a commit changed into the store."""
        repository = repository_for(self._recipe, label, source)
        return git_sources(self._context).change(repository, commit)

    def archive(self, label: str, source: "ArchiveSource") -> Sdist:
        """Fetch an archive and read it."""
        wanted = Wanted(
            registry="url",
            place=source.archive,
            mirrors=source.mirrors,
            filename=source.file,
            sha256=source.sha256,
        )
        fetch([wanted], store=self._store, registries=self._registries, reporter=self._reporter)
        path = self._store.check(source.sha256)
        named = (f"{label}, {source.file}", source.sha256, path.stat().st_size)
        epoch = newest_mtime(path, name=source.file)
        return content_of(self._context, named, epoch, self._pyproject, wraps=self._wraps)

    def members(self, found: Sdist, places: Sequence[str]) -> Mapping[str, bytes | None]:
        """Read files of a source that is in the store."""
        path = self._store.blob_path(found.sha256)
        return {place: read_member(path, place, name=found.file) for place in places}

    def go_files(self, label: str, wanted: "Sequence[PendingGoFile]") -> "tuple[LockedGoFile, ...]":
        """Fetch files of Go modules, from the first proxy that has each."""
        from kvpack.fetch.gofiles import fetch_go_files

        places = (self._registries.go().proxies, self._registries.web("go"))
        return fetch_go_files(
            label, wanted, store=self._store, places=places, reporter=self._reporter
        )

    def wheels(self, question: uv.Question) -> "tuple[LockedWheel, ...]":
        """Resolve against the primary index of the machine: others may not add versions."""
        registry = self._registries.pypi()
        index = uv.Index(url=registry.index, cert=registry.settings.cert)
        where = f"{question.environment.python} {question.environment.arch or 'any'}"
        if not question.requires:
            return ()
        pinned = [text for text in question.requires if "==" in text]
        others = (text for text in question.requires if text not in pinned)
        names = ", ".join([*pinned, *(re.split(r"[<>=!~\[; ]", text)[0] for text in others)])
        with self._reporter.step(
            f"Resolving {textwrap.shorten(names, 60, placeholder=' …')} ({where})"
        ):
            return uv.resolve(question, index, self._reporter)

    def debian(self, wish: apt.Wish) -> "tuple[LockedDeb, ...]":
        """Resolve with apt against the machine's first mirror."""
        registry = self._registries.debian()
        archive = apt.Archive(mirror=registry.mirrors[0], proxy=registry.settings.proxy)
        count = len(wish.packages)
        what = f"{count} package{'s' if count > 1 else ''} of {wish.suite} ({wish.arch})"
        with self._reporter.step(f"Resolving {what}"):
            return apt.resolve(archive, wish, self._reporter)

    def pypa_image(self, host: "tuple[LockedWheel, ...]", image: str, arch: Arch) -> str:
        """The image's digest, from inside the locked cibuildwheel."""
        wheel = next(wheel for wheel in host if wheel.project == "cibuildwheel")
        fetch([wanted_wheel(wheel)], store=self._store, registries=self._registries,
              reporter=self._reporter)  # fmt: skip
        with zipfile.ZipFile(self._store.check(wheel.sha256)) as archive:
            text = archive.read(_PINNED_IMAGES).decode()
        pinned = configparser.ConfigParser(inline_comment_prefixes=("#",))
        pinned.read_string(text)
        found = pinned.get(arch, image, fallback=None)
        if found is None:
            raise ResolutionFailed(
                f"{wheel.file} pins no image {image} for {arch}",
                cause="this version of cibuildwheel has no such image",
                hint="choose another build.root, or kvpack lock --upgrade cibuildwheel",
            )
        return found

    def tagged_image(self, image: str, arch: Arch) -> "FoundImage":
        """Ask a registry what a tag names; once in a run, whatever recipe asks."""
        from kvpack.cli.toolkitimages import find_image

        return find_image(self._context, image, arch)


def wanted_wheel(wheel: "LockedWheel") -> Wanted:
    """A locked wheel as fetching sees it."""
    return Wanted(
        registry="pypi",
        place=wheel.path,
        filename=wheel.file,
        sha256=wheel.sha256,
        project=wheel.project,
    )


def _sdist_of(links: "tuple[Link, ...]", project: str, version: str) -> "Link":
    found = sdists_of(links)
    if link := found.get(Version(version)):
        return link
    known = ", ".join(str(one) for one in sorted(found)[-8:]) or "none"
    raise ResolutionFailed(
        f"{project} {version} has no sdist on the index",
        cause=f"sdists there: {known}",
        hint="correct the version in the recipe; wheels without a source cannot be built from",
    )
