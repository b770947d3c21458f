"""Git sources into the store: the first place that has the commit gives it, its hash decides.

A tree is exported once, from git's objects, to one canonical tar; a build gets that tar. The store
remembers ``sources/<commit>.json`` -> the tar, so that neither git nor a network is needed
for a commit that was read before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TypeVar

from kvpack.errors import (
    ArchiveUnsafe,
    DigestMismatch,
    Fault,
    KvpackError,
    OfflineMissing,
    SourceUnreachable,
)
from kvpack.fetch.gitplaces import GitPlaces, submodule
from kvpack.fetch.gittext import canonical_change
from kvpack.fetch.model import ChangeWanted, ExportedTree, GitRepository, GitWanted, Submodule
from kvpack.names import counted
from kvpack.report import Reporter
from kvpack.tools.git import EMPTY_TREE, EXECUTABLE, GITLINK, SYMLINK, Entry, Git
from kvpack.tools.members import ZIP_EPOCH, Kind
from kvpack.tools.store import Store
from kvpack.tools.tree import Looked, Node, faults_of, key_of, look, write_tree
from kvpack.tools.web import TryFailed, redact

_Answer = TypeVar("_Answer")
_DEEPEST = 12
"""Submodules within submodules; more is a circle."""


class GitSources:
    """Brings trees and changes of commits into a store, from the places that are known."""

    def __init__(
        self, store: Store, places: GitPlaces, reporter: Reporter, *, offline: bool = False
    ) -> None:
        self._store, self._places, self._reporter = store, places, reporter
        self._offline = offline

    # -- what is asked -----------------------------------------------------------------------

    def commit_of(self, repository: GitRepository, *refs: str) -> str | None:
        """The commit that the first of ``refs`` that exists names; tags are peeled.

        :raises SourceUnreachable: if no place answers.
        """

        def ask(git: Git, url: str) -> str | None:
            found = git.refs(url, *(form for ref in refs for form in (ref, f"{ref}^{{}}")))
            names = (f"{ref}{peeled}" for ref in refs for peeled in ("^{}", ""))
            return next((found[name] for name in names if name in found), None)

        with self._git() as git:
            named = refs[0].replace("refs/tags/", "tag ")
            return self._first(repository, named, lambda url: ask(git, url))

    def tree(
        self, repository: GitRepository, commit: str, *, submodules: bool = False
    ) -> ExportedTree:
        """Export a commit's tree into the store, if it is not there.

        :raises SourceUnreachable: if no place gives the commit, or that of a submodule.
        :raises ArchiveUnsafe: if the tree is refused, with every reason.
        """
        record = f"{commit}{'+submodules' if submodules else ''}"
        if known := self._known(record):
            return known
        with self._store.lock(f"source-{record}"):
            if known := self._known(record):
                return known
            with self._git() as git, self._reporter.step(f"Exporting {repository.label}"):
                made = _Export(self, git).run(repository, commit, submodules=submodules)
            self._store.write_record("sources", record, asdict(made))
        return made

    def change(self, repository: GitRepository, commit: str) -> str:
        """The sha256 of the text of what a commit changed; the text is in the store.

        :raises SourceUnreachable: if no place gives the commit.
        :raises PatchFailed: if it is no change that a patch can be.
        """
        record = self._store.read_record("changes", commit)
        if record and self._store.has(str(record["sha256"])):
            return str(record["sha256"])
        with self._git() as git:
            self.bring(git, repository, commit, depth=2)
            old = next(iter(git.facts(commit).parents), EMPTY_TREE)
            path = git.folder / "change.patch"
            path.write_bytes(canonical_change(git.change(old, commit), commit, repository.label))
            sha256 = self._store.add_file(path)
        self._store.write_record("changes", commit, {"sha256": sha256})
        return sha256

    def supply(self, wanted: GitWanted | ChangeWanted) -> None:
        """Bring what a lock names into the store.

        :raises DigestMismatch: if the commit does not give the locked bytes.
        """
        if self._store.has(wanted.sha256):
            return
        repository, commit = wanted.repository, wanted.commit
        if isinstance(wanted, GitWanted):
            found = self.tree(repository, commit, submodules=wanted.submodules).sha256
        else:
            found = self.change(repository, commit)
        if found != wanted.sha256:
            raise DigestMismatch(
                f"{repository.label}: commit {commit} gives sha256 {found}, "
                f"the lock says {wanted.sha256}",
                cause="another version of kvpack exported it, or a commit's hash was forged",
                hint="look what differs, then lock anew: "
                f"kvpack lock {repository.name} --upgrade source",
            )

    # -- places ------------------------------------------------------------------------------

    def places(self, repository: GitRepository) -> tuple[str, ...]:
        return self._places.of(repository)

    def bring(self, git: Git, repository: GitRepository, commit: str, *, depth: int = 1) -> None:
        """Have a commit in ``git``.

        :raises SourceUnreachable: with every place and why it failed.
        """
        if not git.has(commit):
            self._first(
                repository, f"commit {commit}", lambda url: git.fetch(url, commit, depth=depth)
            )

    def _first(
        self, repository: GitRepository, what: str, attempt: Callable[[str], _Answer]
    ) -> _Answer:
        """The answer of the first place that gives one."""
        faults = []
        for url in self.places(repository):
            if self._offline and not url.startswith("file:"):
                faults.append(Fault(place=redact(url), message="--offline forbids to ask it"))
                continue
            try:
                return attempt(url)
            except TryFailed as error:
                faults.append(Fault(place=redact(url), message=error.reason))
        raise self._unreachable(repository, what, faults)

    def _unreachable(
        self, repository: GitRepository, what: str, faults: list[Fault]
    ) -> KvpackError:
        name = repository.name
        if self._offline:
            return OfflineMissing(
                f"{repository.label}: the store lacks {what}, and --offline forbids fetching",
                cause="it was never fetched into this store",
                hint=f"with a network: kvpack fetch {name.partition('/')[0]}; or from a clone on "
                f"this machine: --source {name}=PATH",
                faults=faults,
            )
        if name in self._places.supplied:
            place = redact(self._places.supplied[name])
            return SourceUnreachable(
                f"{repository.label}: {place} does not give {what}",
                cause="--source names the one place to take it from, and no other is asked",
                hint="bring it there (git fetch --tags in that clone), or name another place",
                faults=faults,
            )
        count = len(faults)
        return SourceUnreachable(
            f"{repository.label}: {what} could not be had from "
            f"{f'any of {count} places' if count > 1 else 'its one place'}",
            cause="the network does not reach them, or they do not have it",
            hint=f"from a clone or a mirror: --source {name}=PATH_OR_URL; for good: "
            'kvpack.toml [registries.git.mirrors] "https://host/" = ["https://mirror/"], '
            "or mirrors = […] of the source in the recipe",
            faults=faults,
        )

    # -- store -------------------------------------------------------------------------------

    @contextmanager
    def _git(self) -> Iterator[Git]:
        with self._store.scratch("git") as folder:
            yield Git(folder, self._reporter)

    def _known(self, record: str) -> ExportedTree | None:
        made = self._store.read_record("sources", record)
        if made is None or not self._store.has(str(made["sha256"])):
            return None
        return ExportedTree(
            **{**made, "submodules": tuple(Submodule(**s) for s in made["submodules"])}
        )

    def keep(self, git: Git, entries: dict[str, Entry], epoch: int, shown: str) -> tuple[str, int]:
        """Write the canonical tar of entries as a blob; its sha256 and size.

        :raises ArchiveUnsafe: with every reason to refuse it.
        """
        looked: list[Looked] = []
        target = git.folder / "tree.tar"
        write_tree(_nodes(git, entries, looked), target, epoch=epoch)
        if faults := faults_of(looked, shown):
            raise refused(shown, faults)
        return self._store.add_file(target), target.stat().st_size


class _Export:
    """The export of one commit: its entries, and those of its submodules below their paths."""

    def __init__(self, sources: GitSources, git: Git) -> None:
        self._sources, self._git = sources, git
        self._entries: dict[str, Entry] = {}
        self._found: list[Submodule] = []
        self._faults: list[Fault] = []

    def run(self, repository: GitRepository, commit: str, *, submodules: bool) -> ExportedTree:
        shown = f"{repository.label}, commit {commit[:12]}"
        self._sources.bring(self._git, repository, commit)
        self._take(repository, commit, ("", 0), submodules=submodules)
        if self._faults:
            raise refused(shown, self._faults)
        facts = self._git.facts(commit)
        epoch = max(facts.time, ZIP_EPOCH)
        sha256, size = self._sources.keep(self._git, self._entries, epoch, shown)
        return ExportedTree(
            commit=commit,
            tree=facts.tree,
            sha256=sha256,
            size=size,
            epoch=epoch,
            submodules=tuple(sorted(self._found, key=lambda one: key_of(one.path))),
        )

    def _take(
        self, repository: GitRepository, commit: str, where: tuple[str, int], *, submodules: bool
    ) -> None:
        prefix, depth = where
        entries = self._git.entries(commit)
        self._entries |= {
            f"{prefix}{e.path}": replace(e, path=f"{prefix}{e.path}") for e in entries
        }
        links = [entry for entry in entries if entry.mode == GITLINK]
        if not (links and submodules):
            return
        modules = next(
            (e.oid for e in entries if e.path == ".gitmodules" and e.mode != SYMLINK), ""
        )
        urls = self._git.submodule_urls(modules) if modules else {}
        for entry in links:
            path = f"{prefix}{entry.path}"
            found, fault = None, "it has no URL in .gitmodules"
            if depth >= _DEEPEST:
                fault = "submodules are nested too deep"
            elif entry.path in urls:
                places = self._sources.places(repository)
                found, fault = submodule(repository, entry.path, urls[entry.path], places)
            if found is None:
                url = redact(urls.get(entry.path, ""))
                message = f"its submodule URL {url!r} is refused: {fault}" if url else fault
                self._faults.append(Fault(place=path, message=message))
                continue
            self._sources.bring(self._git, found, entry.oid)
            tree = self._git.facts(entry.oid).tree
            self._found.append(Submodule(path=path, url=found.git, commit=entry.oid, tree=tree))
            self._take(found, entry.oid, (f"{path}/", depth + 1), submodules=True)


def _nodes(git: Git, entries: dict[str, Entry], looked: list[Looked]) -> Iterator[Node]:
    """The nodes of a tree in canonical order; what the rules need of each goes to ``looked``."""
    ordered = sorted(entries.values(), key=lambda entry: key_of(entry.path))
    contents = git.contents([e.oid for e in ordered if e.mode != GITLINK], "contents")
    for entry in ordered:
        if entry.mode == GITLINK:
            node = Node(path=entry.path, kind=Kind.FOLDER)
        else:
            node = Node(
                path=entry.path,
                kind=Kind.SYMLINK if entry.mode == SYMLINK else Kind.FILE,
                data=next(contents),
                executable=entry.mode == EXECUTABLE,
            )
        looked.append(look(node))
        yield node


def refused(shown: str, faults: list[Fault]) -> ArchiveUnsafe:
    return ArchiveUnsafe(
        f"{shown} was refused: {counted(len(faults), 'fault')}",
        cause="the tree leads out of its folder, asks for something that may not be asked, "
        "or is not whole without Git LFS",
        hint="nothing of it was kept; compare it with what its project publishes",
        faults=faults,
    )
