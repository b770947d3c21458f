"""Any wheel -> facts and faults: a sound wheel, and wheels wrong in one way each."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from kvpack.audit import policy
from kvpack.audit.wheel import inspect_wheel, read_wheel
from kvpack.errors import WheelInvalid
from tests.unit.audit.elves import Elf
from tests.unit.audit.wheels import Wheel, record_line

SHARED = bytes(Elf(versions={"libc.so.6": ["GLIBC_2.27"]}))
INFO = "demo-1.0.dist-info"


def faults_of(path: Path) -> str:
    """All faults as one text, one a line."""
    return "\n".join(f"{one.place}: {one.message}" for one in inspect_wheel(path)[1])


def test_facts_of_a_sound_wheel(tmp_path: Path) -> None:
    grafted = bytes(Elf(soname="libz-1.so.1", needed=["libnuma.so.1", "libc.so.6"]))
    wheel = Wheel(
        files={
            "demo/_x.cpython-311-x86_64-linux-gnu.so": SHARED,
            "demo.libs/libz-1.so.1": grafted,
            "demo.libs/README": b"text",
            "solo.py": b"",
            "demo.pth": b"import demo",
            "demo-1.0.data/purelib/other/__init__.py": b"",
            "demo-1.0.data/scripts/tool": bytes(Elf(interpreter="/lib64/ld-linux-x86-64.so.2")),
            f"{INFO}/entry_points.txt": b"[console_scripts]\nB = demo:b\na=demo:a\n",
            f"{INFO}/kvpack/key": b"abc123\n",
            f"{INFO}/sboms/x.cdx.json": b"{}",
        },
        modes={"demo-1.0.data/scripts/tool": 0o100755},
        metadata="Metadata-Version: 2.4\nName: Demo\nVersion: 1.0\nRequires-Python: >=3.11\n"
        "Requires-Dist: numpy>=2; python_version > '3'\nRequires-Dist: torch\n\nbody\n",
    )
    facts = read_wheel(wheel.write(tmp_path))
    assert (facts.distribution, facts.name, facts.version) == ("demo", "Demo", "1.0")
    assert facts.tags == ("cp311-cp311-manylinux_2_28_x86_64",)
    assert facts.platforms == ("manylinux_2_28_x86_64",)
    assert facts.requires == ("numpy>=2; python_version > '3'", "torch")
    assert facts.requires_python == ">=3.11"
    assert facts.top_level == ("demo", "other", "solo")
    assert facts.console_scripts == ("B", "a")
    assert facts.grafted == ("demo.libs/libz-1.so.1",)
    assert (facts.key, facts.sboms) == ("abc123", (f"{INFO}/sboms/x.cdx.json",))
    assert (facts.true_floor, facts.needed_from_host) == ("2.27", ("libnuma.so.1",))
    assert {one.path: one.executable_bit for one in facts.elf} == {
        "demo/_x.cpython-311-x86_64-linux-gnu.so": False,
        "demo.libs/libz-1.so.1": False,
        "demo-1.0.data/scripts/tool": True,
    }
    assert facts.startup == ("demo.pth",)
    assert facts.as_json()["schema"] == 1


def test_build_tag_local_version_and_compressed_tags(tmp_path: Path) -> None:
    version = "1.0+kvp.0a1b2c3d"
    wheel = Wheel(
        filename=f"demo-{version}-2x-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        dist_info=f"demo-{version}.dist-info",
        metadata=f"Metadata-Version: 2.4\nName: demo\nVersion: {version}\n",
        wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: false\nBuild: 2x\n"
        "Tag: cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64\n",
    )
    facts = read_wheel(wheel.write(tmp_path))
    assert (facts.version, facts.build_tag, len(facts.tags)) == (version, "2x", 2)


def test_a_pure_wheel_has_no_floor(tmp_path: Path) -> None:
    path = Wheel(filename="demo-1.0-py3-none-any.whl", purelib="true").write(tmp_path)
    facts = read_wheel(path)
    assert (facts.true_floor, facts.elf, facts.top_level) == (None, (), ("demo",))


def test_members_with_the_hash_and_signatures_that_pep_427_allows(tmp_path: Path) -> None:
    record = (
        "demo/__init__.py,sha512=z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7"
        "kxvUdBeoGlODJ6-SfaPg,0\n"
        + "".join(
            record_line(f"{INFO}/{name}", Wheel().members()[f"{INFO}/{name}"])
            for name in ("METADATA", "WHEEL")
        )
        + f"{INFO}/RECORD,,\n"
    )
    wheel = Wheel(record=record, extra={f"{INFO}/RECORD.jws": b"x", f"{INFO}/RECORD.p7s": b"y"})
    assert faults_of(wheel.write(tmp_path)) == ""


BAD = {
    "name, not PEP 427": (Wheel(filename="demo-1.0-any.whl"), "Invalid wheel filename"),
    "no dist-info": (
        Wheel(dist_info="demo", without=frozenset({"RECORD", "WHEEL", "METADATA"})),
        "no *.dist-info folder",
    ),
    "two dist-info": (Wheel(files={"x-1.dist-info/METADATA": b""}), "2 dist-info folders"),
    "other name": (
        Wheel(dist_info="other-1.0.dist-info"),
        "other-1.0.dist-info: the folder does not match the file name (demo 1.0)",
    ),
    "other version": (Wheel(dist_info="demo-1.1.dist-info"), "does not match the file name"),
    "no WHEEL": (Wheel(without=frozenset({"WHEEL"})), "has no WHEEL"),
    "no METADATA": (Wheel(without=frozenset({"METADATA"})), "has no METADATA"),
    "no RECORD": (Wheel(without=frozenset({"RECORD"})), "has no RECORD"),
    "metadata name": (
        Wheel(metadata="Metadata-Version: 2.4\nName: x\nVersion: 1.0\n"),
        "Name is 'x', the file name says 'demo'",
    ),
    "metadata version": (
        Wheel(metadata="Metadata-Version: 2.4\nName: demo\nVersion: 1.1\n"),
        "Version is '1.1', the file name says '1.0'",
    ),
    "metadata without name": (
        Wheel(metadata="Metadata-Version: 2.4\nVersion: 1.0\n"),
        "Name occurs 0 times",
    ),
    "requirement": (
        Wheel(metadata="Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nRequires-Dist: >>\n"),
        "Requires-Dist '>>' cannot be read",
    ),
    "requires-python": (
        Wheel(metadata="Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nRequires-Python: x\n"),
        "Requires-Python cannot be read",
    ),
    "tags": (
        Wheel(wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n"),
        "only WHEEL has py3-none-any; only the file name has cp311-cp311-manylinux_2_28_x86_64",
    ),
    "no tags": (Wheel(wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"), "no Tag"),
    "bad tag": (
        Wheel(wheel="Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3\n"),
        "the tag 'py3' is not python-abi-platform",
    ),
    "wheel version": (
        Wheel(wheel="Wheel-Version: 2.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n"),
        "Wheel-Version '2.0' is not 1.x",
    ),
    "no wheel version": (Wheel(wheel=""), "Wheel-Version occurs 0 times"),
    "no purelib": (Wheel(wheel="Wheel-Version: 1.0\n"), "Root-Is-Purelib is 'missing'"),
    "build": (
        Wheel(wheel="Wheel-Version: 1.0\nBuild: 7\nRoot-Is-Purelib: false\n"),
        "Build is 7, the file name says None",
    ),
    "pure with ELF": (
        Wheel(purelib="true", files={"demo/x.so": SHARED}),
        "Root-Is-Purelib is true, yet there are ELF files: demo/x.so",
    ),
    "entry points": (
        Wheel(files={f"{INFO}/entry_points.txt": b"nonsense"}),
        "entry_points.txt: cannot be read",
    ),
    "unlisted member": (Wheel(extra={"demo/y.py": b"1"}), "demo/y.py: not listed in RECORD"),
    "changed member": (
        Wheel(extra={"demo/__init__.py": b"evil"}),
        "demo/__init__.py: 4 bytes, RECORD says 0; sha256 is",
    ),
    "absent member": (
        Wheel(record="gone.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"),
        "gone.py: listed in RECORD, but not in the wheel",
    ),
    "record: twice": (
        Wheel(record=record_line("demo/__init__.py", b"") * 2),
        "listed twice in RECORD",
    ),
    "record: columns": (Wheel(record="demo/__init__.py,\n"), "line 1 has 2 columns"),
    "record: no hash": (Wheel(record="demo/__init__.py,,0\n"), "no hash"),
    "record: weak hash": (Wheel(record="demo/__init__.py,md5=abc,0\n"), "'md5' is not one of"),
    "record: no digest": (Wheel(record="demo/__init__.py,sha256=!!,0\n"), "no sha256 digest"),
    "record: size": (Wheel(record="demo/__init__.py,sha256=x,-1\n"), "size '-1' is no number"),
    "record: quoting": (Wheel(record='"demo\n'), "not UTF-8 text in CSV form"),
    "absolute": (Wheel(extra={"/etc/passwd": b""}), "an absolute path"),
    "drive": (Wheel(extra={"C:/x": b""}), "an absolute path"),
    "dots": (Wheel(extra={"demo/../../x": b""}), "leaves the wheel with '..'"),
    "empty part": (Wheel(extra={"demo//x": b""}), "empty or '.' part"),
    "backslash": (Wheel(extra={"demo\\x": b""}), "a backslash"),
    "NUL": (Wheel(extra={"demo/x\0.py": b""}), "control character"),
    "case": (
        Wheel(files={"demo/A.py": b"", "demo/a.py": b""}),
        "demo/A.py: differs only in case or spelling from 'demo/a.py'",
    ),
    "file and folder": (
        Wheel(files={"demo/a": b"", "demo/a/b": b""}),
        "demo/a: a file, and a folder of other members",
    ),
    "symlink": (
        Wheel(files={"demo/l": b"/etc"}, modes={"demo/l": stat.S_IFLNK | 0o777}),
        "a symbolic link",
    ),
    "fifo": (
        Wheel(files={"demo/l": b""}, modes={"demo/l": stat.S_IFIFO | 0o644}),
        "a special file",
    ),
    "damaged ELF": (Wheel(files={"demo/x.so": SHARED[:300]}), "demo/x.so: a damaged ELF file"),
}


@pytest.mark.parametrize(("wheel", "fault"), BAD.values(), ids=BAD)
def test_bad_wheels(tmp_path: Path, wheel: Wheel, fault: str) -> None:
    assert fault in faults_of(wheel.write(tmp_path))


def test_all_faults_at_once_and_the_facts_all_the_same(tmp_path: Path) -> None:
    path = Wheel(
        extra={"demo/y.py": b"1", "/x": b""}, without=frozenset({"WHEEL"}), files={"a.so": SHARED}
    ).write(tmp_path)
    facts, faults = inspect_wheel(path)
    assert facts is not None
    assert facts.true_floor == "2.27"
    with pytest.raises(WheelInvalid) as caught:
        read_wheel(path)
    assert caught.value.faults == tuple(faults)
    assert len(faults) >= 4
    assert all(one.place.startswith(path.name) for one in faults)


def test_not_a_zip(tmp_path: Path) -> None:
    path = tmp_path / Wheel().filename
    path.write_bytes(b"<html>not found</html>")
    facts, faults = inspect_wheel(path)
    assert facts is None
    assert "not a zip archive" in faults[0].message
    assert "(22 bytes)" in faults[0].message


@pytest.mark.parametrize("keep", [0, 40, -30])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = Wheel().write(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "truncated" in faults_of(path)


def test_no_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect_wheel(tmp_path / Wheel().filename)


def test_a_duplicate_member(tmp_path: Path) -> None:
    path = Wheel().write(tmp_path)
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as archive,
    ):
        archive.writestr("demo/__init__.py", "evil")
    assert "demo/__init__.py: 2 members have this name" in faults_of(path)


def test_a_damaged_member(tmp_path: Path) -> None:
    path = Wheel(files={"demo/x.bin": bytes(range(256)) * 64}).write(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(b"demo/x.bin") + len(b"demo/x.bin") + 20
    data[at : at + 30] = bytes(30)
    path.write_bytes(data)
    facts, faults = inspect_wheel(path)
    assert facts is not None
    assert [one.place for one in faults] == [f"{path.name}: demo/x.bin"]
    assert "damaged" in faults[0].message


def _patch_directory(path: Path, offset: int, layout: str, value: int) -> None:
    """Change one field of the first entry of the zip's central directory."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into(layout, data, entry + offset, value)
    path.write_bytes(data)


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = Wheel().write(tmp_path)
    _patch_directory(path, 8, "<H", 1)
    facts, faults = inspect_wheel(path)
    assert facts is None
    assert "encrypted" in faults[0].message


def test_an_unknown_compression_method(tmp_path: Path) -> None:
    path = Wheel().write(tmp_path)
    _patch_directory(path, 10, "<H", 99)
    assert "the member is damaged: That compression method is not supported" in faults_of(path)


def test_a_bomb_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = Wheel().write(tmp_path)
    _patch_directory(path, 24, "<I", 1 << 30)
    facts, faults = inspect_wheel(path)
    assert facts is None
    assert "claim to hold 1073742" in faults[0].message


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {**policy.rules()["limits"], "members": 2}
    monkeypatch.setattr(policy, "rules", lambda: {"limits": limits})
    assert "4 members, more than 2" in faults_of(Wheel().write(tmp_path))


def test_an_oversized_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {**policy.rules()["limits"], "text-bytes": 80}
    rules = {**policy.rules(), "limits": limits}
    monkeypatch.setattr(policy, "rules", lambda: rules)
    assert "RECORD: cannot be read" in faults_of(Wheel().write(tmp_path))


def test_a_large_elf_file_goes_through_a_temporary_file(tmp_path: Path) -> None:
    large = SHARED + bytes(17 << 20)
    facts = read_wheel(Wheel(files={"demo/x.so": large}).write(tmp_path))
    assert [one.floor for one in facts.elf] == ["2.27"]


def test_archives_of_objects_are_no_elf_files(tmp_path: Path) -> None:
    facts = read_wheel(Wheel(files={"demo/x.a": b"!<arch>\n" + SHARED}).write(tmp_path))
    assert facts.elf == ()


def test_every_mutilation_is_described(tmp_path: Path) -> None:
    """Whatever a byte of the zip says, there is no traceback."""
    sound = Wheel(files={"demo/x.so": SHARED}).write(tmp_path).read_bytes()
    path = tmp_path / Wheel().filename
    for at in range(0, len(sound), 7):
        stream = io.BytesIO(sound)
        stream.seek(at)
        stream.write(bytes([sound[at] ^ 0xFF]))
        path.write_bytes(stream.getvalue())
        facts, faults = inspect_wheel(path)
        assert facts is not None or faults
