"""An image's layers as they lie over each other: which path is what, and where its bytes are.

Layers are read as they lie in a registry; nothing of them is run or unpacked.

Rules: OCI Image Layer Filesystem Changeset 1.1 (``layer.md``: whiteouts, changes).
"""

import gzip
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kvpack.errors import ArchiveUnsafe, Fault, RootFailed
from kvpack.lock.model import LockedImage

_GONE, _OPAQUE = ".wh.", ".wh..wh..opq"
_DAMAGE = (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is at a path when all layers lie over each other."""

    kind: str
    """``folder``, ``link``, ``file``, or what it is in words for people."""
    link: str = ""
    layer: int = 0
    member: int = 0
    """Of a file: where its bytes are. Names with one place are one file (hard links)."""


@dataclass
class ImageTree:
    """The paths of an image, while its layers are read from the lowest up."""

    entries: dict[str, Entry] = field(default_factory=dict)
    below: dict[str, dict[str, None]] = field(default_factory=dict)
    """Folder -> the names in it."""

    def put(self, path: str, entry: Entry) -> None:
        """A folder over a folder keeps what is in it; anything else takes the place."""
        before = self.entries.get(path)
        if before is None or before.kind != "folder" or entry.kind != "folder":
            self.remove(path)
        parent, name = posixpath.split(path)
        above = self.entries.get(parent)
        if parent and (above is None or above.kind != "folder"):
            self.put(parent, Entry("folder"))  # a layer need not name the folders of its files
        self.entries[path] = entry
        self.below.setdefault(parent, {})[name] = None

    def remove(self, path: str) -> None:
        if self.entries.pop(path, None) is None:
            return
        parent, name = posixpath.split(path)
        self.below.get(parent, {}).pop(name, None)
        self.empty(path)

    def empty(self, path: str) -> None:
        """Remove what is in a folder."""
        todo = [posixpath.join(path, name) for name in self.below.pop(path, {})]
        while todo:
            one = todo.pop()
            self.entries.pop(one, None)
            todo += [posixpath.join(one, name) for name in self.below.pop(one, {})]

    def tree(self, folder: str) -> Iterator[str]:
        """All paths below a folder, in order."""
        for name in sorted(self.below.get(folder, {})):
            path = posixpath.join(folder, name)
            yield path
            yield from self.tree(path)


@contextmanager
def opened(path: Path, image: LockedImage) -> Iterator[tarfile.TarFile]:
    """A layer as a tar stream.

    :raises RootFailed: if it is packed in a way that Python does not know.
    :raises ArchiveUnsafe: if it is damaged.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
            stream.seek(0)
            if start == b"\x28\xb5\x2f\xfd":
                raise RootFailed(
                    f"a layer of {image.image} is packed with zstd",
                    cause="this Python reads layers that are packed with gzip, or not packed",
                    hint="copy it: skopeo copy --dest-compress-format gzip docker://… docker://…; "
                    "and name the copy: build.toolkit-image in the recipe",
                )
            packed = start.startswith(b"\x1f\x8b")
            plain = gzip.GzipFile(fileobj=stream) if packed else stream
            with tarfile.open(fileobj=plain, mode="r|", encoding="utf-8") as tar:
                yield tar
    except _DAMAGE as error:
        raise unsafe(image, [Fault(place=path.name, message=f"is damaged: {error}")]) from error


def read_layer(found: ImageTree, index: int, path: Path, image: LockedImage) -> None:
    """Lay one more layer over those below, which its whiteouts hide first."""
    members: list[tuple[str, Entry]] = []
    with opened(path, image) as tar:
        for member, info in enumerate(tar):
            name = _clean(info.name, image)
            folder, base = posixpath.split(name)
            if base == _OPAQUE:
                found.empty(folder)
            elif base.startswith(_GONE):
                found.remove(posixpath.join(folder, base.removeprefix(_GONE)))
            elif name:
                members.append((name, _entry(info, (index, member), image)))
    for name, entry in members:
        if entry.kind == "hard link":
            entry = found.entries.get(entry.link, Entry("hard link to nothing"))  # noqa: PLW2901
        found.put(name, entry)


def _entry(info: tarfile.TarInfo, place: tuple[int, int], image: LockedImage) -> Entry:
    if info.isdir():
        return Entry("folder")
    if info.issym():
        return Entry("link", link=info.linkname)
    if info.isreg():
        return Entry("file", layer=place[0], member=place[1])
    if info.islnk():
        return Entry("hard link", link=_clean(info.linkname, image))
    return Entry("device or pipe")


def _clean(name: str, image: LockedImage) -> str:
    path = posixpath.normpath(name).lstrip("/")
    if path == ".." or path.startswith("../"):
        raise unsafe(image, [Fault(place=name, message="leaves the image")])
    return "" if path == "." else path


def unsafe(image: LockedImage, faults: list[Fault]) -> ArchiveUnsafe:
    return ArchiveUnsafe(
        f"the toolkit {image.folder} of {image.image} is refused",
        cause="its layers have the locked bytes, and no image of a toolkit has such a layer",
        hint="name another image: build.toolkit-image in the recipe",
        faults=faults,
    )
