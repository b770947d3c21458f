"""What proofs ask of members, read in the audit's one pass: dynamic symbols, texts, modes.

Nothing is executed. Of a member only what was asked for is kept, so a hostile file costs no more
than its own bytes: its tables are bounded, and its names and texts are cut.
"""

import itertools
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from kvpack.audit import elf
from kvpack.audit.evidence import Questions, Seen, Symbol, selects
from kvpack.tools.files import CHUNK

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

_MOST_SYMBOLS = 2_000_000
"""Entries of one dynamic symbol table that are read; libtorch_cuda.so has 80,000."""
_MOST_STRINGS = 256 << 20
"""Bytes of one dynamic string table that are read."""
_OVERLAP = 4096
"""Bytes that two windows over a file share: the longest text that is found for certain."""
_MOST_MATCHES = 1000
"""Different matches of one expression in one file that are kept."""
_LONGEST_MATCH = 200
_LONGEST_NAME = 1 << 16
"""Bytes of one symbol's name; C++ templates reach some thousands."""
_TABLES = (
    *("DT_STRTAB", "DT_HASH", "DT_GNU_HASH", "DT_VERSYM", "DT_VERNEED", "DT_VERDEF"),
    *("DT_RELA", "DT_REL", "DT_RELR", "DT_JMPREL", "DT_INIT", "DT_FINI"),
)
"""Dynamic tables that can follow the symbol table: one of them ends it."""
_ENTRY = {64: "IBBHQQ", 32: "IIIBBH"}
"""``Elf64_Sym`` (name, info, other, shndx, value, size), ``Elf32_Sym`` (… shndx last)."""
_SHNDX = {64: 3, 32: 5}
_VERSION_INDEX = 0x7FFF
"""Without the bit that hides a version (LSB, ``.gnu.version``)."""


@dataclass
class Prober:
    """Takes every member of a wheel once and keeps what the questions are about."""

    questions: Questions
    seen: dict[str, Seen] = field(default_factory=dict)

    def wants(self, name: str, *, executable: bool) -> bool:
        """Remember the member; tell whether its content is wanted too."""
        self.seen[name] = Seen(path=name, executable=executable)
        return selects(self.questions.globs, name)

    def read(self, name: str, stream: IO[bytes], *, is_elf: bool) -> None:
        """Answer the questions about one member's content, in a seekable stream."""
        asked = self.questions
        patterns = {text for text, globs in asked.patterns.items() if selects(globs, name)}
        texts, matches = search(stream, asked.strings, frozenset(patterns))
        symbols: tuple[Symbol, ...] | None = None
        problem = "it is no ELF file"
        if is_elf:
            try:
                symbols, problem = read_symbols(stream, asked.symbols), ""
            except elf.ElfDamagedError as error:
                problem = str(error)
        self.seen[name] = Seen(
            path=name,
            executable=self.seen[name].executable,
            read=True,
            symbols=symbols,
            problem=problem,
            strings=texts,
            matches=matches,
        )


# -- texts ------------------------------------------------------------------------------------


def search(
    stream: IO[bytes], strings: frozenset[str], patterns: frozenset[str]
) -> tuple[frozenset[str], dict[str, tuple[tuple[str, ...], ...]]]:
    """Find texts and expressions in the bytes of a file, window by window.

    :return: the texts that are there; per expression its different matches' groups, sorted.
    """
    needles = {text: text.encode() for text in strings}
    compiled = {text: re.compile(text.encode()) for text in patterns}
    matches: dict[str, set[tuple[str, ...]]] = {text: set() for text in patterns}
    found = set()
    for window, last in _windows(stream):
        for text in [text for text, needle in needles.items() if needle in window]:
            found.add(text)
            del needles[text]
        for text, pattern in compiled.items():
            _add_matches(matches[text], pattern, window, last=last)
    return frozenset(found), {text: tuple(sorted(many)) for text, many in matches.items()}


def _windows(stream: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Pieces of a file, each with the end of the one before; and whether it is the last."""
    stream.seek(0)
    before, piece = b"", stream.read(CHUNK)
    while True:
        following = stream.read(CHUNK)
        window = before + piece
        yield window, not following
        if not following:
            return
        before, piece = window[-_OVERLAP:], following


def _add_matches(
    found: set[tuple[str, ...]], pattern: re.Pattern[bytes], window: bytes, *, last: bool
) -> None:
    # What starts in the shared end is read with the next window, which shows all of it.
    end = len(window) if last else len(window) - _OVERLAP
    for match in itertools.takewhile(lambda one: one.start() < end, pattern.finditer(window)):
        if len(found) >= _MOST_MATCHES:
            return
        found.add(tuple(_shown(group or b"") for group in match.groups()))


def _shown(data: bytes) -> str:
    """Text from a file, safe to print."""
    text = data[:_LONGEST_MATCH].decode(errors="replace")
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


# -- dynamic symbols --------------------------------------------------------------------------


def read_symbols(stream: IO[bytes], wanted: re.Pattern[bytes]) -> tuple[Symbol, ...]:
    """Dynamic symbols whose names an expression finds.

    Like the loader, this follows the dynamic segment; but neither hash table is needed: the symbol
    table ends where the next dynamic table starts.

    :raises ElfDamagedError: if there is no dynamic symbol table, if it contradicts the file, or is
        larger than any linker's.
    """
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  - 0.06 s, only when needed

    with elf.as_damage():
        opened = ELFFile(stream)
        for segment in opened.iter_segments():
            if segment["p_type"] == "PT_DYNAMIC":
                entries = segment.iter_tags()  # type: ignore[attr-defined]  # a DynamicSegment
                tags = {tag.entry.d_tag: tag.entry.d_val for tag in entries}
                if "DT_SYMTAB" in tags:
                    return tuple(_symbols(opened, tags, wanted))
    raise elf.ElfDamagedError("it has no dynamic symbol table")


def _symbols(
    opened: "ELFFile", tags: Mapping[str, int], wanted: re.Pattern[bytes]
) -> Iterator[Symbol]:
    layout = struct.Struct(("<" if opened.little_endian else ">") + _ENTRY[opened.elfclass])
    count = _room(opened, tags) // layout.size
    if count > _MOST_SYMBOLS or tags["DT_STRSZ"] > _MOST_STRINGS:
        raise elf.ElfDamagedError(f"a table of {count} dynamic symbols: no linker writes that")
    names = _table(opened, tags["DT_STRTAB"], tags["DT_STRSZ"])
    entries = _table(opened, tags["DT_SYMTAB"], count * layout.size)
    count = len(entries) // layout.size
    versions = _versions(opened, tags, names)
    shndx = _SHNDX[opened.elfclass]
    left = 2 * _MOST_STRINGS
    rows = layout.iter_unpack(entries[: count * layout.size])
    for entry, index in zip(rows, _indexes(opened, tags, count), strict=True):
        start = entry[0]
        if start >= len(names):
            return  # past the end of the table
        name = names[start : max(names.find(b"\0", start, start + _LONGEST_NAME), start)]
        left -= len(name)
        if left < 0:
            raise elf.ElfDamagedError("names of dynamic symbols that overlap: no linker does that")
        if wanted.search(name):
            yield Symbol(
                name=name.decode(errors="replace"),
                version=versions.get(index & _VERSION_INDEX, ""),
                defined=entry[shndx] != 0,
            )


def _room(opened: "ELFFile", tags: Mapping[str, int]) -> int:
    """Bytes from the symbol table to whatever follows it."""
    start = tags["DT_SYMTAB"]
    after = [tags[name] for name in _TABLES if tags.get(name, 0) > start]
    loaded = [
        segment["p_vaddr"] + segment["p_filesz"]
        for segment in opened.iter_segments()
        if segment["p_type"] == "PT_LOAD"
        and segment["p_vaddr"] <= start < segment["p_vaddr"] + segment["p_filesz"]
    ]
    return min([*after, *loaded]) - start if loaded else 0


def _table(opened: "ELFFile", address: int, size: int) -> bytes:
    opened.stream.seek(_offset(opened, address))
    found: bytes = opened.stream.read(size)
    return found


def _offset(opened: "ELFFile", address: int) -> int:
    for offset in opened.address_offsets(address):
        return int(offset)
    raise elf.ElfDamagedError(f"a dynamic table at address {address}, where nothing is loaded")


def _indexes(opened: "ELFFile", tags: Mapping[str, int], count: int) -> Iterator[int]:
    """Version index per symbol (``.gnu.version``); 0 where there is none."""
    data = _table(opened, tags["DT_VERSYM"], 2 * count) if "DT_VERSYM" in tags else b""
    order = "<" if opened.little_endian else ">"
    known = struct.unpack(f"{order}{len(data) // 2}H", data[: len(data) // 2 * 2])
    return itertools.islice(itertools.chain(known, itertools.repeat(0)), count)


def _versions(opened: "ELFFile", tags: Mapping[str, int], names: bytes) -> dict[int, str]:
    """Version names that undefined symbols refer to, by index (``.gnu.version_r``)."""
    if "DT_VERNEED" not in tags:
        return {}
    table = _offset(opened, tags["DT_VERNEED"])
    return {
        index: names[start : names.find(b"\0", start)].decode(errors="replace")
        for _, start, index in elf.walk_verneed(opened, table)
    }
