"""Every locked input of recipes, and copying them into a storage (``kvpack mirror inputs``)."""

from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.console import human_size
from kvpack.errors import Fault, FetchFailed, KvpackError, OfflineMissing, SourceUnreachable

if TYPE_CHECKING:
    from kvpack.cli.supply import AnyWanted
    from kvpack.lock.model import Lock
    from kvpack.recipe.model import Recipe


def locked_inputs(recipe: "Recipe", lock: "Lock") -> "list[AnyWanted]":
    """All that a lock names: sources, commits, Go modules, Debian packages, wheels, images."""
    from kvpack.cli.remote import wanted_wheel
    from kvpack.cli.supply import wanted_change, wanted_modules, wanted_source
    from kvpack.cli.toolkitimages import image_parts
    from kvpack.fetch.model import Wanted
    from kvpack.lock.source import LockedPatch, PendingArchive, PendingGit

    found: list[AnyWanted] = []
    for source in lock.source:
        if not isinstance(source, PendingArchive | PendingGit):
            found += [*wanted_source(recipe, source), *wanted_modules(source.module)]
    for patch in lock.patches:
        if isinstance(patch, LockedPatch) and patch.commit:
            found.append(wanted_change(recipe, patch))
    for root in lock.root:
        found += [
            Wanted(
                registry="debian", place=deb.path, filename=deb.path.rpartition("/")[2],
                sha256=deb.sha256, size=deb.size,
            )
            for deb in root.packages
        ]  # fmt: skip
    found += [wanted_wheel(wheel) for wheel in lock.wheels]
    found += [part for image in lock.toolkit for part in image_parts(image)]
    return list(dict.fromkeys(found))  # not by sha256: versions of a Go module share a go.mod


def mirror_inputs(recipes: list[str], to: str, context: Context, *, single_writer: bool) -> int:
    """Bring all inputs of recipes into a storage; what it has already is not fetched.

    :returns: the exit code; as JSON, a failure stands in the one document.
    :raises FetchFailed: and others, after everything else was written.
    """
    from kvpack.cli.inputimages import mirror_images
    from kvpack.cli.planning import library_names, read_checked_lock
    from kvpack.cli.publish import open_storage
    from kvpack.fetch.mirrors import input_place
    from kvpack.publish.inputs import present, put_inputs
    from kvpack.recipe.load import load_recipe

    wanted: dict[str, AnyWanted] = {}
    images: set[str] = set()
    pending: list[str] = []
    names = context.recipe_names(recipes)
    for name in dict.fromkeys((*names, *library_names(context, names))):
        recipe = load_recipe(context.catalogue, name)
        lock = read_checked_lock(context, recipe)
        wanted |= {one.sha256: one for one in locked_inputs(recipe, lock)}
        images |= {root.image for root in lock.root if root.image}
        pending += [f"{name}: {reason}" for reason in lock.incomplete]
    objects = open_storage(to, context, single_writer=single_writer)
    places = {input_place(sha256): sha256 for sha256 in wanted}
    there = present(objects, list(places))
    needed = [sha256 for place, sha256 in places.items() if place not in there]
    failed = _supplied(context, [wanted[sha256] for sha256 in needed])
    files = [
        (place, context.store.check(sha256))
        for place, sha256 in places.items()
        if context.store.has(sha256)
    ]
    with context.console.step(f"Writing to {objects.name}"):
        done = put_inputs(objects, files)
    mirrored, refused = mirror_images(sorted(images), objects, context)
    error = failed or (_images_failed(refused) if refused else None)
    answer = {
        "storage": objects.name, "inputs": len(wanted), "new": done.new, "bytes": done.size,
        "images": mirrored, "images-missing": [image for image, _ in refused],
        "incomplete": pending, "error": error.as_json() if error else None,
    }  # fmt: skip
    _show(answer, context)
    if error is None or context.console.as_json:
        return error.exit_code if error else 0
    raise error


def _images_failed(refused: "list[tuple[str, KvpackError]]") -> KvpackError:
    count = len(refused)
    return type(refused[0][1])(
        f"{count} image{'s' if count > 1 else ''} could not be mirrored; all else was",
        cause="builds on their roots still need their registry",
        hint=refused[0][1].hint,
        faults=[Fault(place=image, message=error.cause or error.what) for image, error in refused],
    )


def _supplied(context: Context, wanted: "list[AnyWanted]") -> KvpackError | None:
    """Fetch what can be had; the failure is told at the end."""
    from kvpack.cli.supply import supply

    try:
        supply(context, wanted)
    except (FetchFailed, OfflineMissing, SourceUnreachable) as error:
        return error
    return None


def _show(answer: dict[str, Any], context: Context) -> None:
    console = context.console
    if console.as_json:
        console.answer("mirror-inputs", answer)
        return
    console.print(
        f"{answer['storage']}: {answer['inputs']} inputs, {answer['new']} of them new "
        f"({human_size(answer['bytes'])})"
    )
    for one in answer["images"]:
        console.print(
            f"the image {one['image']}: {one['parts']} parts, {one['new']} of them new "
            f"({human_size(one['bytes'])})"
        )
    for image in answer["images-missing"]:
        console.print(f"not mirrored: the image {image}")
    for reason in answer["incomplete"]:
        console.print(f"not mirrored, because it is not locked: {reason}")
    console.print(f'kvpack.toml: [mirrors] inputs = ["{answer["storage"]}"]')
