import itertools
import os
import platform

import pytest
from packaging.tags import sys_tags
from packaging.version import InvalidVersion

from kvpack.resolve.wheels import best, newest, tags_of

ACCEPTED = tags_of("3.12", "2.28", "x86_64")


def picks(*names: str, version: str = "1.0") -> str | None:
    """The same for every order of the names."""
    (found,) = {best(order, version, ACCEPTED) for order in itertools.permutations(names)}
    return found


def test_the_tags_are_those_of_packaging() -> None:
    """For the Python and the glibc that run this test."""
    glibc = os.confstr("CS_GNU_LIBC_VERSION")
    assert glibc is not None
    python = ".".join(platform.python_version_tuple()[:2])
    machine = platform.machine()
    ours = tags_of(python, glibc.split()[1], machine)
    assert [str(tag) for tag in ours] == [
        str(tag) for tag in sys_tags() if "musllinux" not in tag.platform
    ]


def test_tags_do_not_depend_on_the_python_that_runs() -> None:
    found = [str(tag) for tag in tags_of("3.13", "2.17", "aarch64")]
    assert found[:3] == [
        "cp313-cp313-linux_aarch64",
        "cp313-cp313-manylinux_2_17_aarch64",
        "cp313-cp313-manylinux2014_aarch64",
    ]
    assert not [tag for tag in found if "manylinux1_" in tag or "manylinux2010" in tag]
    assert not [tag for tag in found if "musllinux" in tag or "cp313t" in tag]
    assert "cp313-none-any" in found
    assert "py2-none-any" not in found


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux2014_x86_64",
        "cp312-cp312-manylinux2010_x86_64",
        "cp312-cp312-manylinux1_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64.manylinux_2_35_x86_64",
        "cp312-cp312-linux_x86_64",
        "cp312-none-manylinux_2_17_x86_64",
        "cp38-abi3-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "py3-none-manylinux_2_17_x86_64",
        "py3-none-any",
        "py2.py3-none-any",
        "py312-none-any",
        "py38-none-any",
    ],
)
def test_fits(tag: str) -> None:
    assert picks(f"demo-1.0-{tag}.whl") == f"demo-1.0-{tag}.whl"


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_29_x86_64",
        "cp312-cp312-manylinux_2_28_aarch64",
        "cp312-cp312-musllinux_1_2_x86_64",
        "cp312-cp312-win_amd64",
        "cp312-cp312-macosx_11_0_arm64",
        "cp312-cp312t-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp313-abi3-manylinux_2_17_x86_64",
        "pp311-pypy311_pp73-manylinux_2_17_x86_64",
        "py2-none-any",
        "py313-none-any",
    ],
)
def test_does_not_fit(tag: str) -> None:
    assert picks(f"demo-1.0-{tag}.whl") is None


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_17_x86_64"),
        ("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-manylinux2014_x86_64"),
        ("cp312-cp312-manylinux1_x86_64", "cp312-abi3-manylinux_2_28_x86_64"),
        ("cp312-abi3-manylinux_2_17_x86_64", "cp38-abi3-manylinux_2_28_x86_64"),
        ("cp38-abi3-manylinux_2_17_x86_64", "py3-none-any"),
        ("py3-none-manylinux_2_17_x86_64", "py3-none-any"),
        ("1-py3-none-any", "py3-none-any"),
        ("10-py3-none-any", "9-py3-none-any"),
        ("1b-py3-none-any", "1a-py3-none-any"),
        ("cp312-cp312-linux_x86_64", "cp312-cp312-manylinux_2_28_x86_64"),
        ("cp312-cp312-manylinux1_x86_64", "99-py3-none-any"),
    ],
)
def test_prefers(better: str, worse: str) -> None:
    assert picks(f"demo-1.0-{better}.whl", f"demo-1.0-{worse}.whl") == f"demo-1.0-{better}.whl"


@pytest.mark.parametrize(
    ("version", "names", "expected"),
    [
        ("1.0", ["1.0.0", "1.1"], "1.0.0"),
        ("1.0rc1", ["1.0rc1", "1.0"], "1.0rc1"),
        ("1.0", ["1.0", "1.0+cu13"], "1.0+cu13"),
        ("1.0+cu13", ["1.0", "1.0+cu13", "1.0+cu14"], "1.0+cu13"),
        ("1.0+cu12", ["1.0", "1.0+cu13"], None),
        ("2.0", ["1.0"], None),
    ],
)
def test_versions(version: str, names: list[str], expected: str | None) -> None:
    files = [f"demo-{name}-py3-none-any.whl" for name in names]
    assert picks(*files, version=version) == (expected and f"demo-{expected}-py3-none-any.whl")


def test_what_is_no_wheel_is_passed_over() -> None:
    good = "demo-1.0-py3-none-any.whl"
    assert picks("demo-1.0.tar.gz", "demo-1.0.whl", "demo.txt", good) == good
    assert picks() is None


def test_a_version_that_is_none() -> None:
    with pytest.raises(InvalidVersion):
        best([], "latest", ACCEPTED)


def test_the_newest_of_every_project() -> None:
    """What fits, final releases first, then the better tag, then the higher build number."""
    names = [
        "a-1.0-py3-none-any.whl", "a-1.9-py3-none-any.whl", "a-1.10-py3-none-any.whl",
        "a-2.0rc1-py3-none-any.whl", "a-3.0-py3-none-win_amd64.whl",
        "b_c-1.0-py3-none-any.whl", "b_c-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "d-1.0b1-py3-none-any.whl", "d-1.0b1-2-py3-none-any.whl", "e-1.0.tar.gz", "nonsense.whl",
        "f-1.0-py3-none-win_amd64.whl",
    ]  # fmt: skip
    assert newest(names, tags_of("3.12", "2.28", "x86_64")) == {
        "a": "a-1.10-py3-none-any.whl",
        "b-c": "b_c-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "d": "d-1.0b1-2-py3-none-any.whl",
    }
