"""What a further build of a wheel adds to the first one's, and what it may not change."""

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import kvpack.build.merge
from kvpack.audit.evidence import selects
from kvpack.build.merge import MARK, merge, named
from tests.unit.build.made import record, wheel_members, zip_bytes

ADDS = ["demo_ep/ext_torch*.so"]
FIRST = {
    "demo/__init__.py": b"x = 1\n",
    "demo_ep/__init__.py": b"",
    "demo_ep/ext_torch213.so": b"for 2.13",
    "demo.libs/libx-1a2b.so": b"x",
    "demo-1.0.data/scripts/run": b"#!python\n",
}
FURTHER = {name: data for name, data in FIRST.items() if "torch" not in name} | {
    "demo_ep/ext_torch214.so": b"for 2.14"
}
MODES = {"demo-1.0.data/scripts/run": 0o755}
RECORD = "demo-1.0.dist-info/RECORD"


def wheel(folder: Path, name: str, files: Mapping[str, bytes]) -> Path:
    path = folder / name / "demo-1.0-cp311-cp311-linux_x86_64.whl"
    path.parent.mkdir()
    path.write_bytes(zip_bytes(wheel_members(files=files), modes=MODES))
    return path


def both(folder: Path, further: Mapping[str, bytes]) -> tuple[Path, Path]:
    return wheel(folder, "first", FIRST), wheel(folder, "further", further)


def test_the_extension_is_added_and_the_record_names_it(tmp_path: Path) -> None:
    first, further = both(tmp_path, FURTHER)
    assert merge(first, further, ADDS) == ["demo_ep/ext_torch214.so"]
    with zipfile.ZipFile(first) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
        mode = archive.getinfo("demo-1.0.data/scripts/run").external_attr >> 16 & 0o777
    members = wheel_members(files={**FIRST, **FURTHER})
    assert {n: d for n, d in found.items() if n != RECORD} == {
        n: d for n, d in members.items() if n != RECORD
    }
    rows = {tuple(row) for row in csv.reader(io.StringIO(found[RECORD].decode()))}
    wanted = record({n: d for n, d in members.items() if n != RECORD}, "demo-1.0.dist-info")
    assert rows == {tuple(row) for row in csv.reader(io.StringIO(wanted.decode()))}
    assert mode == 0o755


def test_the_same_wheels_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        first, further = both(tmp_path / name, FURTHER)
        merge(first, further, ADDS)
        made.append(first.read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("further", "told"),
    [
        ({**FURTHER, "demo/new.py": b""},
         "demo/new.py: only the further build made it, torch-adds does not name it"),
        ({**FURTHER, "demo/__init__.py": b"x = 2\n"},
         "demo/__init__.py: both builds made it, with other bytes"),
        ({n: d for n, d in FURTHER.items() if "libx" not in n} | {"demo.libs/libx-ffff.so": b"y"},
         "demo.libs/libx-1a2b.so: only the first build made it"),
        ({**FURTHER, "demo_ep/ext_torch213.so": b"other"},
         "demo_ep/ext_torch213.so: both builds made it, with other bytes"),
        ({n: d for n, d in FURTHER.items() if "torch" not in n},
         "no file that torch-adds names (demo_ep/ext_torch*.so) was added"),
        (FIRST, "no file that torch-adds names (demo_ep/ext_torch*.so) was added"),
    ],
)  # fmt: skip
def test_nothing_is_lost_and_nothing_is_chosen(
    tmp_path: Path, further: Mapping[str, bytes], told: str
) -> None:
    first, other = both(tmp_path, further)
    before = first.read_bytes()
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its text is compared
        merge(first, other, ADDS)
    assert told in str(caught.value).splitlines()
    assert first.read_bytes() == before


@pytest.mark.parametrize(
    ("glob", "means"),
    [
        ("demo_ep/ext_torch*.so", True),
        ("*/ext_torch21?.so", True),
        ("**/ext_*", True),
        ("demo_ep/**/ext_torch*", True),
        ("*torch*", False),
        ("demo_ep/*torch213*", False),
        ("demo_ep", False),
    ],
)
def test_globs_are_those_of_proofs(glob: str, means: bool) -> None:
    assert named([glob], "demo_ep/ext_torch214.so") is means
    assert selects([glob], "demo_ep/ext_torch214.so") is means


def test_the_version_of_the_back_end_is_no_difference(tmp_path: Path) -> None:
    first, further = both(tmp_path, FURTHER)
    member = "demo-1.0.dist-info/WHEEL"
    for old, new, told in ((b"Generator: made", b"Generator: made 2", ""),
                           (b"Purelib: true", b"Purelib: false", "with other bytes")):  # fmt: skip
        members = wheel_members(files=FURTHER)
        assert members[member].count(old) == 1
        further.write_bytes(zip_bytes({**members, member: members[member].replace(old, new)}))
        if told:
            with pytest.raises(ValueError, match=told):
                merge(first, further, ADDS)
        else:
            before = zipfile.ZipFile(first).read(member)
            assert merge(first, further, ADDS) == ["demo_ep/ext_torch214.so"]
            assert zipfile.ZipFile(first).read(member) == before


def test_the_program_prints_every_fault_with_its_mark(tmp_path: Path) -> None:
    bad = {"demo/__init__.py": b"x = 2\n", "demo/new.py": b""}
    first, further = both(tmp_path, bad)
    program = [sys.executable, "-I", str(kvpack.build.merge.__file__)]
    done = subprocess.run([*program, first, further, *ADDS], capture_output=True, check=False)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 6
    assert all(line.startswith(f"{MARK} demo") or "no file that" in line for line in lines)
    good = wheel(tmp_path, "good", FURTHER)
    done = subprocess.run([*program, first, good, *ADDS], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"merged demo_ep/ext_torch214.so\n")
