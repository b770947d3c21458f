"""Does the lock still say what the recipe asks for? Offline, and all differences at once."""

from collections.abc import Callable, Iterator

from kvpack.errors import Fault, LockDrift, LockMissing
from kvpack.lock.expect import expected_closures, identity, include_for, incomplete, used_roots
from kvpack.lock.model import (
    Closure,
    Inputs,
    Lock,
    LockedPatch,
    LockedRoot,
    LockedSource,
    LockedWheel,
)
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
        *_roots(recipe, roots, lock, place),
        *_incomplete(recipe, lock, place),
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
        elif source.project != release.source.sdist:
            yield Fault(
                place=f"{place}: source",
                message=f"version {version} is locked to the sdist of {source.project!r}, "
                f"the recipe names {release.source.sdist!r}",
            )
        elif release.epoch not in {None, source.epoch}:
            yield Fault(
                place=f"{place}: source",
                message=f"epoch {source.epoch} is locked, the recipe says {release.epoch}",
            )
    for version in locked:
        yield Fault(place=f"{place}: source", message=f"version {version} left the recipe")


def _patches(
    recipe: Recipe, lock: Lock, place: str, patch_digest: Callable[[str], str]
) -> Iterator[Fault]:
    locked = {patch.id: patch for patch in lock.patches}
    for patch in recipe.patches:
        found = locked.pop(patch.id, None)
        if found is None or found.file != patch.file:
            yield Fault(place=f"{place}: patches", message=f"patch {patch.id!r} is not locked")
        elif found.sha256 != patch_digest(patch.file):
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
            yield Fault(place=f"{place}: closure", message=f"{_named(wanted)} is not locked")
        elif found.requires != wanted.requires:
            before, after = set(found.requires), set(wanted.requires)
            yield Fault(
                place=f"{place}: closure",
                message=f"{_named(wanted)}: requirements changed "
                f"(locked {sorted(before - after)}, now {sorted(after - before)})",
            )
    for closure in locked.values():
        yield Fault(place=f"{place}: closure", message=f"{_named(closure)} is no longer needed")


def _roots(recipe: Recipe, roots: Roots, lock: Lock, place: str) -> Iterator[Fault]:
    locked = {(root.id, root.arch): root for root in lock.root}
    for kind, arch in used_roots(recipe, roots):
        found = locked.pop((kind.id, arch), None)
        if found is None:
            yield Fault(place=f"{place}: root", message=f"{kind.id} {arch} is not locked")
        elif kind.family == "debian" and found.include != include_for(recipe, roots, kind):
            before, after = set(found.include), set(include_for(recipe, roots, kind))
            yield Fault(
                place=f"{place}: root",
                message=f"{kind.id} {arch}: packages changed "
                f"(locked {sorted(before - after)}, now {sorted(after - before)})",
            )
    for root_id, arch in locked:
        yield Fault(place=f"{place}: root", message=f"{root_id} {arch} is no longer used")


def _incomplete(recipe: Recipe, lock: Lock, place: str) -> Iterator[Fault]:
    if lock.incomplete != incomplete(recipe):
        yield Fault(
            place=f"{place}: incomplete",
            message=f"the lock says {list(lock.incomplete)}, the recipe needs "
            f"{list(incomplete(recipe))}",
        )


def inputs_for(recipe: Recipe, lock: Lock, target: Target) -> Inputs:
    """The slice of the lock that a target is built from.

    :raises LockMissing: if the lock lacks part of it.
    """
    if any(reason.startswith(f"accelerator {target.accelerator}:") for reason in lock.incomplete):
        raise LockMissing(
            f"{target.title} cannot be built: the lock is incomplete",
            cause=next(
                r for r in lock.incomplete if r.startswith(f"accelerator {target.accelerator}:")
            ),
            hint="build the cpu target (--cpu); this version of kvpack locks no toolkits",
        )
    return Inputs(
        target=target,
        source=_locked_source(lock, target),
        patches=_locked_patches(recipe, lock, target),
        build=_wheels(lock, target, "build"),
        host=_wheels(lock, target, "host"),
        root=_locked_root(lock, target),
        root_tools=_wheels(lock, target, "root"),
        imports=_wheels(lock, target, "import"),
    )


def _locked_source(lock: Lock, target: Target) -> LockedSource:
    for source in lock.source:
        if source.version == target.version:
            return source
    raise _lacks(target, f"the source of version {target.version}")


def _locked_patches(recipe: Recipe, lock: Lock, target: Target) -> tuple[LockedPatch, ...]:
    """Those that apply, in the recipe's order: that is the order in which they are applied."""
    locked = {patch.id: patch for patch in lock.patches}
    wanted = [patch.id for patch in recipe.patches_for(target.version)]
    for name in wanted:
        if name not in locked:
            raise _lacks(target, f"the patch {name!r}")
    return tuple(locked[name] for name in wanted)


def _locked_root(lock: Lock, target: Target) -> LockedRoot:
    for root in lock.root:
        if (root.id, root.arch) == (target.root, target.arch):
            return root
    raise _lacks(target, f"the root {target.root} for {target.arch}")


def _wheels(lock: Lock, target: Target, use: str) -> tuple[LockedWheel, ...]:
    for closure in lock.closure:
        if closure.use == use and all(
            mine in {None, theirs}
            for mine, theirs in (
                (closure.version, target.version),
                (closure.python if use != "host" else None, target.python),
                (closure.root, target.root),
                (closure.arch, target.arch),
            )
        ):
            return lock.wheels_of(closure)
    if use in {"build", "host"}:  # no target does without; the others may
        raise _lacks(target, f"the {use} closure of {target.title}")
    return ()


def _lacks(target: Target, what: str) -> LockMissing:
    return LockMissing(
        f"lock/{target.recipe}.toml does not hold {what}",
        cause="the recipe offers it, but was locked before it did",
        hint=f"kvpack lock {target.recipe}",
    )


def _named(closure: Closure) -> str:
    parts = (closure.use, closure.version, closure.python, closure.root, closure.arch)
    return "closure " + " ".join(str(part) for part in parts if part)
