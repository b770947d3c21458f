"""Which images of a store may go: those that no plan and no kept result needs, and nobody uses.

An image goes only if kvpack made it for this store: the store's record has its id, or it bears the
store's label under a name that kvpack gives. What an image that stays lies on, stays as well.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.cli.images import claim_path, store_mark
from kvpack.errors import EngineMissing, KvpackError, LockMissing, ToolFailed
from kvpack.tools.claims import unclaimed
from kvpack.tools.engine import Engine, candidates, reachable
from kvpack.tools.engineimages import NAMED, OURS, STORE, Image, images, own_size, remove

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan

Records = dict[str, dict[str, Any]]
"""Name of a record -> what it says, of one engine."""


@dataclass
class Swept:
    """What became of the images of one store."""

    removed: list[dict[str, Any]] = field(default_factory=list)
    """Name, engine, and bytes given back."""
    kept: dict[str, int] = field(default_factory=dict)
    """Why -> how many of this store stay."""
    others: int = 0
    """Images that another store made, or a kvpack that noted no store: they are not looked at."""
    notes: list[str] = field(default_factory=list)
    """Why nothing was looked at."""

    @property
    def size(self) -> int:
        return sum(int(one["bytes"]) for one in self.removed)

    def stays(self, why: str) -> None:
        self.kept[why] = self.kept.get(why, 0) + 1


BY_PLAN = "needed by what a recipe builds now"
BY_RESULT = "a kept result was built in it: --keep-results DAYS drops old results"
BY_IMAGE = "another image that stays lies on it"
RENAMED = "it has a name that kvpack did not give"
CLAIMED = "a running kvpack uses it"
IN_USE = "the engine keeps it: a container or another image uses it"


def sweep(context: Context, roots: Sequence[Path], dropped: Collection[str], *, dry: bool) -> Swept:
    """Remove the images that nothing needs.

    :param roots: the folders of the catalogues whose plans count.
    :param dropped: keys of results that do not count any more.
    :param dry: only say what would go.
    """
    swept = Swept()
    if not _ever_made(context):
        return swept
    try:
        engines = reachable(context.store, context.console) if candidates(context.store) else []
    except EngineMissing as error:
        engines = []
        swept.notes.append(f"images were left: {error.what}: {error.cause}")
    for name in dict.fromkeys(one.name for one in engines):
        engine = next(one for one in engines if one.name == name)
        try:
            there = images(engine, context.console)
        except ToolFailed as error:
            swept.notes.append(f"images of {name} were left: {error.what}: {error.cause}")
            continue
        records = {
            key: record
            for key, record in context.store.records("roots")
            if key.endswith(f"-{name}")
        }
        mine = []
        for image in there:
            whose = _whose(context, image, records)
            if whose:
                mine.append(image)
            swept.others += whose is False
        if mine:
            try:
                needed = _by_plans(context, roots, engine, dropped)
            except KvpackError as error:
                swept.notes.append(f"images were left: {error.what}; next: {error.hint}")
                continue
            chains = _chains(context, dropped)
            _sweep(context, (engine, records), (there, mine), (needed, chains), swept, dry=dry)
    return swept


def _ever_made(context: Context) -> bool:
    """Whether this store ever began an image: else no engine is asked."""
    root = context.store.root
    return any(True for _ in root.glob("roots/*.json")) or any(
        True for _ in root.glob("locks/root-*")
    )


def _whose(context: Context, image: Image, records: Records) -> bool | None:
    """Whether kvpack made an image for this store; ``None``: it is not kvpack's at all.

    Whoever builds FROM an image of kvpack inherits its labels, but neither its name nor its id.
    """
    recorded = any(record.get("id") == image.id for record in records.values())
    if OURS not in image.labels:
        return None
    if not recorded and not any(_gives(name, image.labels[OURS]) for name in image.names):
        return None
    mark = image.labels.get(STORE)
    return mark == store_mark(context.store) or (mark is None and recorded)


def _gives(name: str, key: str) -> bool:
    """Whether kvpack gives that name to an image with that key."""
    tag = name.rpartition(":")[2]
    return name.startswith(NAMED) and tag.startswith(f"{key[:16]}-")


# -- what is needed -------------------------------------------------------------------------------


def _by_plans(
    context: Context, roots: Sequence[Path], engine: Engine, dropped: Collection[str]
) -> set[str]:
    """The names of the records of all images that the recipes of catalogues build in.

    :raises KvpackError: if a recipe cannot be planned: what it needs is not known then.
    """
    from kvpack.cli.libraries import stored_library
    from kvpack.cli.workshop import layered, layers_key

    found: set[str] = set()
    for root in roots:
        options = Options(root=root, store=context.store.root, offline=True)
        looking = Context(options, context.console, looked=found)
        seen: set[str] = set()
        for plan in _plans(looking):
            libraries = []
            for library in plan.libraries:
                built = stored_library(looking, library)
                if built is None or library.key in dropped:
                    break  # what would lie over it goes, too
                libraries.append(built)
            key = layers_key(looking, plan.inputs, libraries)
            if key not in seen:
                seen.add(key)
                with contextlib.suppress(KvpackError):  # it was not made yet
                    layered(looking, plan.inputs, engine, libraries)
    return found


def _plans(context: Context) -> "Iterator[BuildPlan]":
    from kvpack.cli.planning import complete, plan_for, read_checked_lock
    from kvpack.lock.check import Slicer
    from kvpack.recipe.expand import matrix
    from kvpack.recipe.load import load_recipe

    for name in context.catalogue.names:
        recipe = load_recipe(context.catalogue, name)
        try:
            slicer = Slicer(recipe, read_checked_lock(context, recipe))
        except LockMissing:
            continue  # nothing can be built from it
        for version in recipe.versions:
            for target in matrix(recipe, context.roots, version):
                with contextlib.suppress(LockMissing):  # a source that is not pinned
                    if complete(context, slicer, target):
                        yield plan_for(context, recipe, slicer, target)


def _chains(context: Context, dropped: Collection[str]) -> set[str]:
    """The digests of the images that kept results were built in."""
    return {
        str(record["root"])
        for key, record in context.store.records("actions")
        if key not in dropped and record.get("root")
    }


# -- removing -------------------------------------------------------------------------------------


def _sweep(
    context: Context,
    engine_and_records: tuple[Engine, Records],
    found: tuple[list[Image], list[Image]],
    needs: tuple[set[str], set[str]],
    swept: Swept,
    *,
    dry: bool,
) -> None:
    """Decide on each image, those first that lie on others."""
    engine, records = engine_and_records
    there, mine = found
    left = list(there)
    for image in sorted(mine, key=lambda one: -len(one.layers)):
        own = {name: record for name, record in records.items() if record.get("id") == image.id}
        size = own_size(image, [one for one in left if one is not image])
        why = _reason(image, own, needs, left)
        why = why or _removed(context, engine, (image, own), dry=dry)
        if why is not None:
            swept.stays(why)
            continue
        left.remove(image)
        shown = image.names[0] if image.names else image.id[:19]
        swept.removed.append({"image": shown, "engine": engine.name, "bytes": size})


def _reason(
    image: Image, own: Records, needs: tuple[set[str], set[str]], left: list[Image]
) -> str | None:
    """Why an image stays; ``None``: nothing needs it."""
    planned, chains = needs
    if own.keys() & planned:
        return BY_PLAN
    # Records of older kvpacks have no chain; of what lies on nothing, it is the image's own digest.
    if {str(record.get("chain") or record.get("sha256")) for record in own.values()} & chains:
        return BY_RESULT
    if any(not _gives(name, image.labels[OURS]) for name in image.names):
        return RENAMED
    # Of two with the same layers, another store's for instance, it may be the other one.
    twin = any(one.layers == image.layers for one in left if one is not image)
    return BY_IMAGE if not twin and any(one.lies_on(image) for one in left) else None


def _removed(
    context: Context, engine: Engine, what: tuple[Image, Records], *, dry: bool
) -> str | None:
    """Remove an image and its records, unless somebody claims it; why it stays."""
    image, own = what
    names = list(own) or [f"{image.labels[OURS]}-{engine.name}"]
    with contextlib.ExitStack() as held:
        free = [held.enter_context(unclaimed(claim_path(context.store, name))) for name in names]
        if not all(free):
            return CLAIMED
        if dry:
            return None
        if not remove(engine, image, context.console):
            return IN_USE
        for name in own:
            context.store.remove_record("roots", name)
    return None
