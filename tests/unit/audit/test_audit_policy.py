"""The rules as data: auditwheel's table, read without its code, and policy.toml."""

import itertools
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from kvpack.audit import layout, policy
from kvpack.errors import ToolFailed


def test_auditwheel_s_code_is_not_imported() -> None:
    program = (
        "import sys; from kvpack.audit import policy; policy.levels('x86_64');"
        "print([m for m in sys.modules if m.startswith(('auditwheel.', 'elftools', 'packaging'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_levels_are_ordered_and_grow() -> None:
    for arch in ("x86_64", "aarch64"):
        levels = policy.levels(arch)
        floors = [level.floor for level in levels]
        assert floors == sorted(floors, key=lambda one: tuple(map(int, one.split("."))))
        assert {"2.28", "2.34", "2.35", "2.39"} <= set(floors)
        for low, high in itertools.pairwise(levels):
            assert low.versions <= high.versions
            assert low.libraries <= high.libraries


@pytest.mark.parametrize(
    ("version", "floor"),
    [
        ("GLIBCXX_3.4.24", "2.27"),
        ("GLIBCXX_3.4.28", "2.31"),
        ("GLIBCXX_3.4.29", "2.34"),
        ("GLIBCXX_3.4.30", "2.35"),
        ("GLIBCXX_3.4.33", "2.39"),
        ("CXXABI_FLOAT128", "2.24"),
        ("GLIBC_ABI_DT_RELR", "2.36"),
        ("GLIBC_2.35", "2.35"),
        ("GLIBCXX_3.5", None),
    ],
)
def test_floor_of(version: str, floor: str | None) -> None:
    assert policy.floor_of(version, "x86_64") == floor


def test_an_unknown_architecture_has_no_floor() -> None:
    assert policy.floor_for([], [], "vax") is None
    assert policy.allowed_libraries("2.28", "vax") >= {"libc.so.6"}


def test_allowed_libraries() -> None:
    assert {"libstdc++.so.6", "ld-linux-x86-64.so.2"} <= policy.allowed_libraries("2.28", "x86_64")
    assert "ld-linux-aarch64.so.1" in policy.allowed_libraries("2.28", "aarch64")
    assert "libibverbs.so.1" not in policy.allowed_libraries("2.39", "x86_64")
    assert "libstdc++.so.6" not in policy.allowed_libraries(None, "x86_64")
    assert "libmvec.so.1" not in policy.allowed_libraries("2.23", "x86_64")


@pytest.mark.parametrize(
    ("tag", "named"),
    [
        ("manylinux_2_28_x86_64", ("2.28", "x86_64")),
        ("manylinux2014_aarch64", ("2.17", "aarch64")),
        ("manylinux2010_x86_64", ("2.12", "x86_64")),
        ("manylinux1_i686", ("2.5", "i686")),
        ("musllinux_1_2_x86_64", None),
        ("linux_x86_64", None),
        ("manylinux_x_y_z", None),
        ("any", None),
    ],
)
def test_tag_floor(tag: str, named: tuple[str, str] | None) -> None:
    assert policy.tag_floor(tag) == named


def test_a_table_of_another_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "manylinux-policy.json").write_text('[{"name": "manylinux_2_5"}]')
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(ToolFailed, match="symbol_versions"):
        policy.levels("arch-that-no-test-asked-for")


@pytest.mark.parametrize(
    ("member", "place"),
    [
        ("demo/x.so", "demo/x.so"),
        ("d-1.data/platlib/demo/x.so", "demo/x.so"),
        ("d-1.data/scripts/x", "../../../bin/x"),
        ("d-1.data/data/share/x", "../../../share/x"),
        ("d-1.data/headers/x.h", "../../../include/x.h"),
        ("d-1.data/odd/x", "../../../x"),
    ],
)
def test_installed(member: str, place: str) -> None:
    assert layout.installed(member) == place


@pytest.mark.parametrize(
    ("members", "names"),
    [
        (["demo/__init__.py", "demo/x.so"], ("demo",)),
        (["solo.py", "_c.cpython-311-x86_64-linux-gnu.so", "_d.abi3.so"], ("_c", "_d", "solo")),
        (["nvidia/cu13/lib/x.so"], ("nvidia",)),
        (["d-1.dist-info/METADATA", "d.libs/x.so", "README.txt", "x.pth"], ()),
        (["d-1.data/purelib/p/__init__.py", "d-1.data/scripts/s"], ("p",)),
    ],
)
def test_top_level(members: list[str], names: tuple[str, ...]) -> None:
    assert layout.top_level(members) == names
