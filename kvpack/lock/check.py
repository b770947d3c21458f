"""Does the lock still say what the recipe asks for? Offline, and all differences at once."""

from collections.abc import Callable, Iterator
from typing import Any

from kvpack.errors import Fault, LockDrift, LockMissing
from kvpack.lock.expect import (
    expected_closures,
    identity,
    incomplete,
    is_complete,
    pending_patch,
    pending_source,
    reading_difference,
    source_difference,
)
from kvpack.lock.gomodules import environment_of, modules_of, pending_files
from kvpack.lock.model import Inputs, Lock, LockedWheel, TorchBuild
from kvpack.lock.roots import root_faults
from kvpack.lock.source import (
    AnyPatch,
    LockedPatch,
    PendingArchive,
    PendingGit,
)
from kvpack.lock.toolkit import image_for, toolkit_faults
from kvpack.recipe.model import Recipe, Target
from kvpack.recipe.roots import Roots


def drift(
    recipe: Recipe, roots: Roots, lock: Lock, place: str, patch_digest: Callable[[str], str]
) -> list[Fault]:
    """Every place where recipe and lock differ."""
    return [
        *_sources(recipe, lock, place),
        *_patches(recipe, lock, place, patch_digest),
        *_closures(recipe, roots, lock, place),
        *root_faults(recipe, roots, lock, place),
        *toolkit_faults(recipe, roots, lock, place),
        *_incomplete(recipe, roots, lock, place),
    ]


def check(
    recipe: Recipe, roots: Roots, lock: Lock, place: str, patch_digest: Callable[[str], str]
) -> None:
    """Fail on any drift.

    :raises LockDrift: with every difference.
    """
    faults = drift(recipe, roots, lock, place, patch_digest)
    if faults:
        raise LockDrift(
            f"{place} no longer matches recipes/{recipe.name}.toml",
            cause="the recipe, a patch or kvpack's own requirements changed since it was made",
            hint=f"kvpack lock {recipe.name}; then review what changed and commit it",
            faults=faults,
        )


def _sources(recipe: Recipe, lock: Lock, place: str) -> Iterator[Fault]:
    locked = {source.version: source for source in lock.source}
    for version, release in recipe.versions.items():
        source = locked.pop(version, None)
        if source is None:
            yield Fault(place=f"{place}: source", message=f"version {version} is not locked")
        elif difference := source_difference(source, release.source):
            yield Fault(
                place=f"{place}: source",
                message=f"version {version} is locked to {difference}",
            )
        elif difference := reading_difference(source, recipe):
            yield Fault(place=f"{place}: source", message=f"version {version}: {difference}")
        elif isinstance(source, PendingGit | PendingArchive):
            continue
        elif release.epoch != (source.epoch if source.epoch_from_recipe else None):
            said = "none" if release.epoch is None else release.epoch
            yield Fault(
                place=f"{place}: source",
                message=f"epoch {source.epoch} is locked, the recipe says {said}",
            )
    for version in locked:
        yield Fault(place=f"{place}: source", message=f"version {version} left the recipe")


def _patches(
    recipe: Recipe, lock: Lock, place: str, patch_digest: Callable[[str], str]
) -> Iterator[Fault]:
    locked = {patch.id: patch for patch in lock.patches}
    for patch in recipe.patches:
        found = locked.pop(patch.id, None)
        file = found.file if isinstance(found, LockedPatch) else None
        if found is None or (file, found.commit) != (patch.file, patch.commit):
            yield Fault(place=f"{place}: patches", message=f"patch {patch.id!r} is not locked")
        elif (
            isinstance(found, LockedPatch)
            and patch.file
            and (found.sha256 != patch_digest(patch.file))
        ):
            yield Fault(
                place=f"{place}: patches",
                message=f"{patch.file} has other bytes than the locked {found.sha256[:12]}…",
            )
    for name in locked:
        yield Fault(place=f"{place}: patches", message=f"patch {name!r} left the recipe")


def _closures(recipe: Recipe, roots: Roots, lock: Lock, place: str) -> Iterator[Fault]:
    locked = {identity(closure): closure for closure in lock.closure}
    for wanted in expected_closures(recipe, roots, lock.source):
        found = locked.pop(identity(wanted), None)
        if found is None:
            yield Fault(place=f"{place}: closure", message=f"closure {wanted.title} is not locked")
        elif found.requires != wanted.requires:
            before, after = set(found.requires), set(wanted.requires)
            yield Fault(
                place=f"{place}: closure",
                message=f"closure {wanted.title}: requirements changed "
                f"(locked {sorted(before - after)}, now {sorted(after - before)})",
            )
    for closure in locked.values():
        message = f"closure {closure.title} is no longer needed"
        yield Fault(place=f"{place}: closure", message=message)


def _incomplete(recipe: Recipe, roots: Roots, lock: Lock, place: str) -> Iterator[Fault]:
    now = incomplete(recipe, roots, lock.source, lock.patches, lock.toolkit)
    if lock.incomplete != now:
        yield Fault(
            place=f"{place}: incomplete",
            message=f"the lock says {list(lock.incomplete)}, the recipe needs {list(now)}",
        )


class Slicer:
    """Cuts the inputs of targets out of one lock; what it looks up is indexed once."""

    def __init__(self, recipe: Recipe, lock: Lock) -> None:
        self.recipe, self._lock = recipe, lock
        self._wheels = {wheel.file: wheel for wheel in lock.wheels}
        self._closures = {identity(closure): closure for closure in lock.closure}
        self._sources = {source.version: source for source in lock.source}
        self._roots = {(root.id, root.arch): root for root in lock.root}
        self._locked_patches = {patch.id: patch for patch in lock.patches}
        self._host = next((name for name in self._closures if name[0] == "host"), ("host",))
        self._found: dict[tuple[object, ...], tuple[LockedWheel, ...]] = {}
        self._pending: dict[str, str] = {}

    def pending(self, version: str) -> str:
        """What of a version's source could not be reached when it was locked; empty: nothing."""
        if version not in self._pending:
            self._pending[version] = self._unreached(version)
        return self._pending[version]

    def _unreached(self, version: str) -> str:
        source = self._sources.get(version)
        reasons = [pending_source(self.recipe.name, source)] if source else []
        reasons += [pending_patch(patch) for patch in self._wanted_patches(version)]
        return "; ".join(filter(None, reasons))

    def complete(self, target: Target) -> bool:
        """Whether the lock could hold all that a target needs; its source may be pending."""
        source = self._sources.get(target.version)
        if source and self.recipe.go_of(target) and pending_files(source):
            return False
        return is_complete(self._lock, target.accelerator, target.root)

    def inputs(self, target: Target) -> Inputs:
        """The slice of the lock that a target is built from.

        :raises LockMissing: if the lock lacks part of it.
        """
        if reason := self.pending(target.version):
            raise LockMissing(
                f"{target.title} cannot be built: its source is not pinned",
                cause=reason,
                hint=f"where upstream can be reached: kvpack lock {target.recipe}; from a local "
                f"clone or a mirror: kvpack lock {target.recipe} "
                f"--source {target.recipe}=PATH_OR_URL",
            )
        for reason in self._lock.incomplete:
            if reason.startswith(f"accelerator {target.accelerator}:"):
                raise LockMissing(
                    f"{target.title} cannot be built: the lock is incomplete",
                    cause=reason,
                    hint="where its registry, or a mirror of it in kvpack.toml, answers: "
                    f"kvpack lock {target.recipe}; if the build needs no toolkit: "
                    f"build.toolkit.{target.accelerator} = [] in recipes/{target.recipe}.toml",
                )
            if reason.startswith(f"root {target.root}:"):
                first, *more = self.recipe.build.debian
                packages = f"{first} and {len(more)} more" if more else first
                raise LockMissing(
                    f"{target.title} cannot be built: its root is an image without {packages}",
                    cause=reason,
                    hint="choose a Python and a floor whose root takes them: "
                    f"kvpack show {target.recipe} calls the others incomplete",
                )
        source = self._sources.get(target.version)
        root = self._roots.get((target.root, target.arch))
        if source is None or isinstance(source, PendingGit | PendingArchive):
            raise _lacks(target, f"the source of version {target.version}")
        if root is None:
            raise _lacks(target, f"the root {target.root} for {target.arch}")
        if self.recipe.library is not None:
            return Inputs(
                target=target,
                source=source,
                patches=self._patches(target),
                root=root,
                **self._toolkit(target),
            )
        cell = (target.python, target.root, target.arch, None, None)
        tries = bool(self.recipe.audit.imports or self.recipe.audit.run)
        return Inputs(
            target=target,
            source=source,
            patches=self._patches(target),
            modules=modules_of(self.recipe, source, target),
            **self._environments(target),
            host=self._closure(target, *self._host),
            root=root,
            root_tools=() if root.image else self._closure(target, "root", None, *cell),
            imports=self._closure(target, "import", target.version, *cell) if tries else (),
            **self._toolkit(target),
        )

    def _toolkit(self, target: Target) -> dict[str, Any]:
        if target.accelerator == "cpu" or not self.recipe.build.toolkit_for(target.accelerator):
            return {}
        if image := image_for(self.recipe, self._lock, target):
            return {"toolkit_image": image}
        name = (None, None, None, target.arch, target.accelerator, None)
        return {"toolkit": self._closure(target, "toolkit", *name)}

    def _environments(self, target: Target) -> dict[str, Any]:
        """What each build of a target's wheel has as its environment."""
        place = (target.version, target.python, target.root, target.arch)
        if not target.torch:
            own = environment_of(self.recipe, target)
            return {"build": self._closure(target, "build", *place, own, None)}
        first, *more = (
            TorchBuild(
                minor=minor,
                wheels=self._closure(target, "build", *place, target.accelerator, minor),
            )
            for minor in target.torch
        )
        return {"build": first.wheels, "torch": tuple(more)}

    def _patches(self, target: Target) -> tuple[LockedPatch, ...]:
        """The patches of the target's version, in the order of the recipe."""
        found = self._wanted_patches(target.version)
        read = tuple(patch for patch in found if isinstance(patch, LockedPatch))
        for patch in self.recipe.patches_for(target.version):
            if patch.id not in {one.id for one in read}:
                raise _lacks(target, f"the patch {patch.id!r}")
        return read

    def _wanted_patches(self, version: str) -> list[AnyPatch]:
        names = (patch.id for patch in self.recipe.patches_for(version))
        return [self._locked_patches[name] for name in names if name in self._locked_patches]

    def _closure(self, target: Target, *name: object) -> tuple[LockedWheel, ...]:
        if name not in self._found:
            if name not in self._closures:
                raise _lacks(target, f"the {name[0]} closure of {target.title}")
            files = self._closures[name].files
            self._found[name] = tuple(self._wheels[file] for file in files)
        return self._found[name]


def inputs_for(recipe: Recipe, lock: Lock, target: Target) -> Inputs:
    """The slice of the lock that one target is built from.

    :raises LockMissing: if the lock lacks part of it.
    """
    return Slicer(recipe, lock).inputs(target)


def _lacks(target: Target, what: str) -> LockMissing:
    return LockMissing(
        f"lock/{target.recipe}.toml does not hold {what}",
        cause="the recipe offers it, but was locked before it did",
        hint=f"kvpack lock {target.recipe}",
    )
