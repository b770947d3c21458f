"""What the tar of a native library offers, and whether a wheel that names it has any of it."""

import io
import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from kvpack.audit.elf import MAGIC, ElfDamagedError, read_elf
from kvpack.audit.model import ElfFile, ElfKind, Finding, Severity, WheelFacts
from kvpack.base import Value
from kvpack.names import version_key
from kvpack.tools.files import CHUNK
from kvpack.tools.packed import DAMAGE, opened

UNUSED = "library-unused"
_GRAFTED = re.compile(r"-[0-9a-f]{8}(?=\.so(\.|$))")
"""What auditwheel puts into the name of what it copies (``auditwheel/repair.py``)."""
_SHOWN = 4
"""Names that one message has."""


class LibraryFacts(Value):
    """What lies in the tar of a native library."""

    prefix: str
    files: int
    elf: tuple[ElfFile, ...]
    archives: tuple[str, ...]
    """Static ones: what was linked from them leaves no name in a wheel."""

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of its shared objects, without what follows ``.so``."""
        kinds = {ElfKind.SHARED, ElfKind.PIE}
        named = [elf for elf in self.elf if elf.kind in kinds and ".so" in _base(elf.path)]
        return tuple(sorted({name for elf in named for name in _names(elf)}))

    @property
    def floor(self) -> str | None:
        """The lowest glibc that all its ELF files load on, as far as one is known."""
        floors = [elf.floor for elf in self.elf if elf.floor]
        return max(floors, key=version_key) if floors else None

    @property
    def needs(self) -> tuple[str, ...]:
        """Sonames that it does not hold itself."""
        own = {name for elf in self.elf for name in (elf.soname, _base(elf.path)) if name}
        return tuple(sorted({name for elf in self.elf for name in elf.needed} - own))


def inspect_library(tar: Path) -> LibraryFacts | None:
    """Read a tar; ``None``: it is none, or its members do not lie below one folder of ``/opt``."""
    try:
        archive = opened(tar)
        names = [member.name.strip("/") for member in archive.members()]
        tops = {"/".join(name.split("/")[:2]) for name in names} - {"opt"}
        if len(tops) != 1 or not (top := next(iter(tops))).startswith("opt/"):
            return None
        elf = []
        for member, stream in archive.contents():
            if stream.read(len(MAGIC)) == MAGIC:
                elf.append(read_elf(_whole(stream), member.name))
    except (*DAMAGE, ElfDamagedError):
        return None
    below = [name for name in names if name.startswith(f"{top}/")]
    archives = tuple(sorted(name for name in below if name.endswith(".a")))
    return LibraryFacts(prefix=f"/{top}", files=len(below), elf=tuple(elf), archives=archives)


def _whole(stream: IO[bytes]) -> IO[bytes]:
    """An ELF file whose first bytes were read; it is read here and there, a tar only onwards."""
    whole = io.BytesIO()
    whole.write(MAGIC)
    while chunk := stream.read(CHUNK):
        whole.write(chunk)
    return whole


def _base(path: str) -> str:
    return posixpath.basename(path)


def _names(elf: ElfFile) -> Iterator[str]:
    """How one file is called, without version and without auditwheel's mark."""
    for name in filter(None, (elf.soname, _base(elf.path))):
        yield _plain(name)


def _plain(name: str) -> str:
    return _GRAFTED.sub("", name).partition(".so")[0]


def unused(
    facts: WheelFacts, library: str, shared: Collection[str], *, recipe: str
) -> Iterator[Finding]:
    """Say that no ELF file of a wheel needs or carries a library that its recipe names.

    A build that finds no library may take a copy of its own, or leave the feature out, silently.

    :param shared: what the library offers (``LibraryFacts.shared``).
    """
    held = {_plain(name) for elf in facts.elf for name in elf.needed}
    held |= {name for elf in facts.elf for name in _names(elf)}
    if not shared or held & set(shared):
        return
    names = sorted(shared)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    yield Finding(
        check=UNUSED,
        severity=Severity.WARNING,
        place=facts.filename,
        message=f"build.libraries names {library}, but no ELF file of the wheel needs or carries a "
        f"library of it ({', '.join(names[:_SHOWN])}{more})",
        hint="the build took another copy, or left out what needs it: see its log and its options; "
        f"if it is not needed, take it out of build.libraries of recipes/{recipe}.toml",
    )
