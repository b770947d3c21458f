"""A wheel to be verified, on this machine or in a storage, and what lies around it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urldefrag

from kvpack.cli.context import Context
from kvpack.errors import FetchFailed, UsageError

if TYPE_CHECKING:
    from kvpack.tools.stored import Objects

FILES = "/files/"
"""Below it lie the wheels of a storage (``kvpack/publish/model.py``)."""
SMALL = 16 << 20
"""Bytes of what is not a wheel."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A wheel on this machine, and how to read what lies around the place that it is from."""

    shown: str
    path: Path
    sha256: str | None
    """What the URL says (``#sha256=``)."""
    beside: Callable[[str], bytes | None]
    """Reads what has the wheel's name and a suffix."""
    storage: Callable[[str], bytes | None] | None
    """Reads an object of the storage; ``None``: it is in none."""
    root: str = ""
    """Where that storage is."""


def local(path: Path) -> Place:
    """A file; in a folder that is a storage, its release is known as well."""
    from kvpack.tools.folder import FolderObjects

    def beside(suffix: str) -> bytes | None:
        other = path.with_name(path.name + suffix)
        return other.read_bytes() if other.is_file() else None

    root = path.absolute().parent.parent.parent
    in_storage = path.absolute().parent.parent.name == "files" and (root / "channels").is_dir()
    storage = _small(FolderObjects(root)) if in_storage else None
    return Place(
        shown=path.name, path=path, sha256=None, beside=beside, storage=storage, root=str(root)
    )


def remote(url: str, folder: Path, context: Context) -> Place:
    """Fetch a wheel into a scratch folder.

    :raises UsageError: if the URL names no wheel of a storage.
    :raises FetchFailed: if it cannot be had.
    """
    bare, fragment = urldefrag(url)
    root, files, place = bare.partition(FILES)
    filename = unquote(bare.rpartition("/")[2])
    web = bare.startswith(("http://", "https://"))
    if not filename.endswith(".whl") or not (files or web):
        raise UsageError(
            f"{bare} names no wheel",
            cause="a storage keeps wheels as …/files/PROJECT/NAME.whl",
            hint="kvpack release show ID --at URL lists them; an https:// URL may be of any index",
        )
    algorithm, _, digest = fragment.partition("=")
    target = folder / Path(filename).name
    if web:
        beside, storage = _from_web(bare, root if files else None, target)
    else:
        beside, storage = _from_objects(root, unquote("files/" + place), target, context)
    return Place(
        shown=bare, path=target, sha256=digest if algorithm == "sha256" else None,
        beside=beside, storage=storage, root=root if files else "",
    )  # fmt: skip


Reader = Callable[[str], bytes | None]


def _small(objects: "Objects") -> Reader:
    def read(path: str) -> bytes | None:
        found = objects.get(path)
        return found.data if found else None

    return read


def _from_objects(root: str, key: str, target: Path, context: Context) -> tuple[Reader, Reader]:
    from kvpack.cli.publish import open_read

    objects = open_read(root, context)
    with target.open("wb") as stream:
        for chunk in objects.chunks(key):
            stream.write(chunk)
    read = _small(objects)
    return (lambda suffix: read(key + suffix)), read


def _from_web(url: str, root: str | None, target: Path) -> tuple[Reader, Reader | None]:
    from kvpack.tools.http import Http
    from kvpack.tools.web import HttpSettings, TryFailed, redact

    web = Http(HttpSettings(), environment=os.environ)

    def write(url: str, path: Path, limit: int | None) -> bool:
        """Whether there is something at a URL; of what is small, no more than the limit is read."""
        try:
            with web.open(url, stop=limit) as body, path.open("wb") as stream:
                for chunk in body.chunks:
                    stream.write(chunk)
                    if limit is not None and stream.tell() > limit:
                        break
        except TryFailed as error:
            if error.status in {404, 410} and limit is not None:
                return False
            raise FetchFailed(
                f"{redact(url)} could not be fetched", cause=error.reason,
                hint="run the same command again",
            ) from error  # fmt: skip
        return True

    def read(url: str) -> bytes | None:
        small = target.with_name("small")
        return small.read_bytes() if write(url, small, SMALL) else None

    write(url, target, None)
    storage = None if root is None else lambda path: read(f"{root}/{quote(path, safe='/')}")
    return (lambda suffix: read(url + suffix)), storage
