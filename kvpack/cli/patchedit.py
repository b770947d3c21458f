"""``kvpack patches add`` and ``drop``: recipe, lock and patch file change together, or none do."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.errors import (
    Fault,
    KvpackError,
    OfflineMissing,
    PatchFailed,
    RecipeInvalid,
    SourceUnreachable,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvpack.lock.model import Lock
    from kvpack.lock.source import LockedPatch
    from kvpack.recipe.model import Patch, Recipe

    Edit = Callable[[str], str]


def add(context: Context, name: str, what: str, fields: Mapping[str, str | None]) -> None:
    """Add a patch: everything is tried first, and the files are written last.

    :raises UsageError: if ``what`` is neither a file nor a commit, or is there already.
    :raises RecipeInvalid: if the recipe would have faults.
    :raises PatchFailed: if a version in its range does not take it.
    """
    from kvpack.cli.planning import read_checked_lock
    from kvpack.lock.source import LockedPatch
    from kvpack.recipe.edit import add_patch
    from kvpack.recipe.load import load_recipe
    from kvpack.tools.files import sha256_of

    old = load_recipe(context.catalogue, name)
    lock = read_checked_lock(context, old)
    is_commit = re.fullmatch(r"[0-9a-f]{40}", what) is not None
    file, data = (None, b"") if is_commit else _read(context, name, what)
    default = what[:12] if is_commit else re.sub(r"[^a-z0-9]+", "-", Path(what).stem.lower())
    written = {
        "id": fields["id"] or default.strip("-"),
        **({"commit": what} if is_commit else {"file": str(file)}),
        **{key: str(fields[key]) for key in ("when", "upstream", "why") if fields[key]},
    }
    place = context.catalogue.recipe_path(name)
    recipe, text = _edited(context, name, lambda now: add_patch(now, written))
    patch = recipe.patches[-1]
    _try_on_versions(context, recipe, patch, data)
    if is_commit:
        data = _change(context, recipe, patch)
    locked = LockedPatch(id=patch.id, file=patch.file, commit=patch.commit, sha256=sha256_of(data))
    new = _relocked(context, recipe, lock, {locked.id: locked})
    files: dict[Path, bytes | None] = {}
    if file is not None:
        files[context.catalogue.patch_path(name, file)] = data
    _write(context, files, (place, text), new)
    _told(context, f"patch {patch.id} added to {context.catalogue.shown(place)} and its lock",
          recipe.name, patch.id)  # fmt: skip


def drop(context: Context, name: str, patch_id: str) -> None:
    """Drop a patch from recipe, lock and patches/.

    :raises UsageError: if the recipe has no such patch.
    """
    from kvpack.cli.planning import read_checked_lock
    from kvpack.names import did_you_mean
    from kvpack.recipe.edit import drop_patch
    from kvpack.recipe.load import load_recipe

    old = load_recipe(context.catalogue, name)
    lock = read_checked_lock(context, old)
    ids = [patch.id for patch in old.patches]
    if patch_id not in ids:
        raise UsageError(
            f"recipe {name} has no patch {patch_id!r}",
            cause=did_you_mean(patch_id, ids),
            hint=f"kvpack patches status {name} lists them",
        )
    gone = old.patches[ids.index(patch_id)]
    recipe, text = _edited(context, name, lambda now: drop_patch(now, ids.index(patch_id)))
    files: dict[Path, bytes | None] = {}
    if gone.file is not None and gone.file not in {patch.file for patch in recipe.patches}:
        files[context.catalogue.patch_path(name, gone.file)] = None
    place = context.catalogue.recipe_path(name)
    _write(context, files, (place, text), _relocked(context, recipe, lock, {}))
    _told(context, f"patch {patch_id} dropped from {context.catalogue.shown(place)} and its lock",
          name, patch_id)  # fmt: skip


def _told(context: Context, words: str, recipe: str, patch: str) -> None:
    if context.console.as_json:
        context.console.answer("patches", {"recipe": recipe, "patch": patch, "done": words})
    else:
        context.console.print(words)


def _read(context: Context, name: str, what: str) -> tuple[str, bytes]:
    """A patch file's name and bytes."""
    from kvpack.fetch.gittext import hunks_of

    path = Path(what)
    if not path.is_file():
        raise UsageError(
            f"{what} is neither a file nor the 40 hexadecimal digits of a commit",
            hint="kvpack patches add RECIPE FILE|COMMIT --why TEXT",
        )
    data = path.read_bytes()
    if not hunks_of(data):
        raise PatchFailed(
            f"{what} is not a patch",
            cause="it has no file with --- and +++ lines (diff -u, git diff)",
            hint="git format-patch -1 COMMIT makes one",
        )
    file = re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]+", "-", path.stem).strip("-") + ".patch"
    target = context.catalogue.patch_path(name, file)
    if target.is_file() and target.read_bytes() != data:
        raise UsageError(
            f"{context.catalogue.shown(target)} exists, with other bytes",
            hint="rename the file, or edit that one and run: kvpack lock " + name,
        )
    return file, data


def _edited(context: Context, name: str, edit: "Edit") -> "tuple[Recipe, str]":
    """The recipe after an edit of its text.

    :raises RecipeInvalid: with the faults that it would have.
    """
    from kvpack.recipe.load import parse_recipe

    path = context.catalogue.recipe_path(name)
    shown = context.catalogue.shown(path)
    try:
        text = edit(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{shown} cannot be edited: {error}") from None
    recipe, faults = parse_recipe(text.encode(), shown)
    if recipe is not None:
        ids = [patch.id for patch in recipe.patches]
        faults += [
            Fault(place=f"{shown}: patches", message=f"the id {one!r} is used twice", hint="--id")
            for one in sorted({one for one in ids if ids.count(one) > 1})
        ]
    if recipe is None or faults:
        raise RecipeInvalid(
            f"{shown} would have {len(faults)} fault(s)",
            cause="a value that was given is not of its kind",
            hint="nothing was changed; correct it and run the same command again",
            faults=faults,
        )
    return recipe, text


def _try_on_versions(context: Context, recipe: "Recipe", patch: "Patch", data: bytes) -> None:
    """Apply the patch, behind those before it, to every version of its range that can be had.

    :raises PatchFailed: with every version that does not take it.
    """
    from kvpack.cli.patchtree import source_tree, text_of
    from kvpack.fetch.patchstate import State, judge
    from kvpack.recipe.versions import applies

    versions = [version for version in recipe.versions if applies(patch.when, version)]
    if not versions:
        raise UsageError(
            f"--when {patch.when} holds for no version of {recipe.name}",
            cause=f"it has {', '.join(recipe.versions)}",
            hint="leave --when out, or correct the range",
        )
    faults = []
    for version in versions:
        before = recipe.model_copy(update={"patches": recipe.patches[:-1]})
        try:
            with source_tree(context, before, version) as (tree, shown):
                for earlier in before.patches_for(version):
                    tree.apply(text_of(context, before, earlier))
                found = judge(data or _change(context, recipe, patch), tree)
        except (SourceUnreachable, OfflineMissing) as error:
            context.console.warn(f"the patch was not tried on version {version}: {error.what}")
            continue
        if found.state is not State.NEEDED:
            message = "; ".join([found.state.value, *found.hunks])
            faults.append(Fault(place=shown, message=message))
    if faults:
        raise PatchFailed(
            f"patch {patch.id} does not fit {len(faults)} of {len(versions)} version(s) it is for",
            cause="the source holds the change already, or something else at its place",
            hint="limit it with --when, or make it anew; nothing was changed",
            faults=faults,
        )


def _change(context: Context, recipe: "Recipe", patch: "Patch") -> bytes:
    from kvpack.cli.patchtree import text_of

    if recipe.git_for(patch) is None:
        raise UsageError(
            f"recipe {recipe.name} has no git source to take commit {patch.commit} from",
            hint="save the change as a file (git format-patch) and add that",
        )
    return text_of(context, recipe, patch)


def _relocked(
    context: Context, recipe: "Recipe", lock: "Lock", new: "dict[str, LockedPatch]"
) -> "Lock":
    """The lock with the recipe's patches; nothing else moves."""
    from kvpack.lock.expect import incomplete
    from kvpack.lock.file import seal

    known = {patch.id: patch for patch in lock.patches}
    known.update(new)
    patches = tuple(known[patch.id] for patch in recipe.patches)
    missing = incomplete(recipe, context.roots, lock.source, patches, lock.toolkit)
    return seal(lock.model_copy(update={"patches": patches, "incomplete": missing}))


def _write(
    context: Context,
    files: dict[Path, bytes | None],
    recipe: tuple[Path, str],
    lock: "Lock",
) -> None:
    """Replace all files, or put back those that were replaced.

    Patch files come before the recipe that names them, and go after it.
    """
    from kvpack.lock.file import dump
    from kvpack.tools.files import atomic_write

    path, text = recipe
    added = {place: data for place, data in files.items() if data is not None}
    removed = [place for place, data in files.items() if data is None]
    lock_path = context.catalogue.lock_path(lock.recipe)
    todo = {**added, path: text.encode(), lock_path: dump(lock).encode()}
    before = {place: place.read_bytes() if place.is_file() else None for place in todo}
    try:
        for place, data in todo.items():
            with atomic_write(place) as stream:
                stream.write(data)
        for place in removed:
            place.unlink(missing_ok=True)
    except (OSError, KvpackError, KeyboardInterrupt):
        for place, old in before.items():
            if old is None:
                place.unlink(missing_ok=True)
            elif place.read_bytes() != old:
                with atomic_write(place) as stream:
                    stream.write(old)
        raise
