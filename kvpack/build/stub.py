"""Libraries for the linker alone: an ELF file that exports functions, made without a compiler.

The bytes are a pure function of the architecture, the name and the functions. The file has what
GNU ld, lld and the loader read: section headers, a dynamic section, a symbol table with a hash
table (gABI, "Dynamic Linking"), and one function of machine code that all names lead to.
"""

import re
import struct
from collections.abc import Sequence

from kvpack.names import Arch

_EM = {Arch.X86_64: 62, Arch.AARCH64: 183}
_PAGE = 0x10000
"""The largest page of aarch64; segments are as far apart, so that a loader can protect them."""
_HEADER, _SEGMENT, _SECTION, _SYMBOL = 64, 56, 64, 24
_SEGMENTS = 5
_PT_LOAD, _PT_DYNAMIC, _PT_GNU_STACK = 1, 2, 0x6474E551
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 4, 5, 6, 10, 11, 14
_PROGBITS, _STRTAB, _HASH, _DYNAMIC, _DYNSYM = 1, 3, 5, 6, 11
_SECTIONS = (".dynsym", ".dynstr", ".hash", ".text", ".dynamic", ".shstrtab")
_TEXT_INDEX = _SECTIONS.index(".text") + 1


def exported(header: str, declared: str, renamed: str) -> set[str]:
    """The functions that a C header says a library exports.

    :param declared: expression whose group ``name`` is a declared function.
    :param renamed: expression of a macro that calls the function ``name`` under another one; a
        group ``kind`` (``DS``, ``SZ``): per-thread streams call it with an ending (cuda.h).
    """
    names = {match["name"] for match in re.finditer(declared, header)}
    for match in re.finditer(renamed, header):
        names.add(match["name"])
        if kind := match.groupdict().get("kind"):
            names.add(f"{match['name']}_pt{kind.lower()}")
    return names


def stub(arch: Arch, soname: str, functions: Sequence[str], code: int) -> bytes:
    """A shared library whose functions all return ``code``."""
    names = sorted(set(functions))
    strings, offsets = _strings([soname, *names])
    symbols = _HEADER + _SEGMENTS * _SEGMENT
    strtab = symbols + _SYMBOL * (len(names) + 1)
    table = _hash(names)
    hashed = _up(strtab + len(strings), 8)
    # Code and data in pages of their own: nothing is both written and run.
    text = _up(hashed + len(table), _PAGE)
    machine = _code(arch, code)
    dynamic = text + _PAGE
    entries = struct.pack(
        "<12Q",
        *(_DT_SONAME, offsets[soname], _DT_HASH, hashed, _DT_STRTAB, strtab),
        *(_DT_SYMTAB, symbols, _DT_STRSZ, len(strings), _DT_SYMENT, _SYMBOL),
    ) + bytes(16)
    titles, titled = _strings(_SECTIONS)
    title_at = dynamic + len(entries)
    headers_at = _up(title_at + len(titles), 8)
    body = bytearray(headers_at)
    entry = struct.Struct("<IBBHQQ")
    # STB_GLOBAL, STT_FUNC
    listed = b"".join(
        entry.pack(offsets[name], 0x12, 0, _TEXT_INDEX, text, len(machine)) for name in names
    )
    for at, data in (
        (0, _head(arch, headers_at)),
        (_HEADER, _segments((hashed + len(table), (text, len(machine)), (dynamic, len(entries))))),
        (symbols, bytes(_SYMBOL) + listed),
        (strtab, strings),
        (hashed, table),
        (text, machine),
        (dynamic, entries),
        (title_at, titles),
    ):
        body[at : at + len(data)] = data
    sections = (
        # type, flags (1 written, 2 in memory, 4 run), offset, size, link, info, align, entry size
        (_DYNSYM, 2, symbols, _SYMBOL * (len(names) + 1), 2, 1, 8, _SYMBOL),
        (_STRTAB, 2, strtab, len(strings), 0, 0, 1, 0),
        (_HASH, 2, hashed, len(table), 1, 0, 8, 4),
        (_PROGBITS, 6, text, len(machine), 0, 0, 16, 0),
        (_DYNAMIC, 3, dynamic, len(entries), 2, 0, 8, 16),
        (_STRTAB, 0, title_at, len(titles), 0, 0, 1, 0),
    )
    rows = bytes(_SECTION)
    for name, (kind, flags, at, size, link, info, align, each) in zip(
        _SECTIONS, sections, strict=True
    ):
        address = at if flags else 0
        rows += struct.pack(
            "<IIQQQQIIQQ", titled[name], kind, flags, address, at, size, link, info, align, each
        )
    return bytes(body) + rows


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _code(arch: Arch, code: int) -> bytes:
    """Machine code of ``return code``."""
    if arch == Arch.X86_64:
        return b"\xb8" + struct.pack("<I", code) + b"\xc3"  # mov eax, code; ret
    return struct.pack("<II", 0x52800000 | code << 5, 0xD65F03C0)  # movz w0, #code; ret


def _strings(texts: Sequence[str]) -> tuple[bytes, dict[str, int]]:
    """A string table, and where each text is in it."""
    table, places = b"\0", {}
    for text in texts:
        places[text] = len(table)
        table += text.encode() + b"\0"
    return table, places


def _hash(names: Sequence[str]) -> bytes:
    """The hash table of a dynamic symbol table whose first entry is empty (gABI)."""
    buckets, chains = [0] * max(1, len(names) // 2), [0] * (len(names) + 1)
    for index, name in enumerate(names, 1):
        bucket = _elf_hash(name) % len(buckets)
        chains[index], buckets[bucket] = buckets[bucket], index
    words = [len(buckets), len(chains), *buckets, *chains]
    return struct.pack(f"<{len(words)}I", *words)


def _elf_hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return value


def _head(arch: Arch, sections: int) -> bytes:
    magic = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian
    counts = (_HEADER, _SEGMENT, _SEGMENTS, _SECTION, len(_SECTIONS) + 1, len(_SECTIONS))
    return magic + struct.pack("<HHIQQQIHHHHHH", 3, _EM[arch], 1, 0, _HEADER, sections, 0, *counts)


def _segments(parts: tuple[int, tuple[int, int], tuple[int, int]]) -> bytes:
    read, (text, length), (dynamic, size) = parts
    rows = (
        (_PT_LOAD, 4, 0, read, _PAGE),
        (_PT_LOAD, 5, text, length, _PAGE),
        (_PT_LOAD, 6, dynamic, size, _PAGE),
        (_PT_DYNAMIC, 6, dynamic, size, 8),
        (_PT_GNU_STACK, 6, 0, 0, 16),
    )
    return b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, at, at, at, long, long, align)
        for kind, flags, at, long, align in rows
    )
