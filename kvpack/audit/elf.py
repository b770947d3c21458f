"""One ELF file -> ``ElfFile``, from its headers alone: no symbol table is walked.

Only what the loader itself uses is trusted (program headers, dynamic segment, notes), never
section headers, which stripping may remove. Static archives are no ELF files and not read here.
"""

import contextlib
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from kvpack.audit import policy
from kvpack.audit.model import ElfFile, ElfKind
from kvpack.names import Glibc, version_key

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import Segment

MAGIC = b"\x7fELF"

_DF_TEXTREL = 0x4
_DF_1_PIE = 0x08000000
_PF_X = 0x1
_MOST_VERSIONS = 20_000
"""More ``Verneed`` and ``Vernaux`` entries than any linker writes: a damaged chain."""
_LONGEST_STRING = 65_536
_NUMBERED = re.compile(r"(?P<prefix>.+)_(?P<number>\d+(\.\d+)*)")
_EXECUTABLE_BY_DEFAULT = frozenset({"x86_64", "i686"})
"""Where glibc makes the stack executable for a file that has no ``PT_GNU_STACK`` at all."""


class ElfDamagedError(Exception):
    """An ELF file that its own headers do not describe; becomes a fault with the member's name."""


def read_elf(stream: IO[bytes], path: str, *, executable_bit: bool = False) -> ElfFile:
    """Describe the ELF file in a seekable stream.

    :param path: member path, for the result only.
    :raises ElfDamagedError: if the file is truncated or contradicts itself.
    """
    with as_damage():
        return _describe(stream, path, executable_bit=executable_bit)


@contextlib.contextmanager
def as_damage() -> Iterator[None]:
    """Turn whatever a hostile header provokes in pyelftools' parser into one error.

    :raises ElfDamagedError: with the parser's words.
    """
    from elftools.common.exceptions import ELFError  # noqa: PLC0415  - 0.06 s, only when needed
    from elftools.construct.core import ConstructError  # noqa: PLC0415  - as above

    try:
        yield
    except ElfDamagedError:
        raise
    except (
        *(
            ELFError,
            ConstructError,
            ValueError,
            LookupError,
            AttributeError,
            TypeError,
            AssertionError,
        ),
        *(ArithmeticError, MemoryError, RecursionError, OSError, struct.error),
    ) as error:
        text = str(error) or type(error).__name__
        raise ElfDamagedError(text.splitlines()[0]) from error


def _describe(stream: IO[bytes], path: str, *, executable_bit: bool) -> ElfFile:
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  - as above

    elf = ELFFile(stream)
    arch, device = _machine(elf)
    if device:
        return ElfFile(path=path, arch=arch, device=True, kind=ElfKind.OTHER)
    segments = list(elf.iter_segments())
    _check_size(stream, segments)
    facts: dict[str, Any] = {"interpreter": _interpreter(segments)}
    flags = 0
    wants: dict[str, tuple[str, ...]] = {}
    for segment in segments:
        if segment["p_type"] == "PT_DYNAMIC":
            dynamic, flags = _dynamic(segment)
            facts |= dynamic
            wants = _versions_needed(elf, segment)
    facts |= _notes(segments)
    facts["kind"] = _kind(elf, facts, pie=bool(flags & _DF_1_PIE))
    # A static program applies its own relocations, and musl has its own loader for them.
    if facts["kind"] is ElfKind.STATIC_PIE or _is_musl(facts):
        facts["relr"] = False
    return ElfFile(
        path=path,
        arch=arch,
        executable_bit=executable_bit,
        executable_stack=_executable_stack(segments, arch, elf["e_type"]),
        symbol_versions=wants,
        versions=_highest(wants),
        floor=_floor(wants, facts, arch),
        **facts,
    )


def _machine(elf: "ELFFile") -> tuple[str, bool]:
    """Architecture as in platform tags, and whether it is a device's."""
    machine = str(elf["e_machine"])
    devices = policy.rules()["devices"]
    if machine in devices:
        return devices[machine], True
    order = "little" if elf.little_endian else "big"
    return policy.rules()["machines"].get(f"{machine}/{elf.elfclass}/{order}", "other"), False


def _check_size(stream: IO[bytes], segments: list["Segment"]) -> None:
    size = stream.seek(0, 2)
    for segment in segments:
        end = segment["p_offset"] + segment["p_filesz"]
        if end > size:
            raise ElfDamagedError(
                f"truncated: {segment['p_type']} ends at byte {end}, the file at {size}"
            )


def _interpreter(segments: list["Segment"]) -> str | None:
    found = [segment for segment in segments if segment["p_type"] == "PT_INTERP"]
    return found[0].data().rstrip(b"\0").decode() if found else None


def _kind(elf: "ELFFile", facts: dict[str, Any], *, pie: bool) -> ElfKind:
    kind = elf["e_type"]
    interpreter = facts["interpreter"]
    if kind == "ET_EXEC":
        return ElfKind.EXECUTABLE if interpreter else ElfKind.STATIC
    if kind == "ET_REL":
        return ElfKind.RELOCATABLE
    if kind != "ET_DYN":
        return ElfKind.OTHER
    if interpreter is None:
        return ElfKind.STATIC_PIE if pie else ElfKind.SHARED
    # Some libraries name a loader so that they can be run to print their version (libc, Qt).
    return ElfKind.PIE if pie or not facts.get("soname") else ElfKind.SHARED


def _dynamic(segment: Any) -> tuple[dict[str, Any], int]:  # noqa: ANN401  - a DynamicSegment
    """Read the dynamic segment: fields of ``ElfFile``, and ``DT_FLAGS_1``."""
    tags = list(segment.iter_tags())
    last = {tag.entry.d_tag: tag for tag in tags}
    flags, flags_1 = (
        last[name].entry.d_val if name in last else 0 for name in ("DT_FLAGS", "DT_FLAGS_1")
    )
    found = {
        "needed": tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        "soname": last["DT_SONAME"].soname if "DT_SONAME" in last else None,
        "rpath": _entries(last["DT_RPATH"].rpath if "DT_RPATH" in last else ""),
        "runpath": _entries(last["DT_RUNPATH"].runpath if "DT_RUNPATH" in last else ""),
        "relr": "DT_RELR" in last,
        "text_relocations": "DT_TEXTREL" in last or bool(flags & _DF_TEXTREL),
    }
    return found, flags_1


def _entries(path: str) -> tuple[str, ...]:
    """Split a search path. glibc ignores one that is empty as a whole (patchelf leaves those)."""
    return tuple(path.split(":")) if path else ()


def _versions_needed(elf: "ELFFile", segment: Any) -> dict[str, tuple[str, ...]]:  # noqa: ANN401
    """Soname -> version names, from ``DT_VERNEED`` (gABI, LSB "Symbol Versioning")."""
    _, strings = segment.get_table_offset("DT_STRTAB")
    _, table = segment.get_table_offset("DT_VERNEED")
    if table is None:
        return {}
    wants: dict[str, set[str]] = defaultdict(set)
    for library, version, _ in walk_verneed(elf, table):
        wants[_string(elf.stream, strings, library)].add(_string(elf.stream, strings, version))
    return {library: tuple(sorted(wants[library])) for library in sorted(wants)}


def walk_verneed(elf: "ELFFile", table: int) -> Iterator[tuple[int, int, int]]:
    """Follow the two chains as the loader does.

    :return: string offsets of library and version, and the index that symbols use for it.
    :raises ElfDamagedError: if a chain does not end.
    """
    order = "<" if elf.little_endian else ">"
    left = _MOST_VERSIONS
    while True:
        _, count, library, first, following = _unpack(elf.stream, table, order + "HHIII")
        entry = table + first
        for _ in range(count):
            left -= 1
            if left < 0:
                raise ElfDamagedError("the chain of needed symbol versions does not end")
            _, _, index, name, after = _unpack(elf.stream, entry, order + "IHHII")
            yield library, name, index
            entry += after
        left -= 1
        if not following:
            return
        if left < 0:
            raise ElfDamagedError("the chain of needed symbol versions does not end")
        table += following


def _unpack(stream: IO[bytes], offset: int, layout: str) -> tuple[int, ...]:
    stream.seek(offset)
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def _string(stream: IO[bytes], table: int, offset: int) -> str:
    stream.seek(table + offset)
    text, end, _ = stream.read(_LONGEST_STRING).partition(b"\0")
    if not end:
        raise ElfDamagedError(f"the string at {offset} of the dynamic string table does not end")
    return text.decode()


def _notes(segments: list["Segment"]) -> dict[str, Any]:
    """Build id and x86 ISA level, from ``PT_NOTE``."""
    found: dict[str, Any] = {}
    notes = (one for one in segments if one["p_type"] == "PT_NOTE")
    for note in (note for segment in notes for note in segment.iter_notes()):  # type: ignore[attr-defined]
        if note["n_name"] != "GNU":
            continue
        if note["n_type"] == "NT_GNU_BUILD_ID":
            found["build_id"] = note["n_desc"]
        elif note["n_type"] == "NT_GNU_PROPERTY_TYPE_0":
            found["isa"] = _isa(note["n_desc"]) or found.get("isa")
    return found


def _isa(properties: Any) -> str | None:  # noqa: ANN401  - pyelftools' containers
    """Highest x86-64 level in ``GNU_PROPERTY_X86_ISA_1_NEEDED`` (x86-64 psABI)."""
    for one in properties:
        if one.pr_type == "GNU_PROPERTY_X86_ISA_1_NEEDED" and isinstance(one.pr_data, int):
            named = policy.rules()["x86-isa"].items()
            levels = [name for bit, name in named if one.pr_data & int(bit)]
            return levels[-1] if levels else None
    return None


def _executable_stack(segments: list["Segment"], arch: str, kind: str) -> bool:
    stacks = [segment for segment in segments if segment["p_type"] == "PT_GNU_STACK"]
    if stacks:
        return bool(stacks[0]["p_flags"] & _PF_X)
    return kind in {"ET_DYN", "ET_EXEC"} and arch in _EXECUTABLE_BY_DEFAULT


def _highest(wants: dict[str, tuple[str, ...]]) -> dict[str, str]:
    highest: dict[str, str] = {}
    for version in sorted({one for many in wants.values() for one in many}):
        found = _NUMBERED.fullmatch(version)
        if found:
            prefix, number = found["prefix"], found["number"]
            highest[prefix] = max(highest.get(prefix, number), number, key=version_key)
    return highest


def _floor(wants: dict[str, tuple[str, ...]], facts: dict[str, Any], arch: str) -> Glibc | None:
    if _is_musl(facts):
        return None
    versions = {one for many in wants.values() for one in many}
    if facts.get("relr"):
        versions.add(policy.RELR)
    return policy.floor_for(versions, facts.get("needed", ()), arch)


def _is_musl(facts: dict[str, Any]) -> bool:
    names = {
        name.rpartition("/")[2] for name in (*facts.get("needed", ()), facts["interpreter"] or "")
    }
    return any(policy.matches(name, policy.rules()["libc"]["musl"]) for name in names)
