"""Where two builds of one key differ, and what kind of difference it is."""

import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kvpack.build.nvcc import explained


@dataclass(frozen=True)
class Difference:
    """One member of a wheel that is not the same in both builds."""

    member: str
    kind: str
    """``only in one``, ``time stamp``, ``mode``, ``order``, ``path``, ``build-id``, ``nvcc``…"""
    detail: str

    def as_json(self) -> dict[str, str]:
        return {"member": self.member, "kind": self.kind, "detail": self.detail}


def compare_wheels(first: Path, second: Path) -> list[Difference]:
    """Every difference between two wheels; empty if they are the same bytes."""
    if first.read_bytes() == second.read_bytes():
        return []
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as two:
        found = list(_members(one, two))
        order = [info.filename for info in one.infolist()]
        if not found and order != [info.filename for info in two.infolist()]:
            found.append(Difference("(archive)", "order", "the members stand in another order"))
    return found or [Difference("(archive)", "container", "same members, other compression")]


def compare_libraries(first: Path, second: Path) -> list[Difference]:
    """Every difference between two native libraries (canonical tars); empty if the same bytes."""
    if first.read_bytes() == second.read_bytes():
        return []
    with tarfile.open(first) as one, tarfile.open(second) as two:
        here, there = ({info.name: info for info in tar} for tar in (one, two))
        found = [
            difference
            for name in sorted(here.keys() | there.keys())
            for difference in _in_tars(name, (one, here.get(name)), (two, there.get(name)))
        ]
    return found or [Difference("(archive)", "container", "same members, written otherwise")]


_Member = tuple[tarfile.TarFile, tarfile.TarInfo | None]


def _in_tars(name: str, one: _Member, two: _Member) -> Iterator[Difference]:
    (_, a), (_, b) = one, two
    if a is None or b is None:
        yield Difference(
            name, "only in one", f"only in the {'first' if b is None else 'second'} build"
        )
        return
    if a.type != b.type:
        yield Difference(name, "kind", f"{_kind(a)} and {_kind(b)}")
        return
    if a.linkname != b.linkname:
        yield Difference(name, "link", f"to {a.linkname} and to {b.linkname}")
        return
    if a.mode != b.mode:
        yield Difference(name, "mode", f"{a.mode:o} and {b.mode:o}")
    before, after = (tar.extractfile(name) if a.isfile() else None for tar, _ in (one, two))
    if before and after and (pair := (before.read(), after.read()))[0] != pair[1]:
        yield _content(name, *pair)


def _kind(info: tarfile.TarInfo) -> str:
    return "a folder" if info.isdir() else "a link" if info.issym() else "a file"


def _members(one: zipfile.ZipFile, two: zipfile.ZipFile) -> Iterator[Difference]:
    here, there = set(one.namelist()), set(two.namelist())
    for name in sorted(here | there):
        if name not in here or name not in there:
            where = "first" if name in here else "second"
            yield Difference(name, "only in one", f"only in the {where} build")
            continue
        a, b = one.getinfo(name), two.getinfo(name)
        if a.date_time != b.date_time:
            yield Difference(name, "time stamp", f"{a.date_time} and {b.date_time}")
        if a.external_attr != b.external_attr:
            yield Difference(
                name, "mode", f"{a.external_attr >> 16:o} and {b.external_attr >> 16:o}"
            )
        if one.read(name) != two.read(name):
            yield _content(name, one.read(name), two.read(name))


def _content(name: str, a: bytes, b: bytes) -> Difference:
    offset = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    where = f"{len(a)} and {len(b)} bytes, first difference at {offset}"
    if name.endswith(".dist-info/RECORD"):
        return Difference(name, "record", "follows from the other differences")
    if a.startswith(b"\x7fELF") and (found := _in_elf(a, b)):
        return Difference(name, found[0], f"{found[1]}; {where}")
    if sorted(a.splitlines()) == sorted(b.splitlines()):
        return Difference(name, "order", f"the same lines in another order; {where}")
    window = slice(max(0, offset - 64), offset + 64)
    if path := _path_in(a[window], b[window]):
        return Difference(name, "path", f"a build path is in it: {path}; {where}")
    if stamps := _dates(a[window], b[window]):
        return Difference(name, "time stamp", f"{stamps}; {where}")
    return Difference(name, "content", where)


def _in_elf(a: bytes, b: bytes) -> tuple[str, str] | None:
    """Kind and detail of what compilers and linkers leave in a binary."""
    if ids := _build_ids(a, b):
        changed = sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
        if changed <= 20:  # noqa: PLR2004  # a SHA-1 build-id is 20 bytes
            return "build-id", f"{ids[0]} and {ids[1]}; nothing else differs"
    return ("nvcc", why) if (why := explained(a, b)) else None


def _build_ids(a: bytes, b: bytes) -> tuple[str, str] | None:
    """The GNU build-id notes (gABI note section; name "GNU", type 3), where both have one."""
    found = [
        re.search(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", data, re.DOTALL)
        for data in (a, b)
    ]
    if found[0] is None or found[1] is None or found[0][1] == found[1][1]:
        return None
    return found[0][1].hex(), found[1][1].hex()


def _path_in(a: bytes, b: bytes) -> str | None:
    for data in (a, b):
        match = re.search(rb"/(?:project|tmp)/[\x21-\x7e]+", data)
        if match and match[0] not in (b if data is a else a):
            return match[0].decode()
    return None


_DATE = re.compile(
    rb"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d|"
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d{4}"
)


def _dates(a: bytes, b: bytes) -> str | None:
    """``__DATE__``, ``__TIME__`` and ISO dates that differ."""
    one, two = _DATE.findall(a), _DATE.findall(b)
    if one and two and one != two:
        return f"{one[0].decode()} and {two[0].decode()}"
    return None
