"""Two builds of one key: each kind of difference is told apart."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.build.compare import Difference, compare_wheels
from tests.unit.build.made import wheel_members, zip_bytes

ONE = {"demo/a.so": b"1", "demo/b.py": b"x"}


def compared(tmp_path: Path, first: bytes, second: bytes) -> list[Difference]:
    (tmp_path / "1.whl").write_bytes(first)
    (tmp_path / "2.whl").write_bytes(second)
    return compare_wheels(tmp_path / "1.whl", tmp_path / "2.whl")


def content(tmp_path: Path, first: bytes, second: bytes, name: str = "demo/a.so") -> Difference:
    """The one difference between two wheels that differ in one member."""
    (found,) = compared(tmp_path, zip_bytes({name: first}), zip_bytes({name: second}))
    assert found.member == name
    return found


def elf(build_id: bytes, rest: bytes = b"") -> bytes:
    note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0" + build_id
    return b"\x7fELF" + b"\0" * 60 + note + b"\0" * 60 + rest


def test_the_same_bytes_have_no_difference(tmp_path: Path) -> None:
    assert compared(tmp_path, zip_bytes(ONE), zip_bytes(ONE)) == []


def test_time_stamps_of_entries(tmp_path: Path) -> None:
    second = zip_bytes(ONE, when=(2024, 2, 3, 4, 5, 8))
    found = compared(tmp_path, zip_bytes(ONE), second)
    assert [(one.member, one.kind) for one in found] == [(name, "time stamp") for name in ONE]
    assert "(2024, 2, 3, 4, 5, 6) and (2024, 2, 3, 4, 5, 8)" in found[0].detail


def test_modes(tmp_path: Path) -> None:
    (found,) = compared(tmp_path, zip_bytes(ONE), zip_bytes(ONE, modes={"demo/b.py": 0o755}))
    assert found == Difference("demo/b.py", "mode", "100644 and 100755")


@pytest.mark.parametrize("where", ["first", "second"])
def test_a_member_of_one_only(tmp_path: Path, where: str) -> None:
    more: Mapping[str, bytes] = {**ONE, "demo/more.py": b""}
    pair = (more, ONE) if where == "first" else (ONE, more)
    (found,) = compared(tmp_path, zip_bytes(pair[0]), zip_bytes(pair[1]))
    assert found == Difference("demo/more.py", "only in one", f"only in the {where} build")


def test_the_order_of_members(tmp_path: Path) -> None:
    (found,) = compared(tmp_path, zip_bytes(ONE), zip_bytes(dict(reversed(ONE.items()))))
    assert (found.member, found.kind) == ("(archive)", "order")


def test_compression_alone(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(zip_bytes(ONE))) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in source.infolist():
            data = source.read(info)
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, data)
    (found,) = compared(tmp_path, zip_bytes(ONE), buffer.getvalue())
    assert (found.member, found.kind) == ("(archive)", "container")


def test_a_path_of_the_build(tmp_path: Path) -> None:
    first = b"\x7fELF assert /project/source/x.c\0"
    found = content(tmp_path, first, first.replace(b"source", b"rebuilt"))
    assert found.kind == "path"
    assert "/project/source/x.c" in found.detail


def test_a_temporary_path(tmp_path: Path) -> None:
    found = content(tmp_path, b"built in /tmp/aaaa here", b"built in /tmp/bbbb here")
    assert found.kind == "path"
    assert "/tmp/aaaa" in found.detail  # noqa: S108  # it is a text


def test_a_build_id_alone(tmp_path: Path) -> None:
    found = content(tmp_path, elf(b"a" * 20), elf(b"b" * 20))
    assert found.kind == "build-id"
    assert b"a".hex() * 20 in found.detail


def test_what_nvcc_names_after_its_process(tmp_path: Path) -> None:
    """The linker's build-id follows from it."""
    one, two = (
        elf(name * 20, b"\0tmpxft_0000" + name * 4 + b"_00000000-6_k.cudafe1.cpp\0")
        for name in (b"a", b"b")
    )
    found = content(tmp_path, one, two)
    assert found.kind == "nvcc"
    assert "intermediate files" in found.detail
    assert "nothing else differs" in found.detail


def test_a_build_id_that_follows_from_changed_code(tmp_path: Path) -> None:
    assert content(tmp_path, elf(b"a" * 20, b"1" * 40), elf(b"b" * 20, b"2" * 40)).kind == "content"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"\x7fELF built 12:00:01\0", b"\x7fELF built 12:00:02\0"),
        (b"\x7fELF on Feb  3 2024\0", b"\x7fELF on Feb  4 2024\0"),
        (b"generated 2024-02-03", b"generated 2024-02-04"),
    ],
)
def test_dates_and_times_in_the_content(tmp_path: Path, first: bytes, second: bytes) -> None:
    found = content(tmp_path, first, second)
    assert found.kind == "time stamp"
    assert first[-8:-1].decode() in found.detail


def test_the_same_lines_in_another_order(tmp_path: Path) -> None:
    found = content(tmp_path, b"a\nb\nc\n", b"b\na\nc\n", "demo/list.txt")
    assert found.kind == "order"
    assert "first difference at 0" in found.detail


def test_any_other_content(tmp_path: Path) -> None:
    found = content(tmp_path, b"x = 1\n", b"x = 10\n")
    assert (found.kind, found.detail) == ("content", "6 and 7 bytes, first difference at 5")


def test_one_that_is_the_beginning_of_the_other(tmp_path: Path) -> None:
    assert "first difference at 3" in content(tmp_path, b"abc", b"abcd").detail


def test_record_follows_from_the_others(tmp_path: Path) -> None:
    first = wheel_members(files={"demo/__init__.py": b"1"})
    second = wheel_members(files={"demo/__init__.py": b"2"})
    found = compared(tmp_path, zip_bytes(first), zip_bytes(second))
    assert {one.member: one.kind for one in found} == {
        "demo-1.0.dist-info/RECORD": "record",
        "demo/__init__.py": "content",
    }
    assert found[1].as_json() == {
        "member": "demo/__init__.py",
        "kind": "content",
        "detail": "1 and 1 bytes, first difference at 0",
    }
