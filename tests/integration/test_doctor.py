"""The doctor on real wheels: what it finds, and that its commands mend it, with pip and with uv."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.integration.conftest import Answer, Kvpack

pytestmark = pytest.mark.integration
ENVIRONMENT = {**os.environ, "UV_SYSTEM_CERTS": "1"}
BOTH = ("nixl==1.2.0", "nixl-cu12==1.2.0", "nixl-cu13==1.2.0")


def run(*words: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr


def environment(folder: Path, tool: str, *wheels: str) -> Path:
    """A fresh environment with these wheels and nothing that they ask for; gives its Python."""
    python = folder / "bin" / "python"
    if tool == "pip":
        run(sys.executable, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "-q", "--no-deps", *wheels)
    else:
        run(find_uv_bin(), "venv", "-q", "--python", sys.executable, folder)
        run(find_uv_bin(), "pip", "install", "-q", "--python", python, "--no-deps", *wheels)
    return python


def doctor(kvpack: Kvpack, python: Path, *words: str) -> Answer:
    answer = kvpack("doctor", "--python", str(python), "--json", *words)
    assert answer.code in {0, 72}, answer.err
    return answer


def found(answer: Answer) -> list[str]:
    rows = answer.json["findings"]
    return sorted({row["check"] for row in rows if row["severity"] != "note"})


def extension(python: Path) -> bytes:
    (path,) = python.parents[1].glob("lib/*/site-packages/nixl_ep/nixl_ep_cpp.*.so")
    return path.read_bytes()


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize("major", ["12", "13"])
def test_two_variants_are_found_and_mended(
    kvpack: Kvpack, tmp_path: Path, tool: str, major: str
) -> None:
    kvpack = Kvpack(kvpack.root, kvpack.store, ENVIRONMENT)
    python = environment(tmp_path / "venv", tool, *BOTH)
    answer = doctor(kvpack, python, "--cuda", major)
    assert answer.code == 72
    assert found(answer) == ["two-members"]
    (row,) = [row for row in answer.json["findings"] if row["check"] == "two-members"]
    commands = [one["command"] for one in row["mend"] if one["tool"] == tool]
    mended = doctor(kvpack, python, "--cuda", major, "--fix", tool, "--yes")
    assert mended.json["ran"] == commands
    assert (mended.code, found(mended)) == (0, [])
    assert f"libcudart.so.{major}".encode() in extension(python)
    assert found(doctor(kvpack, python)) == []  # without being told: the one member tells


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_what_a_naive_uninstall_breaks_is_found_and_mended(
    kvpack: Kvpack, tmp_path: Path, tool: str
) -> None:
    kvpack = Kvpack(kvpack.root, kvpack.store, ENVIRONMENT)
    python = environment(tmp_path / "venv", tool, *BOTH)
    if tool == "pip":
        run(python, "-m", "pip", "uninstall", "-q", "-y", "nixl-cu12")
    else:
        run(find_uv_bin(), "pip", "uninstall", "-q", "--python", python, "nixl-cu12")
    assert found(doctor(kvpack, python)) == ["record-missing"]
    mended = doctor(kvpack, python, "--fix", tool, "--yes")
    assert (mended.code, found(mended)) == (0, [])
    assert b"libcudart.so.13" in extension(python)


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize(
    ("wheels", "checks"),
    [
        (("nixl==1.5.1",), ["member-missing"]),
        (("nixl-cu13==1.5.1",), ["dispatcher-missing"]),
        (("nixl==1.4.1", "nixl-cu13==1.5.1"), ["out-of-step"]),
        (("mooncake-transfer-engine==0.3.13.post1",), ["wrong-accelerator"]),
    ],
)
def test_every_mend_leaves_nothing(
    kvpack: Kvpack, tmp_path: Path, tool: str, wheels: tuple[str, ...], checks: list[str]
) -> None:
    kvpack = Kvpack(kvpack.root, kvpack.store, ENVIRONMENT)
    python = environment(tmp_path / "venv", tool, *wheels)
    assert found(doctor(kvpack, python, "--cuda", "13")) == checks
    mended = doctor(kvpack, python, "--cuda", "13", "--fix", tool, "--yes")
    assert (mended.code, found(mended)) == (0, [])


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize(
    "wheels",
    [
        ("nixl==1.5.1", "nixl-cu13==1.5.1", "mooncake-transfer-engine-cuda13==0.3.14"),
        ("nixl==1.2.0", "nixl-cu12==1.2.0", "mooncake-transfer-engine==0.3.13.post1"),
    ],
)
def test_one_right_set_is_healthy(
    kvpack: Kvpack, tmp_path: Path, tool: str, wheels: tuple[str, ...]
) -> None:
    answer = doctor(kvpack, environment(tmp_path / "venv", tool, *wheels))
    assert (answer.code, found(answer)) == (0, [])


def test_popular_wheels_raise_no_alarm(kvpack: Kvpack, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    run(find_uv_bin(), "venv", "-q", "--python", sys.executable, folder)
    python, popular = folder / "bin" / "python", Path(__file__).parents[1] / "data" / "popular.txt"
    words = ("-q", "--python", python, "--python-version", "3.12", "--no-deps", "-r", popular)
    run(find_uv_bin(), "pip", "install", *words)  # the pins are for 3.12; nothing is imported
    answer = doctor(kvpack, python)
    assert (answer.code, found(answer)) == (0, [])
