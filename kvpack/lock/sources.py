"""Recipe -> locked sources and patches: what upstream says today, or that it cannot be reached.

A source that cannot be reached does not stop a lock: what is known of it is kept, the rest is named
as missing, and nothing can be built from it until a later lock has read it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kvpack.errors import FetchFailed, KvpackError, ResolutionFailed, SourceUnreachable
from kvpack.lock.expect import reading_difference, source_difference
from kvpack.lock.gofile import AnyGoFile, LockedGoFile, PendingGoFile
from kvpack.lock.gomodules import files_of, folders_for, kept, pending_files, read_go_sums
from kvpack.lock.model import Lock
from kvpack.lock.sdist import GitTree, Sdist, read_build_system, read_run_requires
from kvpack.lock.source import (
    AnyPatch,
    AnySource,
    LockedArchive,
    LockedGit,
    LockedPatch,
    LockedSource,
    PendingArchive,
    PendingGit,
    PendingPatch,
)
from kvpack.lock.wraps import locked_wraps
from kvpack.recipe.model import Patch, Recipe, Release
from kvpack.recipe.source import ArchiveSource, GitSource, SdistSource
from kvpack.report import Reporter


class SourceRemote(Protocol):
    """The world outside, as locking sources sees it."""

    def sdist(self, project: str, version: str) -> Sdist: ...

    def commit_of(self, label: str, source: GitSource) -> str | None:
        """The commit that the source's tag names; ``None`` where there is no such tag.

        :raises SourceUnreachable: if no place of the repository answers.
        """
        ...

    def git_tree(self, label: str, source: GitSource, commit: str) -> GitTree:
        """:raises SourceUnreachable: if no place gives the commit or one of its submodules."""
        ...

    def change(self, label: str, source: GitSource, commit: str) -> str:
        """The sha256 of the canonical text of what a commit changed; the text is in the store.

        :raises SourceUnreachable: if no place gives the commit.
        """
        ...

    def archive(self, label: str, source: ArchiveSource) -> Sdist:
        """:raises FetchFailed: if no place has the bytes."""
        ...

    def members(self, found: Sdist, places: Sequence[str]) -> Mapping[str, bytes | None]:
        """Files of a source that was found, by their places in it; ``None``: it has none there."""
        ...

    def go_files(self, label: str, wanted: Sequence[PendingGoFile]) -> tuple[LockedGoFile, ...]:
        """Fetch files of Go modules, which are what go.sum says.

        :raises FetchFailed: if no registry answers.
        :raises ResolutionFailed: if registries answer that they do not have them.
        :raises DigestMismatch: if they have others.
        """
        ...


@dataclass
class SourcePinning:
    """The sources of one run of ``pin``."""

    recipe: Recipe
    remote: SourceRemote
    old: Lock | None
    upgrade: bool
    """Whether sources may move."""
    reporter: Reporter
    unreached: set[str] = field(default_factory=set)
    """Repositories that did not answer: they are asked once."""

    def source(self, version: str) -> AnySource:
        """Pin the source of one version and its Go modules, or keep what was locked.

        :raises SourceUnreachable: if it is to move and cannot: what was locked is not given up.
        :raises FetchFailed: if Go modules are to move and cannot.
        """
        return self._with_modules(version, self._pinned(version))

    def _pinned(self, version: str) -> AnySource:
        release = self.recipe.versions[version]
        old = self._old(version, release)
        if old is not None and not isinstance(old, PendingGit | PendingArchive):
            known = release.epoch is not None or not old.epoch_from_recipe
            if known and not self.upgrade:
                epoch = release.epoch or old.epoch
                from_recipe = release.epoch is not None
                return old.model_copy(update={"epoch": epoch, "epoch_from_recipe": from_recipe})
        label = f"{self.recipe.name} {version}"
        match release.source:
            case SdistSource(sdist=project):
                found = self.remote.sdist(project, version)
                return LockedSource(
                    version=version,
                    project=project,
                    file=found.file,
                    path=found.path,
                    **self._content(found, version),
                )
            case ArchiveSource() as source:
                return self._archive(label, version, source, old)
            case GitSource() as source:
                return self._git(label, version, source, old)

    def patches(self, digest: Callable[[str], str]) -> tuple[AnyPatch, ...]:
        """Pin the patches, in the order of the recipe.

        :param digest: of a patch file of the recipe.
        """
        return tuple(self.patch(patch, digest) for patch in self.recipe.patches)

    def patch(self, patch: Patch, digest: Callable[[str], str]) -> AnyPatch:
        """Pin one patch: a file by its bytes, a commit by the text of its change."""
        if patch.file is not None:
            return LockedPatch(id=patch.id, file=patch.file, sha256=digest(patch.file))
        commit, source = str(patch.commit), self.recipe.git_for(patch)
        for old in self.old.patches if self.old else ():
            if isinstance(old, LockedPatch) and old.id == patch.id and old.commit == commit:
                return old
        if source is not None and source.git not in self.unreached:
            try:
                sha256 = self.remote.change(f"patch {patch.id}", source, commit)
                return LockedPatch(id=patch.id, commit=commit, sha256=sha256)
            except SourceUnreachable as error:
                self._told(error)
        return PendingPatch(id=patch.id, commit=commit)

    def _old(self, version: str, release: Release) -> AnySource | None:
        for source in self.old.source if self.old else ():
            same = source.version == version and not source_difference(source, release.source)
            if same and not reading_difference(source, self.recipe):
                return source
        return None

    def _archive(
        self, label: str, version: str, source: ArchiveSource, old: AnySource | None
    ) -> LockedArchive | PendingArchive:
        try:
            found = self.remote.archive(label, source)
        except FetchFailed as error:
            if isinstance(old, LockedArchive):
                raise
            self._told(error)
            return PendingArchive(version=version, archive=source.archive, sha256=source.sha256)
        return LockedArchive(
            version=version,
            archive=source.archive,
            file=source.file,
            **self._content(found, version),
        )

    def _git(
        self, label: str, version: str, source: GitSource, old: AnySource | None
    ) -> LockedGit | PendingGit:
        known = old.commit if isinstance(old, PendingGit) and not self.upgrade else None
        commit = source.commit or known
        if source.git not in self.unreached:
            try:
                if known is None and source.tag is not None:
                    commit = self._tagged(label, source)
                tree = self.remote.git_tree(label, source, str(commit))
                return self._locked_git(version, source, tree)
            except SourceUnreachable as error:
                if isinstance(old, LockedGit):
                    raise
                self._told(error)
                self.unreached.add(source.git)
        return PendingGit(
            version=version,
            git=source.git,
            tag=source.tag,
            commit=commit,
            submodules=source.submodules,
        )

    def _locked_git(self, version: str, source: GitSource, tree: GitTree) -> LockedGit:
        return LockedGit(
            version=version,
            git=source.git,
            tag=source.tag,
            commit=tree.commit,
            submodules=source.submodules,
            tree=tree.tree,
            submodule=tree.submodules,
            **self._content(tree.content, version),
        )

    def _tagged(self, label: str, source: GitSource) -> str:
        """The commit of the source's tag, which must be the one that the recipe names beside it."""
        found = self.remote.commit_of(label, source)
        if found is None and source.commit is not None:
            self.reporter.warn(
                f"{label}: {source.git} has no tag {source.tag} where it was looked for; "
                f"the commit {source.commit} of the recipe counts"
            )
            return source.commit
        if found is None:
            raise ResolutionFailed(
                f"{label}: {source.git} has no tag {source.tag!r}",
                cause="it is misspelt, was removed, or the clone that was named has no tags",
                hint=f"git ls-remote --tags {source.git} lists them",
            )
        if source.commit not in {None, found}:
            raise ResolutionFailed(
                f"{label}: tag {source.tag} is commit {found}, the recipe says {source.commit}",
                cause="upstream moved the tag, or one of the two is wrong",
                hint="look what changed between the two commits, then correct the recipe",
            )
        return found

    def _told(self, error: KvpackError) -> None:
        places = [f"{fault.place}: {fault.message}" for fault in error.faults]
        hint = [error.hint] if error.hint else []
        self.reporter.warn("\n  ".join([error.what, *places, *hint]))

    def _with_modules(self, version: str, source: AnySource) -> AnySource:
        missing = pending_files(source)
        if not missing or isinstance(source, PendingGit | PendingArchive):
            return source
        try:
            found = self.remote.go_files(f"{self.recipe.name} {version}", missing)
        except FetchFailed as error:
            known = self._known_modules(version)
            if known and not any(isinstance(one, PendingGoFile) for one in known):
                raise
            self._told(error)
            return source
        return source.model_copy(update={"module": kept(source.module, found)})

    def _known_modules(self, version: str) -> tuple[AnyGoFile, ...]:
        """What the lock that is there names, of whatever source."""
        for source in self.old.source if self.old else ():
            if source.version == version and not isinstance(source, PendingGit | PendingArchive):
                return source.module
        return ()

    def _modules(
        self, found: Sdist, version: str, folders: tuple[str, ...]
    ) -> tuple[AnyGoFile, ...]:
        if not folders:
            return ()
        places = [place for folder in folders for place in files_of(folder)]
        wanted = read_go_sums(found.file, folders, self.remote.members(found, places))
        return kept(wanted, self._known_modules(version))

    def _content(self, found: Sdist, version: str) -> dict[str, Any]:
        """What every source that was read has.

        :raises ResolutionFailed: if the folder that is to be built is not there, a subproject, or
            a go.sum.
        """
        release, folders = self.recipe.versions[version], folders_for(self.recipe, version)
        package, wraps = self.recipe.build.read_package, self.recipe.build.wraps
        if package is not None and found.pyproject is None:
            raise ResolutionFailed(
                f"{found.file} has no {package}/pyproject.toml",
                cause="build.package of the recipe names the folder that is built",
                hint="correct it, or leave it out for the root of the source",
            )
        backend, requires = read_build_system(found)
        wrap, notes = locked_wraps(found.file, found.wraps, wraps)
        for note in notes:
            self.reporter.warn(f"{found.file}: {note}")
        return {
            "sha256": found.sha256,
            "size": found.size,
            "epoch": release.epoch or found.epoch,
            "epoch_from_recipe": release.epoch is not None,
            "package": package,
            "backend": backend,
            "build_requires": requires,
            "run_requires": read_run_requires(found),
            "wraps": wraps,
            "wrap": wrap,
            "go": folders,
            "module": self._modules(found, version, folders),
        }
