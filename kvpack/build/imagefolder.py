"""One folder of an image as a layer over a builder root: a toolkit that is published as an image.

What is written is a function of the locked layers' bytes and of ``IMAGE_LAYER``: one owner, one
time, modes of two kinds; folders and links by name, then files in the order of the layers.
"""

import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from kvpack.build.imagelayers import ImageTree, opened, read_layer, unsafe
from kvpack.build.root import MTIME, any_of
from kvpack.errors import Fault, RootFailed
from kvpack.lock.model import LockedImage
from kvpack.names import Sha256
from kvpack.recipe.toolkits import Toolkits
from kvpack.tools.files import canonical_json, sha256_of

IMAGE_LAYER = 1
"""Part of the key of everything built with such a toolkit. Raise it when a change here or in
``imagelayers.py`` changes the bytes."""
_LINKS = 40
"""How many links lead to a file at most (Linux, ``MAXSYMLINKS``)."""


# -- keys and environment -------------------------------------------------------------------------


def image_slice(image: LockedImage) -> dict[str, dict[str, str]]:
    """What an action names: not the tag, but the name, which stands in the bill of materials."""
    return {"toolkit-image": {"image": image.image, "folder": image.folder}}


def image_data(image: LockedImage, toolkits: Toolkits) -> dict[str, object]:
    """What decides the bytes of such a toolkit beside its image."""
    kit = toolkits.toolkit.get(image.accelerator)
    return {
        "generator": IMAGE_LAYER,
        "exclude": list(kit.exclude) if kit else [],
        "variables": list(kit.variables) if kit else [],
    }


def image_key(image: LockedImage, root: str, toolkits: Toolkits) -> Sha256:
    """What decides the bytes of a root with its toolkit.

    :param root: key or digest of the root under it.
    """
    document = {
        "root": root,
        "data": image_data(image, toolkits),
        "image": image.image[-64:],
        "folder": image.folder,
    }
    return sha256_of(canonical_json(document))


def image_environment(
    image: LockedImage, toolkits: Toolkits, variables: dict[str, str]
) -> dict[str, str]:
    """What a root's environment gains: variables that name the folder, and its programs.

    :param variables: the environment of the root below.
    """
    kit = toolkits.toolkit.get(image.accelerator)
    path = ":".join(filter(None, (f"{image.folder}/bin", variables.get("PATH", ""))))
    return {**dict.fromkeys(kit.variables if kit else (), image.folder), "PATH": path}


# -- the layer over a root ------------------------------------------------------------------------


def write_folder(
    image: LockedImage,
    layers: Sequence[Path],
    toolkits: Toolkits,
    out: IO[bytes],
    progress: Callable[[int, int], None],
) -> None:
    """Write the toolkit's folder, and the links that lead to it, as a tar stream.

    :param layers: verified blobs, the lowest first.
    :param progress: called with layers read and layers to read: each is read twice.
    :raises ArchiveUnsafe: if a layer is damaged, or holds what no toolkit has.
    :raises RootFailed: if the image has no such folder.
    """
    found = ImageTree()
    for index, layer in enumerate(layers):
        progress(index, 2 * len(layers))
        read_layer(found, index, layer, image)
    links, real = _resolved(found, image)
    kit = toolkits.toolkit.get(image.accelerator)
    paths = _wanted(found, real, kit.exclude if kit else ())
    _check(found, paths, image)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        for info in _bare(found, real, [*links, *paths]):
            tar.addfile(info)
        names: dict[tuple[int, int], list[str]] = {}
        for path in paths:
            entry = found.entries[path]
            if entry.kind == "file":
                names.setdefault((entry.layer, entry.member), []).append(path)
        for index, layer in enumerate(layers):
            progress(len(layers) + index, 2 * len(layers))
            _copy(tar, (index, layer), names, image)


# -- which of it ----------------------------------------------------------------------------------


def _resolved(found: ImageTree, image: LockedImage) -> tuple[list[str], str]:
    """The links that lead to the folder, and the folder itself.

    :raises RootFailed: if there is none, or it is no folder of its own.
    """
    links: list[str] = []
    parts, at = image.folder.strip("/").split("/"), ""
    while parts:
        at = posixpath.join(at, parts.pop(0))
        entry = found.entries.get(at)
        if entry is None or entry.kind not in {"folder", "link"}:
            said = f"there is no /{at} in it" if entry is None else f"/{at} is a {entry.kind}"
            raise _no_folder(found, image, said)
        if entry.kind == "link":
            links.append(at)
            if len(links) > _LINKS:
                raise _no_folder(found, image, f"its links go round: {' -> '.join(links[:3])} …")
            target = posixpath.normpath(posixpath.join("/", posixpath.dirname(at), entry.link))
            parts, at = [one for one in target.split("/") if one] + parts, ""
    if "/" not in at:
        raise _no_folder(found, image, f"it leads to /{at}, which is no folder of its own")
    return list(dict.fromkeys(links)), at


def _no_folder(found: ImageTree, image: LockedImage, cause: str) -> RootFailed:
    near = posixpath.dirname(image.folder.strip("/"))
    there = ", ".join(f"/{near}/{name}" for name in sorted(found.below.get(near, {}))[:8])
    return RootFailed(
        f"the image {image.image} has no folder {image.folder}",
        cause=cause + (f"; there are {there}" if there else ""),
        hint=f"build.toolkit-image.{image.accelerator} in the recipe names an image and its "
        "folder; then: kvpack lock RECIPE",
    )


def _wanted(found: ImageTree, real: str, exclude: Iterable[str]) -> list[str]:
    left_out = any_of(exclude)
    start = len(real) + 1
    return [path for path in found.tree(real) if not left_out.fullmatch(path[start:])]


def _check(found: ImageTree, paths: list[str], image: LockedImage) -> None:
    known = {"folder", "link", "file"}
    faults = [
        Fault(place=f"/{path}", message=f"is a {found.entries[path].kind}")
        for path in paths
        if found.entries[path].kind not in known
    ]
    if faults:
        raise unsafe(image, faults[:20])


# -- writing --------------------------------------------------------------------------------------


def _bare(found: ImageTree, real: str, paths: list[str]) -> Iterator[tarfile.TarInfo]:
    """Folders and links, parents first."""
    done: set[str] = set()
    for path in [real, *sorted(paths)]:
        chain = path.split("/")
        for end in range(1, len(chain)):
            parent = "/".join(chain[:end])
            if parent not in done:
                done.add(parent)
                yield _info(parent, tarfile.DIRTYPE, 0o755)
        entry = found.entries[path]
        if path in done or entry.kind == "file":
            continue
        done.add(path)
        if entry.kind == "folder":
            yield _info(path, tarfile.DIRTYPE, 0o755)
        else:
            info = _info(path, tarfile.SYMTYPE, 0o777)
            info.linkname = entry.link
            yield info


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, MTIME
    return info


def _copy(
    tar: tarfile.TarFile,
    at: tuple[int, Path],
    names: dict[tuple[int, int], list[str]],
    image: LockedImage,
) -> None:
    """Write the files whose bytes are in one layer.

    :param at: which layer it is, and the layer.
    """
    index, layer = at
    if all(place[0] != index for place in names):
        return
    with opened(layer, image) as members:
        for member, info in enumerate(members):
            if (paths := names.get((index, member))) is None:
                continue
            new = _info(paths[0], tarfile.REGTYPE, 0o755 if info.mode & 0o111 else 0o644)
            new.size = info.size
            tar.addfile(new, members.extractfile(info))
            for path in paths[1:]:
                link = _info(path, tarfile.LNKTYPE, new.mode)
                link.linkname = paths[0]
                tar.addfile(link)
