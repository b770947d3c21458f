"""A minimal writer of ELF64 files: real headers, no code, so that no compiler is needed."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MACHINES = {"x86_64": 62, "aarch64": 183, "i686": 3, "cuda": 190, "s390x": 22, "odd": 4711}
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_GNU_STACK = 1, 2, 3, 4, 0x6474E551
ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
NEEDED, STRTAB, SONAME, RPATH, TEXTREL, RUNPATH, FLAGS, RELR = 1, 5, 14, 15, 22, 29, 30, 36
FLAGS_1, VERNEED, VERNEEDNUM = 0x6FFFFFFB, 0x6FFFFFFE, 0x6FFFFFFF
SYMTAB, STRSZ, VERSYM = 6, 10, 0x6FFFFFF0
HEADER, SEGMENT = 64, 56


@dataclass(frozen=True, kw_only=True)
class Elf:
    """What the file should say; ``bytes(Elf(...))`` is the file."""

    arch: str = "x86_64"
    type: int = ET_DYN
    dynamic: bool = True
    needed: Sequence[str] = ("libc.so.6",)
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    interpreter: str | None = None
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    symbols: Sequence[str] = ()
    """Dynamic symbols: ``+name`` is defined here, ``name`` or ``name@VERSION`` is needed, with a
    version that is one of ``versions``. There is no hash table."""
    strings: bytes = b""
    """Bytes that lie in the file's read-only data."""
    stack: int | None = 6
    """Flags of PT_GNU_STACK; ``None``: no such segment."""
    textrel: bool = False
    textrel_flag: bool = False
    relr: bool = False
    pie: bool = False
    build_id: bytes = b""
    isa: int = 0

    def __bytes__(self) -> bytes:
        return _Writer(self).write()


class _Writer:
    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self.strings = bytearray(b"\0")
        self.offset = HEADER + 8 * SEGMENT
        self.body = bytearray()
        self.segments: list[bytes] = []

    def string(self, text: str) -> int:
        offset = len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def place(self, blob: bytes, kind: int | None = None, flags: int = 4) -> int:
        """Append a blob, perhaps as a segment; its address is its offset."""
        self.body += bytes(-len(self.body) % 8)
        address = self.offset + len(self.body)
        self.body += blob
        if kind is not None:
            self.segment(kind, flags, address, len(blob))
        return address

    def segment(self, kind: int, flags: int, address: int, size: int) -> None:
        self.segments.append(
            struct.pack("<IIQQQQQQ", kind, flags, address, address, address, size, size, 8)
        )

    def write(self) -> bytes:
        elf = self.elf
        if elf.interpreter:
            self.place(elf.interpreter.encode() + b"\0", PT_INTERP)
        if notes := self.notes():
            self.place(notes, PT_NOTE)
        self.place(elf.strings)
        if elf.dynamic:
            self.dynamic()
        if elf.stack is not None:
            self.segment(PT_GNU_STACK, elf.stack, 0, 0)
        self.segment(PT_LOAD, 5, 0, self.offset + len(self.body))
        magic = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
        fields = (elf.type, MACHINES[elf.arch], 1, 0, HEADER, 0, 0, HEADER, SEGMENT)
        header = magic + struct.pack("<HHIQQQIHHHHHH", *fields, len(self.segments), 64, 0, 0)
        table = b"".join(self.segments).ljust(8 * SEGMENT, b"\0")
        return header + table + bytes(self.body)

    def notes(self) -> bytes:
        def note(kind: int, value: bytes) -> bytes:
            return struct.pack("<III", 4, len(value), kind) + b"GNU\0" + value

        notes = note(3, self.elf.build_id) if self.elf.build_id else b""
        if self.elf.isa:  # NT_GNU_PROPERTY_TYPE_0, GNU_PROPERTY_X86_ISA_1_NEEDED
            notes += note(5, struct.pack("<IIII", 0xC0008002, 4, self.elf.isa, 0))
        return notes

    def dynamic(self) -> None:
        elf = self.elf
        tags = [(NEEDED, self.string(name)) for name in elf.needed]
        for tag, text in ((SONAME, elf.soname), (RPATH, elf.rpath), (RUNPATH, elf.runpath)):
            if text is not None:
                tags.append((tag, self.string(text)))
        if elf.textrel:
            tags.append((TEXTREL, 0))
        if elf.textrel_flag:
            tags.append((FLAGS, 4))
        if elf.relr:
            tags.append((RELR, 0))
        if elf.pie:
            tags.append((FLAGS_1, 0x08000000))
        if elf.versions:
            tags += [(VERNEED, self.place(self.verneed())), (VERNEEDNUM, len(elf.versions))]
        if elf.symbols:
            entries, indexes = self.symbols()
            tags += [(SYMTAB, self.place(entries)), (VERSYM, self.place(indexes))]
        tags += [(STRTAB, self.place(bytes(self.strings))), (STRSZ, len(self.strings)), (0, 0)]
        self.place(b"".join(struct.pack("<QQ", *tag) for tag in tags), PT_DYNAMIC, 6)

    def symbols(self) -> tuple[bytes, bytes]:
        """``.dynsym`` and ``.gnu.version``; the first entry of both is empty."""
        known = [version for versions in self.elf.versions.values() for version in versions]
        entries, indexes = bytes(24), struct.pack("<H", 0)
        for symbol in self.elf.symbols:
            name, _, version = symbol.lstrip("+").partition("@")
            section = 1 if symbol.startswith("+") else 0
            entries += struct.pack("<IBBHQQ", self.string(name), 0x12, 0, section, 0, 0)
            indexes += struct.pack("<H", known.index(version) + 2 if version else 1)
        return entries, indexes

    def verneed(self) -> bytes:
        table = b""
        index = 1
        left = len(self.elf.versions)
        for library, versions in self.elf.versions.items():
            left -= 1
            size = 16 + 16 * len(versions)
            file = self.string(library)
            table += struct.pack("<HHIII", 1, len(versions), file, 16, size if left else 0)
            for number, version in enumerate(versions, 1):
                after = 16 if number < len(versions) else 0
                index += 1
                table += struct.pack("<IHHII", 0, 0, index, self.string(version), after)
        return table
