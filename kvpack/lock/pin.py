"""Recipe -> Lock: every input by digest, keeping what was locked before unless it must change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from kvpack.errors import FetchFailed, ResolutionFailed
from kvpack.lock.apt import Wish
from kvpack.lock.expect import (
    host_closure,
    identity,
    incomplete,
    root_closures,
    source_closures,
    toolkit_closures,
    torch_closures,
)
from kvpack.lock.file import seal
from kvpack.lock.model import (
    Closure,
    Lock,
    LockedDeb,
    LockedImage,
    LockedRoot,
    LockedWheel,
)
from kvpack.lock.roots import include_for, suite_beside, used_roots
from kvpack.lock.source import AnySource
from kvpack.lock.sources import SourcePinning, SourceRemote
from kvpack.lock.toolkit import FoundImage, movable, pinned
from kvpack.lock.torch import check_torch, unresolved
from kvpack.lock.uv import Environment, Question
from kvpack.names import Arch, version_key
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import RootKind, Roots
from kvpack.report import Reporter


class Remote(SourceRemote, Protocol):
    """The world outside, as locking sees it."""

    def wheels(self, question: Question) -> tuple[LockedWheel, ...]: ...
    def debian(self, wish: Wish) -> tuple[LockedDeb, ...]: ...
    def pypa_image(self, host: tuple[LockedWheel, ...], image: str, arch: Arch) -> str: ...

    def tagged_image(self, image: str, arch: Arch) -> FoundImage:
        """What a tag names for an architecture.

        :raises FetchFailed: if its registry does not answer.
        :raises ResolutionFailed: if it has no such tag, or nothing for the architecture.
        """
        ...


@dataclass
class _Pinning:
    """One run of ``pin``: what is known, and what was gathered so far."""

    recipe: Recipe
    roots: Roots
    remote: Remote
    old: Lock | None
    upgrade: str | None
    reporter: Reporter
    wheels: dict[str, LockedWheel] = field(default_factory=dict)
    closures: list[Closure] = field(default_factory=list)

    def closure(self, wanted: Closure, environment: Environment) -> tuple[LockedWheel, ...]:
        """Resolve one closure, or keep the old one if nothing it depends on changed."""
        kept = self._old(wanted)
        keep = kept[1] if kept else ()
        moves = any(wheel.project == self.upgrade for wheel in keep)
        if kept is None or moves or kept[0].requires != wanted.requires:
            question = Question(
                requires=wanted.requires, environment=environment, keep=keep, upgrade=self.upgrade
            )
            old = {(wheel.project, wheel.version): wheel for wheel in keep}
            files = {wheel.file: wheel for wheel in self.old.wheels} if self.old else {}
            # A version that stays keeps its file, and a file keeps its bytes in every closure,
            # whatever was uploaded since.
            found = tuple(
                old.get((wheel.project, wheel.version), files.get(wheel.file, wheel))
                for wheel in self.remote.wheels(question)
            )
        else:
            found = keep
        for wheel in found:
            self.wheels[wheel.file] = wheel
        named = tuple(sorted(wheel.file for wheel in found))
        self.closures.append(wanted.model_copy(update={"files": named}))
        return found

    def _old(self, wanted: Closure) -> tuple[Closure, tuple[LockedWheel, ...]] | None:
        for closure in self.old.closure if self.old else ():
            if identity(closure) == identity(wanted):
                return closure, self.old.wheels_of(closure) if self.old else ()
        return None


def pin(  # noqa: PLR0913  # each is a different thing that locking needs
    recipe: Recipe,
    roots: Roots,
    remote: Remote,
    *,
    old: Lock | None,
    upgrade: str | None,
    reporter: Reporter,
    patches: Callable[[str], str],
) -> Lock:
    """Lock a recipe.

    :param old: the lock that is there; what it says is kept where the recipe still asks for it.
    :param upgrade: the one input that may move: a project name, a root's id, an accelerator
        whose toolkit is an image, or ``source``.
    :param patches: digest of a patch file of the recipe.
    :raises ResolutionFailed: if an input cannot be found, or ``upgrade`` names none.
    """
    if upgrade is not None and old is not None:
        _check_upgrade(upgrade, old, movable(recipe, roots))
    state = _Pinning(recipe, roots, remote, old, upgrade, reporter)
    pinning = SourcePinning(recipe, remote, old, upgrade == "source", reporter)
    sources = tuple(pinning.source(version) for version in sorted(recipe.versions))
    locked_patches = pinning.patches(patches)
    host = state.closure(host_closure(roots), Environment(python=roots.tools.host_python))
    locked_roots = tuple(_root(state, kind, arch, host) for kind, arch in used_roots(recipe, roots))
    for source in sources:
        _closures(state, source)
    _toolkits(state)
    images = _images(state)
    return seal(
        Lock(
            lock_schema=1,
            recipe=recipe.name,
            digest="sha256:" + "0" * 64,
            incomplete=incomplete(recipe, roots, sources, locked_patches, images),
            source=sources,
            patches=locked_patches,
            closure=tuple(state.closures),
            root=locked_roots,
            toolkit=images,
            wheels=tuple(state.wheels[file] for file in sorted(state.wheels)),
        )
    )


def _check_upgrade(upgrade: str, old: Lock, images: set[str]) -> None:
    projects = {wheel.project for wheel in old.wheels}
    known = {"source", *(root.id for root in old.root), *projects, *images}
    if upgrade not in known:
        raise ResolutionFailed(
            f"the lock of {old.recipe} has no input {upgrade!r}",
            cause="an input is a project of its closures, the id of a root, an accelerator whose "
            "toolkit is an image, or source",
            hint=f"known: {', '.join(sorted(known))}",
        )


def _root(state: _Pinning, kind: RootKind, arch: Arch, host: tuple[LockedWheel, ...]) -> LockedRoot:
    include = include_for(state.recipe, state.roots, kind)
    for wanted in root_closures(state.recipe, state.roots, kind, arch):
        environment = Environment(python=str(wanted.python), glibc=kind.glibc, arch=arch)
        state.closure(wanted, environment)
    beside = kind.family != "debian"
    image = state.remote.pypa_image(host, str(kind.image), arch) if beside else None
    suite = suite_beside(kind, include)
    bare = LockedRoot(id=kind.id, arch=arch, include=include, image=image, suite=suite)
    for root in state.old.root if state.old and state.upgrade != kind.id else ():
        if root.model_copy(update={"packages": (), "image": image}) == bare:
            return bare.model_copy(update={"packages": root.packages})
    if not include:
        return bare
    provided = state.roots.image.provided if beside else ()
    wish = Wish(suite=str(kind.suite), arch=arch, packages=include, provided=provided)
    return bare.model_copy(update={"packages": state.remote.debian(wish)})


def _closures(state: _Pinning, source: AnySource) -> None:
    found = source_closures(state.recipe, state.roots, source)
    for wanted in (*found, *torch_closures(state.recipe, state.roots, source)):
        kind = state.roots.get(str(wanted.root))
        environment = Environment(
            python=str(wanted.python), glibc=kind.glibc, arch=str(wanted.arch)
        )
        try:
            wheels = state.closure(wanted, environment)
        except ResolutionFailed as error:
            if wanted.torch is None:
                raise
            raise unresolved(wanted, error) from error
        if wanted.torch:
            check_torch(wanted, wheels)


def _toolkits(state: _Pinning) -> None:
    """The toolkits: for the oldest root of the recipe, as one closure serves all of them."""
    floors = [kind.glibc for kind, _ in used_roots(state.recipe, state.roots)]
    for wanted in toolkit_closures(state.recipe, state.roots):
        environment = Environment(
            python=state.roots.tools.host_python,
            glibc=min(floors, key=version_key),
            arch=str(wanted.arch),
        )
        state.closure(wanted, environment)


def _images(state: _Pinning) -> tuple[LockedImage, ...]:
    """The toolkits that are images; one that cannot be asked for is told, and named as missing.

    :raises FetchFailed: if it is to move and cannot: what was locked is not given up.
    """

    def ask(image: str, arch: Arch) -> FoundImage | None:
        try:
            return state.remote.tagged_image(image, arch)
        except FetchFailed as error:
            if state.old is not None and any(one.tagged == image for one in state.old.toolkit):
                raise
            places = [f"{fault.place}: {fault.message}" for fault in error.faults]
            lines = [error.what, error.cause, *places, error.hint]
            state.reporter.warn("\n  ".join(filter(None, lines)))
            return None

    return tuple(pinned(state.recipe, state.roots, state.old, state.upgrade, ask))
