"""Locked images in the storage of mirrored inputs: written there, and loaded from there.

A manifest, its configuration and its layers lie under their sha256 like every other input, as they
lay in the registry: so the digest that the lock names is that of what is loaded, too.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.cli.imageplaces import copied_image
from kvpack.errors import DigestMismatch, FetchFailed, KvpackError, OfflineMissing

if TYPE_CHECKING:
    from kvpack.publish.imageparts import Manifest
    from kvpack.tools.engine import Engine
    from kvpack.tools.stored import Objects


# -- into a storage -------------------------------------------------------------------------------


def mirror_images(
    images: Sequence[str], objects: "Objects", context: Context
) -> tuple[list[dict[str, Any]], list[tuple[str, KvpackError]]]:
    """Bring images into a storage: what was done, and which could not be brought, and why."""
    done: list[dict[str, Any]] = []
    failed: list[tuple[str, KvpackError]] = []
    for image in images:
        try:
            done.append(mirror_image(image, objects, context))
        except (FetchFailed, DigestMismatch, OfflineMissing) as error:
            failed.append((image, error))
        except ValueError as error:
            failed.append((image, FetchFailed(f"the image {image} cannot be mirrored: {error}")))
    return done, failed


def mirror_image(image: str, objects: "Objects", context: Context) -> dict[str, Any]:
    """Bring an image into a storage, unless all of it is there.

    :raises FetchFailed: if its registry does not give it, or gives something else.
    :raises OfflineMissing: if it would have to be asked.
    """
    from kvpack.publish.imageparts import digest_of
    from kvpack.publish.inputs import put_inputs

    digest = digest_of(image)
    there = _held(objects, digest)
    if there is not None:
        return {"image": image, "parts": there, "new": 0, "bytes": 0}
    if context.options.offline:
        raise OfflineMissing(
            f"the image {image} is not mirrored yet", cause="--offline forbids asking its registry"
        )
    with context.store.scratch("image") as folder:
        files = _copied(image, digest, folder, context)
        with context.console.step(f"Writing {image.partition('@')[0]} to {objects.name}"):
            done = put_inputs(objects, files)
    return {"image": image, "parts": len(files), "new": done.new, "bytes": done.size}


def _held(objects: "Objects", digest: str) -> int | None:
    """How many parts a storage has of an image; ``None``: not all."""
    from kvpack.fetch.mirrors import input_place
    from kvpack.publish.imageparts import read
    from kvpack.publish.inputs import present
    from kvpack.tools.files import sha256_of

    todo, places = [digest], {input_place(digest)}
    while todo:
        one = todo.pop()
        found = objects.get(input_place(one))
        if found is None or sha256_of(found.data) != one:
            return None
        manifest = read(found.data)
        places |= {input_place(part.sha256) for part in (*manifest.listed, *manifest.blobs)}
        todo += [part.sha256 for part in manifest.listed]
    return len(places) if present(objects, sorted(places)) == places else None


def _copied(image: str, digest: str, folder: Path, context: Context) -> list[tuple[str, Path]]:
    """Every part of an image, copied and checked: its place in a storage, its file.

    :param folder: an empty one.
    :raises FetchFailed: if the registry gave other bytes, or not all.
    """
    from kvpack.fetch.mirrors import input_place
    from kvpack.publish.imageparts import read
    from kvpack.tools.files import sha256_file

    with context.console.step(f"Copying {image}"):
        copy = copied_image(context, image, folder)
        parts = [path for path in copy.iterdir() if path.name != "version"]
        held: dict[str, Path] = {str(sha256_file(path)): path for path in parts}
    wanted, todo = {digest}, [digest]
    while todo:
        one = todo.pop()
        if one not in held:
            break
        manifest = read(held[one].read_bytes())
        wanted |= {part.sha256 for part in (*manifest.listed, *manifest.blobs)}
        todo += [part.sha256 for part in manifest.listed]
    if missing := sorted(wanted - held.keys()):
        raise FetchFailed(
            f"the image {image} was not copied whole",
            cause=f"what its registry gave has no part with the sha256 {missing[0]}",
            hint="run the same command again",
        )
    return [(input_place(sha256), held[sha256]) for sha256 in sorted(wanted)]


# -- out of it ------------------------------------------------------------------------------------


def mirrored_image(context: Context, engine: "Engine", image: str, platform: str) -> str | None:
    """Load an image from the store or the mirrors of inputs into podman; its registry is not asked.

    :param platform: OCI platform, of which a list of images has one.
    :returns: the name or id to call it by; ``None``: it is not mirrored, or cannot be loaded.
    """
    from kvpack.publish.imageparts import digest_of

    if engine.name != "podman":  # docker loads archives alone, and they have no digest
        return None
    try:
        digest = digest_of(image)
        if not obtained(context, [(digest, None)]):
            return None
        own, manifest = _parts(context, digest, platform)
    except ValueError as error:
        context.console.warn(f"the mirrored image {image} is not used: {error}")
        return None
    step = context.console.step(f"Loading {image} from mirrored inputs")
    with context.store.scratch("image") as folder, step:
        _lay_out(context, own, manifest, folder)
        loaded = engine.run(["pull", "--quiet", f"dir:{folder}"], context.console, timeout=None)
        if loaded.code != 0:
            reason = " ".join(loaded.tail(2))
            context.console.warn(f"the mirrored image {image} is not used: {reason}")
            return None
        found = loaded.output.split()[-1]
        name = f"{image.partition('@')[0]}:kvpack-{digest[:12]}"
        engine.run(["tag", found, name], context.console)
    return image if engine.has_image(image, context.console) else found


def _parts(context: Context, digest: str, platform: str) -> "tuple[str, Manifest]":
    """The manifest of an image for a platform, with its blobs in the store.

    :raises ValueError: if a part cannot be had.
    """
    from kvpack.publish.imageparts import read

    manifest = read(context.store.read(digest))
    if manifest.listed:
        part = manifest.for_platform(platform)
        if not obtained(context, [(part.sha256, part.size)]):
            raise ValueError(f"its manifest for {platform} is not mirrored")
        digest, manifest = part.sha256, read(context.store.read(part.sha256))
    if not obtained(context, [(part.sha256, part.size) for part in manifest.blobs]):
        raise ValueError("not all of its layers are mirrored")
    return digest, manifest


def obtained(context: Context, parts: Sequence[tuple[str, int | None]]) -> bool:
    """Whether these parts are in the store, brought from the mirrors of inputs if need be."""
    from kvpack.fetch.download import fetch
    from kvpack.fetch.mirrors import input_place
    from kvpack.fetch.model import Wanted
    from kvpack.fetch.transfer import Effort

    mirrors = context.registries.inputs()
    if mirrors is not None and not context.options.offline:
        wanted = [
            Wanted(
                registry="storage", place=input_place(sha256), filename=sha256, sha256=sha256,
                size=size,
            )
            for sha256, size in parts
        ]  # fmt: skip
        with contextlib.suppress(FetchFailed, DigestMismatch):  # the registry is the next place
            fetch(
                wanted, store=context.store, registries=mirrors, reporter=context.console,
                effort=Effort(rounds=1),
            )  # fmt: skip
    return all(context.store.has(sha256) for sha256, _ in parts)


def _lay_out(context: Context, digest: str, manifest: "Manifest", folder: Path) -> None:
    """Write what containers/image reads as ``dir:``; blobs are links into the store."""
    from kvpack.tools.skopeo import VERSION

    (folder / "version").write_bytes(VERSION)
    (folder / "manifest.json").write_bytes(context.store.read(digest))
    for part in manifest.blobs:
        (folder / part.sha256).symlink_to(context.store.check(part.sha256).absolute())
