"""A builder root as one tar stream, made from locked Debian packages and tool wheels.

Nothing of a package is run: no maintainer script, no apt, no emulation. The stream is a pure
function of the locked bytes and of ``GENERATOR``, so it is the same on every machine and for every
architecture; what scripts would have added and a build needs is data in ``recipe/roots.toml``.
"""

import fnmatch
import io
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kvpack.build.deb import Deb
from kvpack.build.pytools import File, python_files, tool_files
from kvpack.errors import ArchiveUnsafe, Fault
from kvpack.lock.model import Inputs, LockedDeb
from kvpack.names import Sha256
from kvpack.recipe.roots import DebianBase, ImageBase
from kvpack.tools.files import canonical_json, sha256_of

GENERATOR = 1
"""Part of every root's key. Raise it when a change here changes the bytes."""
MTIME = 315532800
"""Time stamp of what kvpack itself adds: 1980-01-01, the zip epoch."""
_NOTHING = re.compile(r"(?!)")
_OWN_PATH = re.compile(
    rb"""(?m)(?:^|(?<=[\s"'=;:,(|^])|(?<=-[IL]))/(?=(?:usr|lib)(?:/|(?![\w.+-])))"""
)
"""Where a text names a path of the packages' own root: where a word begins, not within a path or an
expression (``${dir}/lib``, ``"^(.+)/lib/python"``)."""
_MERGED = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}
"""Top folders that are links into /usr (Debian's usrmerge)."""


def root_key(inputs: Inputs, debian: DebianBase) -> Sha256:
    """What decides the bytes of a generated root."""
    return sha256_of(
        canonical_json(
            {
                "generator": GENERATOR,
                "id": inputs.root.id,
                "arch": inputs.root.arch,
                "python": inputs.target.python,
                "packages": [deb.sha256 for deb in inputs.root.packages],
                "tools": [wheel.sha256 for wheel in inputs.root_tools],
                "links": debian.links,
                "exclude": debian.exclude,
            }
        )
    )


@dataclass
class _Root:
    """The stream so far: which paths it holds, and the package data base."""

    tar: tarfile.TarFile
    exclude: re.Pattern[str]
    prefix: str = ""
    """The folder that packages are laid below: ``opt/debian/``."""
    relocated: re.Pattern[str] = _NOTHING
    seen: dict[str, bytes] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    status: list[str] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def add(self, info: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        """Append one member with its parent folders; what is there already stays."""
        if info.name in self.seen:
            return
        parent = posixpath.dirname(info.name)
        if parent and parent not in self.seen:
            self.add(_folder(parent))
        self.seen[info.name] = info.type
        self.tar.addfile(info, content)


def write_root(
    inputs: Inputs,
    debian: DebianBase,
    blob: Callable[[str], Path],
    out: IO[bytes],
    progress: Callable[[int, int], None],
) -> None:
    """Write the root of a target as a tar stream.

    :param blob: path of a verified blob by its digest.
    :param progress: called with packages done and packages in all.
    :raises ArchiveUnsafe: if a locked package or wheel is damaged.
    """
    with _opened(out) as tar:
        root = _Root(tar, any_of(debian.exclude))
        _add_packages(root, inputs.root.packages, blob, progress)
        for file in _own_files(inputs, debian, root, blob):
            _add_file(root, file)


def write_beside(
    packages: Sequence[LockedDeb],
    data: tuple[ImageBase, DebianBase],
    blob: Callable[[str], Path],
    out: IO[bytes],
    progress: Callable[[int, int], None],
) -> None:
    """Write packages as a layer that lies beside an image's own files, as a tar stream.

    Paths that they name are led below the prefix: absolute links, and those in files that build
    systems read.

    :raises ArchiveUnsafe: if a locked package is damaged.
    """
    image, debian = data
    with _opened(out) as tar:
        prefix = f"{image.prefix.lstrip('/')}/"
        root = _Root(tar, any_of(debian.exclude), prefix, any_of(image.relocated))
        _add_packages(root, packages, blob, progress)


def any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for several globs."""
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")


def _opened(out: IO[bytes]) -> tarfile.TarFile:
    return tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8")


def _add_packages(
    root: _Root,
    packages: Sequence[LockedDeb],
    blob: Callable[[str], Path],
    progress: Callable[[int, int], None],
) -> None:
    for name in sorted(_MERGED):
        root.add(_folder(f"{root.prefix}usr/{name}"))
        root.add(_link(f"{root.prefix}{name}", f"usr/{name}"))
    for done, locked in enumerate(packages):
        progress(done, len(packages))
        _add_deb(root, Deb(blob(locked.sha256), posixpath.basename(locked.path)), locked.name)
    progress(len(packages), len(packages))


def write_layer(files: Iterable[File], out: IO[bytes]) -> None:
    """Write files that lie over a root, with their folders, as a tar stream."""
    with _opened(out) as tar:
        layer = _Root(tar, _NOTHING)
        for file in files:
            _add_file(layer, file)


def _own_files(
    inputs: Inputs, debian: DebianBase, root: _Root, blob: Callable[[str], Path]
) -> Iterator[File]:
    yield from _accounts(root)
    for path, target in sorted(debian.links.items()):
        name = path.lstrip("/")
        if posixpath.join(posixpath.dirname(name), target) in root.seen:
            yield File(name, link=target)
    for name in ("tmp", "var/tmp"):
        yield File(name, folder=0o1777)
    for name in ("proc", "sys", "dev", "root", "run", "project", "output"):
        yield File(name, folder=0o755)
    yield File("var/lib/dpkg/status", "\n".join(root.status).encode())
    for package, paths in sorted(root.lists.items()):
        listed = "/.\n" + "".join(f"/{path}\n" for path in paths)
        content = listed.encode(errors="surrogateescape")  # names need not be UTF-8
        yield File(f"var/lib/dpkg/info/{package}.list", content)
    if not inputs.target.python:
        return
    wheels = [(wheel, blob(wheel.sha256)) for wheel in inputs.root_tools]
    yield from python_files(inputs.target.python, wheels)
    yield from tool_files(inputs.target.python, wheels)


def _accounts(root: _Root) -> Iterator[File]:
    """What base-passwd's script would copy."""
    for name in ("passwd", "group"):
        text = root.kept.get(f"usr/share/base-passwd/{name}.master", b"")
        yield File(f"etc/{name}", text)


def _add_deb(root: _Root, deb: Deb, name: str) -> None:
    stanza = deb.control().strip().splitlines()
    multi = "Multi-Arch: same" in stanza
    arch = next((line[14:] for line in stanza if line.startswith("Architecture: ")), None)
    if arch is None:
        raise _unsafe(deb, "control", "names no architecture")
    stanza.insert(1, "Status: install ok installed")
    root.status.append("\n".join(stanza) + "\n")
    listed = root.lists.setdefault(f"{name}:{arch}" if multi else name, [])
    with deb.data() as data:
        for info in data:
            info.name = _merged(_clean(info.name, deb))
            if info.name in _MERGED or not info.name or root.exclude.fullmatch(info.name):
                continue
            listed.append(info.name)
            info.name = root.prefix + info.name
            _add_member(root, data, info, deb)


def _add_member(root: _Root, data: tarfile.TarFile, info: tarfile.TarInfo, deb: Deb) -> None:
    info.pax_headers = {}
    info.uname = info.gname = ""
    if not info.isreg():
        info.size = 0  # a size without content would break the stream
    if info.islnk():
        info.linkname = root.prefix + _merged(_clean(info.linkname, deb))
        if info.linkname not in root.seen:
            return  # its target was left out
        root.add(info)
    elif info.isreg():
        content = data.extractfile(info)
        if info.name.startswith("usr/share/base-passwd/") and content is not None:
            root.kept[info.name] = content.read()
            content = io.BytesIO(root.kept[info.name])
        elif root.relocated.fullmatch(posixpath.basename(info.name)) and content is not None:
            text = _OWN_PATH.sub(f"/{root.prefix}".encode(), content.read())
            info.size, content = len(text), io.BytesIO(text)
        root.add(info, content)
    elif info.isdir() or info.issym():
        if root.prefix and info.linkname.startswith("/"):
            info.linkname = f"/{root.prefix}{info.linkname.lstrip('/')}"
        root.add(info)
    else:
        raise _unsafe(deb, info.name, "is neither a file, a folder nor a link")


def _clean(name: str, deb: Deb) -> str:
    path = posixpath.normpath(name.removeprefix("./"))
    if path.startswith(("/", "../")) or path == "..":
        raise _unsafe(deb, name, "leaves the root")
    return "" if path == "." else path


def _merged(path: str) -> str:
    top = path.partition("/")[0]
    return f"usr/{path}" if top in _MERGED and "/" in path else path


def _unsafe(deb: Deb, member: str, what: str) -> ArchiveUnsafe:
    return ArchiveUnsafe(
        f"{deb.name} has a member that no Debian package has",
        hint="the lock or the mirror was tampered with: compare with another mirror",
        faults=[Fault(place=f"{deb.name}: {member}", message=what)],
    )


def _folder(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, mode, MTIME
    return info


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = tarfile.SYMTYPE, target, 0o777, MTIME
    return info


def _add_file(root: _Root, file: File) -> None:
    if file.folder:
        root.add(_folder(file.path, file.folder))
    elif file.link:
        root.add(_link(file.path, file.link))
    else:
        info = tarfile.TarInfo(file.path)
        info.size, info.mode, info.mtime = len(file.content), file.mode, MTIME
        root.add(info, io.BytesIO(file.content))
