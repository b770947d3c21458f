"""Images of toolkits: what their registries say of a tag, and their parts in the store.

Registries and their mirrors are asked with skopeo, which reads the host's configuration and
credentials (registries.conf, containers-auth.json) as podman does. Every part is kept under its
sha256, as a lock names it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.cli.imageplaces import copied_image, manifest_of
from kvpack.cli.inputimages import obtained
from kvpack.console import human_size
from kvpack.errors import FetchFailed, KvpackError, OfflineMissing, ResolutionFailed
from kvpack.fetch.model import PartWanted
from kvpack.names import Arch

if TYPE_CHECKING:
    from kvpack.lock.model import LockedImage
    from kvpack.lock.toolkit import FoundImage


def find_image(context: Context, image: str, arch: Arch) -> "FoundImage":
    """What a tag names for an architecture; a registry is asked once in a run.

    :raises FetchFailed: if the registry does not answer.
    :raises ResolutionFailed: if it has no such tag, or nothing for the architecture.
    """
    known = context.images.get((image, arch))
    if known is None:
        try:
            known = _asked(context, image, arch)
        except (FetchFailed, ResolutionFailed) as error:
            known = error
        context.images[image, arch] = known
    if isinstance(known, KvpackError):
        raise known
    return known


def _asked(context: Context, image: str, arch: Arch) -> "FoundImage":
    from kvpack.lock.model import LockedLayer
    from kvpack.lock.toolkit import FoundImage
    from kvpack.publish.imageparts import read
    from kvpack.tools.files import sha256_of

    place = image.rpartition(":")[0]
    with context.console.step(f"Asking for {image}"):
        try:
            text = _manifest_for(context, image, arch)
            layers = read(text).layers
        except ValueError as error:
            raise _no_toolkit(image, arch, str(error)) from None
    if not layers:
        raise _no_toolkit(image, arch, "it has no layers")
    named = tuple(LockedLayer(sha256=one.sha256, size=one.size) for one in layers)
    return FoundImage(f"{place}@sha256:{sha256_of(text)}", named)


def _manifest_for(context: Context, image: str, arch: Arch) -> bytes:
    """The manifest behind a tag, of an architecture where the tag names a list.

    :raises ValueError: if it is none, with the reason in words for people.
    """
    from kvpack.publish.imageparts import read
    from kvpack.tools.engine import oci_platform

    text = manifest_of(context, image)
    if (found := read(text)).listed:
        digest = found.for_platform(oci_platform(arch)).sha256
        return manifest_of(context, f"{image.rpartition(':')[0]}@sha256:{digest}")
    return text


def _no_toolkit(image: str, arch: Arch, cause: str) -> ResolutionFailed:
    return ResolutionFailed(
        f"the image {image} cannot be a toolkit for {arch}",
        cause=cause,
        hint="name another image: build.toolkit-image in the recipe",
    )


def image_parts(image: "LockedImage") -> list[PartWanted]:
    """What of a locked image is kept: its manifest and its layers."""
    found = [PartWanted(image=image.image, sha256=image.image[-64:])]
    return found + [
        PartWanted(image=image.image, sha256=layer.sha256, size=layer.size)
        for layer in image.layers
    ]


def supply_parts(context: Context, parts: Sequence[PartWanted]) -> None:
    """Bring parts of images into the store: from the mirrors of inputs, else from their registries.

    :raises OfflineMissing: if a registry would have to be asked.
    :raises FetchFailed: if one does not give an image.
    :raises DigestMismatch: if it gives another.
    """
    for image in dict.fromkeys(part.image for part in parts):
        wanted = {part.sha256: part.size for part in parts if part.image == image}
        with context.store.lock(f"image-{image[-64:]}"):
            if not obtained(context, list(wanted.items())):
                _copied(context, image, wanted)


def _copied(context: Context, image: str, wanted: dict[str, int | None]) -> None:
    """Copy an image from its registry; every file of it that is wanted becomes a blob."""
    from kvpack.tools.files import sha256_file

    if context.options.offline:
        raise OfflineMissing(
            f"the image {image} is not in the store",
            cause="--offline forbids asking its registry",
            hint="with network: kvpack fetch; or name a storage that has it: [mirrors] inputs in "
            "kvpack.toml",
        )
    size = human_size(sum(one or 0 for one in wanted.values()))
    with context.store.scratch("image") as folder:
        with context.console.step(f"Copying {image} ({size})"):
            copy = copied_image(context, image, folder)
        for path in sorted(copy.iterdir()):
            digest = sha256_file(path)
            if digest in wanted and not context.store.has(digest):
                context.store.adopt(path, digest)
    if missing := sorted(one for one in wanted if not context.store.has(one)):
        raise FetchFailed(
            f"the image {image} was not copied whole",
            cause=f"what its registry gave has no part with the sha256 {missing[0]}",
            hint="run the same command again; if it stays so, the lock was edited by hand: "
            "kvpack lock RECIPE --upgrade with the accelerator",
        )
