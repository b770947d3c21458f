"""Where an image may be had: mirrors that ``kvpack.toml`` names, then the registry that it names.

Beside these, skopeo and podman know the mirrors of the host (``registries.conf``).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from kvpack.cli.context import Context
from kvpack.errors import DigestMismatch, Fault, FetchFailed, KvpackError, ResolutionFailed

T = TypeVar("T")


def image_places(context: Context, image: str) -> list[str]:
    """The names to ask for an image by, in order; a digest stays what it is."""
    mirrors = context.registries.config().registries.images.mirrors
    found = [
        other + image.removeprefix(start)
        for start, others in mirrors.items()
        if image.startswith(start)
        for other in others
    ]
    return list(dict.fromkeys([*found, image]))


def manifest_of(context: Context, image: str) -> bytes:
    """What the first place that answers says of an image's name.

    :raises FetchFailed: if the image's own registry does not answer, and no mirror has it.
    :raises ResolutionFailed: if that registry answers that there is no such image.
    """
    from kvpack.tools.skopeo import manifest

    with context.store.scratch("image") as folder:
        return _first(context, image, lambda one: manifest(one, folder / "raw", context.console))


def copied_image(context: Context, image: str, folder: Path) -> Path:
    """Copy an image by digest from the first place that has it; the folder that holds its parts.

    :param folder: an empty one.
    :raises FetchFailed: if no place gives it.
    :raises DigestMismatch: if one gives other bytes, and none the right ones.
    """
    from kvpack.tools.skopeo import copy_to_folder

    def copy(place: str) -> Path:
        target = folder / f"copy-{len(list(folder.iterdir()))}"
        copy_to_folder(place, target, context.console)
        return target

    return _first(context, image, copy)


def _first(context: Context, image: str, ask: Callable[[str], T]) -> T:
    errors: list[tuple[str, KvpackError]] = []
    for place in image_places(context, image):
        try:
            return ask(place)
        except (FetchFailed, DigestMismatch, ResolutionFailed) as error:
            context.console.detail(f"{place}: {error.cause}")
            errors.append((place, error))
    raise _none(image, errors)


def _none(image: str, errors: Sequence[tuple[str, KvpackError]]) -> KvpackError:
    """What the image's own registry said counts, unless a place gave other bytes."""
    last = errors[-1][1]
    wrong = next((error for _, error in errors if isinstance(error, DigestMismatch)), last)
    if len(errors) == 1:
        return last
    what = wrong.what
    for place, error in errors:
        if error is wrong:
            what = what.replace(place, image)
    return type(wrong)(
        what,
        cause=f"none of its {len(errors)} places gives it",
        hint=last.hint,
        faults=[Fault(place=place, message=error.cause) for place, error in errors],
    )
