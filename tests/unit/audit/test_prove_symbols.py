"""Dynamic symbols and texts of members, for files written by hand."""

import io
import random
import re
import struct

import pytest

from kvpack.audit.elf import ElfDamagedError
from kvpack.audit.symbols import read_symbols, search
from kvpack.tools.files import CHUNK
from tests.unit.audit.elves import Elf

ALL = re.compile(b"")
VERBS = {"libibverbs.so.1": ["IBVERBS_1.1", "IBVERBS_1.12"]}
LIBC = {"libc.so.6": ["GLIBC_2.34"], **VERBS}


def names(elf: Elf, wanted: re.Pattern[bytes] = ALL) -> list[tuple[str, str, bool]]:
    found = read_symbols(io.BytesIO(bytes(elf)), wanted)
    return [(one.name, one.version, one.defined) for one in found if one.name]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_reads_names_versions_and_who_defines_them(arch: str) -> None:
    symbols = ["+PyInit_engine", "ibv_reg_dmabuf_mr@IBVERBS_1.12", "free@GLIBC_2.34", "cuInit"]
    assert names(Elf(arch=arch, symbols=symbols, versions=LIBC)) == [
        ("PyInit_engine", "", True),
        ("ibv_reg_dmabuf_mr", "IBVERBS_1.12", False),
        ("free", "GLIBC_2.34", False),
        ("cuInit", "", False),
    ]


def test_a_file_that_exports_nothing_still_shows_what_it_needs() -> None:
    assert names(Elf(symbols=["a", "b"])) == [("a", "", False), ("b", "", False)]


def test_only_what_was_asked_for_is_kept() -> None:
    many = [f"+_ZN8mooncake{number}E" for number in range(500)]
    assert names(Elf(symbols=[*many, "+N8mooncake15Nv"]), re.compile(b"15Nv")) == [
        ("N8mooncake15Nv", "", True)
    ]


@pytest.mark.parametrize("elf", [Elf(), Elf(dynamic=False)], ids=["stripped", "static"])
def test_no_table_is_told(elf: Elf) -> None:
    with pytest.raises(ElfDamagedError, match="no dynamic symbol table"):
        names(elf)


def test_a_table_that_no_linker_writes_is_refused() -> None:
    data = bytearray(bytes(Elf(symbols=["+x"])))
    entry = struct.pack("<Q", 10)  # DT_STRSZ
    place = data.rindex(entry)
    data[place + 8 : place + 16] = struct.pack("<Q", 1 << 40)
    with pytest.raises(ElfDamagedError, match="no linker writes that"):
        read_symbols(io.BytesIO(bytes(data)), ALL)


def test_damaged_tables_end_in_one_error_or_in_names() -> None:
    sound = bytes(Elf(symbols=["+x", "y@IBVERBS_1.1"] * 20, versions=VERBS))
    chance = random.Random(7)  # noqa: S311  # nothing is secret here
    outcomes = set()
    for _ in range(600):
        data = bytearray(sound)
        for _ in range(3):
            data[chance.randrange(64, len(data))] = chance.randrange(256)
        try:
            found = read_symbols(io.BytesIO(bytes(data)), ALL)
        except ElfDamagedError:
            outcomes.add("refused")
        else:
            outcomes.add("read" if found else "empty")
    assert {"refused", "read"} <= outcomes


# -- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 5, CHUNK - 3, CHUNK, 2 * CHUNK - 1, 3 * CHUNK - 6])
def test_a_text_is_found_wherever_it_lies(place: int) -> None:
    data = bytearray(3 * CHUNK)
    data[place : place + 6] = b"needle"
    found, matches = search(
        io.BytesIO(bytes(data)), frozenset({"needle", "no"}), frozenset({"(n.e)dl"})
    )
    assert found == {"needle"}
    assert matches == {"(n.e)dl": (("nee",),)}


@pytest.mark.parametrize("place", [0, CHUNK - 4096, CHUNK - 10, CHUNK - 1, CHUNK])
def test_a_match_is_never_cut(place: int) -> None:
    data = bytearray(2 * CHUNK)
    text = b"0.3.13.post1 (git: 7197358)"
    data[place : place + len(text)] = text
    pattern = r"(\d[\w.]*) \(git: ([0-9a-f]{7,40})\)"
    _, matches = search(io.BytesIO(bytes(data)), frozenset(), frozenset({pattern}))
    assert matches == {pattern: (("0.3.13.post1", "7197358"),)}


def test_nothing_in_nothing() -> None:
    assert search(io.BytesIO(), frozenset({"x"}), frozenset({"(x)"})) == (frozenset(), {"(x)": ()})


def test_what_a_file_says_is_safe_to_print_and_bounded() -> None:
    data = b"v=\x1b[31mred;" + b"".join(b"v=%d;" % number for number in range(5000))
    _, matches = search(io.BytesIO(data), frozenset(), frozenset({"v=([^;]+)"}))
    found = {groups[0] for groups in matches["v=([^;]+)"]}
    assert "\N{REPLACEMENT CHARACTER}[31mred" in found
    assert len(found) == 1000
