"""One ELF file -> ElfFile, for files written by hand."""

import contextlib
import io
import random
import struct

import pytest

from kvpack.audit.elf import ElfDamagedError, read_elf
from kvpack.audit.model import ElfFile, ElfKind
from tests.unit.audit.elves import ET_EXEC, ET_REL, HEADER, SEGMENT, Elf

LOADER = "/lib64/ld-linux-x86-64.so.2"


def read(elf: Elf) -> ElfFile:
    return read_elf(io.BytesIO(bytes(elf)), "demo/x.so")


def test_reads_what_the_dynamic_segment_says() -> None:
    found = read(
        Elf(
            soname="libx.so.1",
            needed=["libc.so.6", "libm.so.6"],
            rpath="/a::$ORIGIN",
            runpath="$ORIGIN/../x.libs",
            build_id=b"\xab\xcd",
        )
    )
    assert (found.soname, found.needed) == ("libx.so.1", ("libc.so.6", "libm.so.6"))
    assert (found.rpath, found.runpath) == (("/a", "", "$ORIGIN"), ("$ORIGIN/../x.libs",))
    assert (found.build_id, found.kind, found.arch) == ("abcd", ElfKind.SHARED, "x86_64")


def test_an_empty_search_path_is_none_at_all() -> None:
    assert read(Elf(runpath="")).runpath == ()


def test_versions_are_compared_as_numbers() -> None:
    found = read(
        Elf(
            versions={
                "libc.so.6": ["GLIBC_2.4", "GLIBC_2.14", "GLIBC_2.2.5"],
                "libstdc++.so.6": ["GLIBCXX_3.4.9", "GLIBCXX_3.4.30", "CXXABI_FLOAT128"],
            }
        )
    )
    assert found.versions == {"GLIBC": "2.14", "GLIBCXX": "3.4.30"}
    assert found.symbol_versions["libstdc++.so.6"][0] == "CXXABI_FLOAT128"
    assert found.floor == "2.35"


@pytest.mark.parametrize(
    ("elf", "floor"),
    [
        (Elf(), "2.5"),
        (Elf(arch="aarch64"), "2.17"),
        (Elf(versions={"libc.so.6": ["GLIBC_2.34"]}), "2.34"),
        (Elf(arch="aarch64", versions={"libc.so.6": ["GLIBC_2.34"]}), "2.34"),
        (Elf(versions={"libc.so.6": ["GLIBC_2.33"]}), "2.34"),
        (Elf(needed=["libmvec.so.1"]), "2.24"),
        (Elf(relr=True), "2.36"),
        (Elf(versions={"libc.so.6": ["GLIBC_ABI_DT_RELR"]}), "2.36"),
        (Elf(versions={"libc.so.6": ["GLIBC_PRIVATE"]}), "2.5"),
        (Elf(versions={"libssl.so.3": ["OPENSSL_3.9.0"]}), "2.5"),
        (Elf(versions={"ld-linux-x86-64.so.2": ["GLIBC_2.35"]}), "2.35"),
        (Elf(versions={"libc.so.6": ["GLIBC_2.99"]}), None),
        (Elf(versions={"libstdc++.so.6": ["GLIBCXX_9.9"]}), None),
        (Elf(needed=["libc.musl-x86_64.so.1"], relr=True), None),
        (Elf(arch="odd"), None),
    ],
)
def test_floor(elf: Elf, floor: str | None) -> None:
    assert read(elf).floor == floor


@pytest.mark.parametrize(
    ("elf", "kind"),
    [
        (Elf(), ElfKind.SHARED),
        (Elf(interpreter=LOADER, pie=True), ElfKind.PIE),
        (Elf(interpreter=LOADER), ElfKind.PIE),
        (Elf(interpreter=LOADER, soname="libQt6Core.so.6"), ElfKind.SHARED),
        (Elf(type=ET_EXEC, interpreter=LOADER), ElfKind.EXECUTABLE),
        (Elf(type=ET_EXEC, dynamic=False), ElfKind.STATIC),
        (Elf(needed=[], pie=True), ElfKind.STATIC_PIE),
        (Elf(type=ET_REL, dynamic=False), ElfKind.RELOCATABLE),
        (Elf(type=4, dynamic=False), ElfKind.OTHER),
    ],
)
def test_kind(elf: Elf, kind: ElfKind) -> None:
    assert read(elf).kind is kind


def test_a_static_program_applies_its_own_relr_relocations() -> None:
    found = read(Elf(needed=[], pie=True, relr=True))
    assert (found.relr, found.floor) == (False, "2.5")


def test_device_code_is_told_apart() -> None:
    found = read(Elf(arch="cuda", versions={"libc.so.6": ["GLIBC_2.99"]}))
    assert (found.arch, found.device, found.floor) == ("cuda", True, None)


@pytest.mark.parametrize(
    ("elf", "executable"),
    [
        (Elf(stack=6), False),
        (Elf(stack=7), True),
        (Elf(stack=None), True),
        (Elf(stack=None, arch="aarch64"), False),
    ],
)
def test_executable_stack(elf: Elf, *, executable: bool) -> None:
    assert read(elf).executable_stack is executable


def test_text_relocations() -> None:
    assert read(Elf(textrel=True)).text_relocations
    assert read(Elf(textrel_flag=True)).text_relocations
    assert not read(Elf()).text_relocations


@pytest.mark.parametrize(("bits", "isa"), [(1, None), (3, "x86-64-v2"), (15, "x86-64-v4")])
def test_instruction_set(bits: int, isa: str | None) -> None:
    assert read(Elf(isa=bits)).isa == isa


@pytest.mark.parametrize("size", [4, 16, 63, 200, 600])
def test_truncated(size: int) -> None:
    data = bytes(Elf(versions={"libc.so.6": ["GLIBC_2.34"]}))
    with pytest.raises(ElfDamagedError):
        read_elf(io.BytesIO(data[:size]), "x.so")


def test_a_chain_of_versions_that_does_not_end() -> None:
    data = bytes(Elf(versions={"libc.so.6": ["GLIBC_2.34"]}))
    sound = struct.pack("<HH", 1, 1)  # vn_version, vn_cnt
    at = data.index(sound, HEADER + 8 * SEGMENT)
    endless = data[:at] + struct.pack("<HH", 1, 0xFFFF) + data[at + 4 :]
    with pytest.raises(ElfDamagedError, match="does not end"):
        read_elf(io.BytesIO(endless), "x.so")


def test_no_damage_ends_in_a_traceback() -> None:
    sound = bytes(
        Elf(
            soname="libx.so",
            interpreter=LOADER,
            runpath="$ORIGIN",
            versions={"libc.so.6": ["GLIBC_2.34", "GLIBC_2.17"]},
            build_id=b"1234",
            isa=3,
        )
    )
    chance = random.Random(7)  # noqa: S311  - repeatable damage, no secret
    for _ in range(1500):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(4, len(data))] = chance.choice([0, 1, 0x7F, 0xFF])
        with contextlib.suppress(ElfDamagedError):
            assert read_elf(io.BytesIO(data), "x.so").path
