"""What a wheel says it was made from, against locks: the catalogue's, and those of its release."""

from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.errors import CatalogueError, LockDrift, LockInvalid, LockMissing, TargetUnavailable

if TYPE_CHECKING:
    from kvpack.cli.verify_places import Place
    from kvpack.publish.attest import Embedded
    from kvpack.publish.attest_checks import Check
    from kvpack.publish.model import Release


def lock_check(recipe: str | None, context: Context, inside: "Embedded | None") -> "Check":
    """Compare the inputs that the wheel names with those of the catalogue's locks."""
    from kvpack.publish.attest_checks import Check, outcome

    if recipe is None:
        return Check("lock", "not checked", "no --recipe was given")
    if inside is None:
        return Check("lock", "not checked", "the wheel carries no action: not built by kvpack")
    try:
        locked, differs = _locked(context, recipe, inside.document)
    except (LockMissing, CatalogueError, TargetUnavailable) as error:
        return Check("lock", "not checked", error.what)
    except (LockInvalid, LockDrift) as error:
        return Check("lock", "failed", error.what)
    wrong = ""
    if differs or inside.lock_digest != f"sha256:{locked}":
        wrong = f"lock/{recipe}.toml names other inputs: {differs}"
        if differs.startswith("libraries "):
            wrong = f"the locks of native libraries name other inputs: {differs}"
    return outcome("lock", wrong, f"lock/{recipe}.toml names the same inputs")


def _locked(context: Context, name: str, action: dict[str, Any]) -> tuple[str, str]:
    """Digest of a target's slice of the lock, and the first difference to an action."""
    from kvpack.build.difference import first_difference
    from kvpack.build.key import lock_digest
    from kvpack.cli.planning import plan_for, read_checked_lock
    from kvpack.lock.check import Slicer
    from kvpack.recipe.expand import matrix
    from kvpack.recipe.load import load_recipe

    recipe = load_recipe(context.catalogue, name)
    said, of = action.get("target") or {}, action.get("recipe") or {}
    targets = [
        one.model_copy(update={"torch": tuple(said.get("torch") or ())})
        for one in (
            matrix(recipe, context.roots, str(of.get("version")))
            if of.get("name") == name and of.get("version") in recipe.versions
            else ()
        )
        if (one.python_tag, one.glibc, one.arch, one.accelerator)
        == tuple(said.get(axis) for axis in ("python", "glibc", "arch", "accelerator"))
    ]
    if not targets:
        raise TargetUnavailable(f"recipe {name} offers no such target")
    plan = plan_for(context, recipe, Slicer(recipe, read_checked_lock(context, recipe)), targets[0])
    found = first_difference(_locks_in(action), _locks_in(plan.action))
    return lock_digest(plan.inputs), found or ""


def _locks_in(action: dict[str, Any]) -> dict[str, Any]:
    """What an action says of locks: of its own, and of those of the native libraries below it."""
    below = {name: _locks_in(one) for name, one in (action.get("libraries") or {}).items()}
    return {"lock": action.get("lock"), **({"libraries": below} if below else {})}


def library_checks(
    place: "Place", inside: "Embedded | None", release: "Release | None"
) -> "list[Check]":
    """Whether the locks of the native libraries below the wheel are kept beside its own."""
    from kvpack.publish.attest_checks import unchecked
    from kvpack.publish.librarylocks import NAME, library_locks

    action = inside.document if inside else {}
    if not action.get("libraries"):
        return []
    if release is None or place.storage is None:
        return unchecked(
            (NAME,), "no release was found; --recipe compares with a catalogue's locks"
        )
    repair = f"repair it from another storage: kvpack mirror sync OTHER {place.root}"
    found = library_locks(action, release, place.storage, repair=repair)
    return [found] if found else []
