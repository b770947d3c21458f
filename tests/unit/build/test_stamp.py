"""A stamped wheel carries its evidence and its new name, and has the same bytes every time."""

import ast
import csv
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import kvpack.audit.trial
import kvpack.build.stamp
from kvpack.audit.wheel import read_wheel
from kvpack.build.stamp import check_version, programs, stamp, stamped_metadata
from tests.unit.build.made import EPOCH, record, sha, wheel_members, zip_bytes

ORDER: dict[str, object] = {
    "name": "Demo.KV-x",
    "version": "1.0+kvp.1a2b3c4d",
    "epoch": EPOCH,
    "upstream": "1.0",
}
NEW = "demo_kv_x-1.0+kvp.1a2b3c4d"
FILES = {
    "demo/__init__.py": b"x = 1\n",
    "demo/tool.sh": b"#!/bin/sh\n",
    "zzz.py": b"",
    "demo-1.0.data/scripts/run": b"#!python\n",
}
MODES = {"demo/tool.sh": 0o775, "demo-1.0.data/scripts/run": 0o700, "zzz.py": 0o600}


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    (folder / "kvpack").mkdir(parents=True)
    (folder / "sboms").mkdir()
    (folder / "kvpack" / "key").write_bytes(b"1a2b3c4d\n")
    (folder / "sboms" / "kvpack.cdx.json").write_bytes(b"{}")
    return folder


def packed(tmp_path: Path, data: bytes, name: str = "demo-1.0-py3-none-any.whl") -> Path:
    path = tmp_path / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def stamped(
    tmp_path: Path, evidence: Path, data: bytes | None = None, order: Mapping[str, object] = ORDER
) -> Path:
    if data is None:
        data = zip_bytes(wheel_members(files=FILES), modes=MODES)
    (tmp_path / "out").mkdir(exist_ok=True)
    return stamp(packed(tmp_path, data), tmp_path / "out", dict(order), evidence)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_stamped_wheel_is_sound_and_named_anew(tmp_path: Path, evidence: Path) -> None:
    path = stamped(tmp_path, evidence)
    assert path.name == f"{NEW}-py3-none-any.whl"
    facts = read_wheel(path)  # it fails on any fault: names, RECORD, structure
    assert (facts.name, facts.version) == ("Demo.KV-x", "1.0+kvp.1a2b3c4d")
    assert facts.key == "1a2b3c4d"
    assert facts.sboms == (f"{NEW}.dist-info/sboms/kvpack.cdx.json",)
    assert members(path)["demo/__init__.py"] == b"x = 1\n"


def test_a_build_tag_and_all_tags_stay_in_the_name(tmp_path: Path, evidence: Path) -> None:
    (tmp_path / "out").mkdir()
    name = "demo-1.0-3-cp311-cp311-manylinux_2_36_x86_64.whl"
    source = packed(tmp_path, zip_bytes(wheel_members()), name)
    made = stamp(source, tmp_path / "out", ORDER, evidence)
    assert made.name == f"{NEW}-3-cp311-cp311-manylinux_2_36_x86_64.whl"


FLOOR, OWN = "manylinux_2_34_x86_64", "manylinux_2_36_x86_64"


@pytest.mark.parametrize(
    ("tagged", "named", "kept"),
    [
        ((FLOOR, OWN), f"{FLOOR}.{OWN}", (FLOOR,)),
        ((OWN, FLOOR), f"{OWN}.{FLOOR}", (FLOOR,)),
        ((FLOOR,), FLOOR, (FLOOR,)),
        ((OWN,), OWN, (OWN,)),  # nothing has proved the floor: the audit tells
    ],
)
def test_of_the_platforms_only_the_floor_stays(
    tmp_path: Path, evidence: Path, tagged: tuple[str, ...], named: str, kept: tuple[str, ...]
) -> None:
    """A back end tags a wheel with the glibc that it runs on, auditwheel adds the floor's tag."""
    (tmp_path / "out").mkdir()
    found = wheel_members()
    head = b"Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: false\n"
    tags = [f"Tag: cp311-cp311-{platform}\n" for platform in tagged]
    found["demo-1.0.dist-info/WHEEL"] = head + "".join(tags).encode()
    source = packed(tmp_path, zip_bytes(found), f"demo-1.0-cp311-cp311-{named}.whl")
    made = stamp(source, tmp_path / "out", {**ORDER, "platform": FLOOR}, evidence)
    assert made.name == f"{NEW}-cp311-cp311-{'.'.join(kept)}.whl"
    lines = "".join(f"Tag: cp311-cp311-{platform}\n" for platform in kept)
    assert members(made)[f"{NEW}.dist-info/WHEEL"] == head + lines.encode()
    assert read_wheel(made).tags == tuple(f"cp311-cp311-{platform}" for platform in kept)


def test_members_stand_in_one_order_with_record_last(tmp_path: Path, evidence: Path) -> None:
    assert list(members(stamped(tmp_path, evidence))) == [
        *("demo/__init__.py", "demo/tool.sh", f"{NEW}.data/scripts/run", "zzz.py"),
        *(f"{NEW}.dist-info/METADATA", f"{NEW}.dist-info/WHEEL"),
        *(f"{NEW}.dist-info/kvpack/key", f"{NEW}.dist-info/sboms/kvpack.cdx.json"),
        f"{NEW}.dist-info/RECORD",
    ]


def test_execute_bits_are_kept_and_all_else_is_normal(tmp_path: Path, evidence: Path) -> None:
    with zipfile.ZipFile(stamped(tmp_path, evidence)) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert {info.create_system for info in archive.infolist()} == {3}
        assert {info.date_time for info in archive.infolist()} == {(2020, 9, 13, 12, 26, 40)}
    assert modes["demo/tool.sh"] == modes[f"{NEW}.data/scripts/run"] == 0o100755
    assert {modes["zzz.py"], modes[f"{NEW}.dist-info/RECORD"]} == {0o100644}


def test_execute_bits_that_a_step_lost_are_given_back(tmp_path: Path, evidence: Path) -> None:
    """Programs that pack a wheel anew with ``zipfile`` lose all modes."""
    expected = stamped(tmp_path, evidence).read_bytes()
    before = packed(tmp_path, zip_bytes(wheel_members(files=FILES), modes=MODES), "before.whl")
    assert programs(before) == {"demo/tool.sh", "demo-1.0.data/scripts/run"}
    lost = packed(tmp_path, zip_bytes(wheel_members(files=FILES)))
    made = stamp(lost, tmp_path / "out", ORDER, evidence, programs(before))
    assert made.read_bytes() == expected
    assert stamp(lost, tmp_path / "out", ORDER, evidence).read_bytes() != expected


def test_execute_bits_that_a_step_gave_are_kept(tmp_path: Path, evidence: Path) -> None:
    new = packed(tmp_path, zip_bytes(wheel_members(files=FILES), modes={"zzz.py": 0o755}))
    with zipfile.ZipFile(stamp(new, tmp_path, ORDER, evidence, frozenset({"gone"}))) as archive:
        assert archive.getinfo("zzz.py").external_attr >> 16 == 0o100755


def test_an_epoch_before_the_zip_format_is_its_first_day(tmp_path: Path, evidence: Path) -> None:
    with zipfile.ZipFile(stamped(tmp_path, evidence, order={**ORDER, "epoch": 0})) as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_the_same_bytes_whatever_the_zip_around_the_members(tmp_path: Path, evidence: Path) -> None:
    first = sha(stamped(tmp_path, evidence).read_bytes())
    assert sha(stamped(tmp_path, evidence).read_bytes()) == first
    made = reversed(wheel_members(files=FILES).items())
    modes = {"demo/tool.sh": 0o111, "demo-1.0.data/scripts/run": 0o755}
    other = zip_bytes(dict(made), modes=modes, when=(1999, 1, 1, 1, 1, 2))
    assert sha(stamped(tmp_path, evidence, other).read_bytes()) == first


def test_one_changed_byte_shows(tmp_path: Path, evidence: Path) -> None:
    first = stamped(tmp_path, evidence).read_bytes()
    (evidence / "kvpack" / "key").write_bytes(b"ffffffff\n")
    assert stamped(tmp_path, evidence).read_bytes() != first


def test_names_that_need_quotes_stand_right_in_record(tmp_path: Path, evidence: Path) -> None:
    files = {"demo/a,b.txt": b"1", 'demo/say "x".txt': b"2", "demo/ä.txt": b"3"}
    path = stamped(tmp_path, evidence, zip_bytes(wheel_members(files=files)))
    read_wheel(path)
    rows = list(csv.reader(io.StringIO(members(path)[f"{NEW}.dist-info/RECORD"].decode())))
    assert [row[0] for row in rows if row[0] in files] == sorted(files)
    assert rows[-1] == [f"{NEW}.dist-info/RECORD", "", ""]


def test_folder_entries_go_and_of_a_name_that_comes_twice_the_last_stays(
    tmp_path: Path, evidence: Path
) -> None:
    data = io.BytesIO(zip_bytes(wheel_members()))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("demo/empty/", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("demo/__init__.py", b"x = 2\n")
    path = stamped(tmp_path, evidence, data.getvalue())
    read_wheel(path)
    assert members(path)["demo/__init__.py"] == b"x = 2\n"
    assert "demo/empty/" not in members(path)


def test_the_metadata_of_carried_packages_is_left_alone(tmp_path: Path, evidence: Path) -> None:
    """As setuptools and pip carry others in ``_vendor``."""
    inner = "aaa/_vendor/other-2.0.dist-info/METADATA"
    files = {inner: b"Name: other\nVersion: 2.0\n", "aaa/__init__.py": b""}
    path = stamped(tmp_path, evidence, zip_bytes(wheel_members(files=files)))
    assert read_wheel(path).name == "Demo.KV-x"
    assert members(path)[inner] == b"Name: other\nVersion: 2.0\n"


def test_signatures_of_the_old_record_go(tmp_path: Path, evidence: Path) -> None:
    signed = wheel_members() | {"demo-1.0.dist-info/RECORD.jws": b"{}"}
    path = stamped(tmp_path, evidence, zip_bytes(signed))
    assert f"{NEW}.dist-info/RECORD.jws" not in members(path)
    read_wheel(path)


def test_old_evidence_is_replaced(tmp_path: Path, evidence: Path) -> None:
    old = wheel_members() | {"demo-1.0.dist-info/kvpack/key": b"old\n"}
    old["demo-1.0.dist-info/RECORD"] = record(old, "demo-1.0.dist-info")
    assert read_wheel(stamped(tmp_path, evidence, zip_bytes(old))).key == "1a2b3c4d"


@pytest.mark.parametrize(
    "head",
    [
        b"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nSummary: Name: x",
        b"Metadata-Version: 2.4\nversion:1.0\nname:demo\nSummary: Name: x",
    ],
)
def test_only_two_headers_of_metadata_change(head: bytes) -> None:
    body = b"\n\nName: stays\nVersion: stays\n"
    lines = stamped_metadata(head + body, "new", "2.0").splitlines()
    assert {b"Name: new", b"Version: 2.0", b"Summary: Name: x"} <= set(lines)
    assert lines[-2:] == [b"Name: stays", b"Version: stays"]
    assert lines[0] == b"Metadata-Version: 2.4"


def test_a_source_that_builds_another_version_is_not_stamped(
    tmp_path: Path, evidence: Path
) -> None:
    with pytest.raises(SystemExit, match=r"^kvpack: the source builds version 1\.0, not 1\.1$"):
        stamped(tmp_path, evidence, order={**ORDER, "upstream": "1.1"})
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (b"Metadata-Version: 2.4\nversion:1.0.1\n", "1.0.1"),
        (b"Metadata-Version: 2.4\r\nVersion: 1.0.post1\r\n", "1.0.post1"),
        (b"Version: 1.0+local\n\nVersion: 1.0\n", "1.0+local"),
        (b"Name: x\n\nVersion: 1.0\n", "none"),
        (b"Version:\nName: 1.0\n", "none"),
    ],
)
def test_the_version_is_that_of_the_headers(metadata: bytes, found: str) -> None:
    with pytest.raises(SystemExit) as caught:
        check_version(metadata, "1.0")
    assert caught.value.code == f"kvpack: the source builds version {found}, not 1.0"
    check_version(b"Name: x\nVersion: 1.0\n\nVersion: 2.0\n", "1.0")


def test_it_runs_as_a_program_and_gives_the_same_bytes(tmp_path: Path, evidence: Path) -> None:
    """So it runs inside the builder root."""
    expected = stamped(tmp_path, evidence).read_bytes()
    source = tmp_path / "in" / "demo-1.0-py3-none-any.whl"
    (tmp_path / "order.json").write_text(json.dumps(ORDER), encoding="utf-8")
    (tmp_path / "made").mkdir()
    program = tmp_path / "stamp.py"
    program.write_bytes(Path(kvpack.build.stamp.__file__).read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, source, "made", "order.json", evidence],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == f"stamped {NEW}-py3-none-any.whl\n"
    assert (tmp_path / "made" / f"{NEW}-py3-none-any.whl").read_bytes() == expected


def test_as_a_program_it_says_why_it_stops(tmp_path: Path, evidence: Path) -> None:
    source = packed(tmp_path, zip_bytes(wheel_members()))
    order = json.dumps({**ORDER, "upstream": "2.0"})
    (tmp_path / "order.json").write_text(order, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, kvpack.build.stamp.__file__, source, tmp_path, "order.json", evidence],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "kvpack: the source builds version 1.0, not 2.0\n"
    assert done.returncode != 0


@pytest.mark.parametrize("module", [kvpack.build.stamp, kvpack.audit.trial])
def test_what_runs_in_containers_is_python_3_9_and_needs_nothing(module: object) -> None:
    text = Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
        )
    }
    assert imported <= sys.stdlib_module_names
    assert "from __future__ import annotations" in text
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))
