"""Sets for real accelerators from the real index: chosen, proved, installed, examined."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.pylock import Pylock, is_valid_pylock_path

from kvpack.tools import uv
from tests.integration.conftest import Kvpack

pytestmark = pytest.mark.integration
# Every range has an upper end: what is published after this was written changes no test.
CONNECTORS = "nixl==1.4.1\nmooncake-transfer-engine>=0.3.12,<=0.3.14\n"
MEMBERS = {
    "12": {"nixl", "nixl-cu12", "mooncake-transfer-engine"},
    "13": {"nixl", "nixl-cu13", "mooncake-transfer-engine-cuda13"},
}
OTHERS = {"12": MEMBERS["13"] - {"nixl"}, "13": MEMBERS["12"] - {"nixl"}}
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
CELLS = [
    (cuda, arch, python)
    for cuda in ("12", "13")
    for arch in ("x86_64", "aarch64")
    for python in ("3.10", "3.11", "3.12", "3.13")
]


@dataclass
class Desk:
    """A folder with an intent, as a release engineer has it."""

    kvpack: Kvpack
    folder: Path

    def choose(self, intent: str, *words: str) -> "subprocess.CompletedProcess[str]":
        (self.folder / "kv_connectors.in").write_text(intent, encoding="utf-8")
        return subprocess.run(
            [*self.kvpack.words("requirements", "kv_connectors.in", *words)],
            cwd=self.folder, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def chosen(self, intent: str, *words: str) -> dict[str, Any]:
        done = self.choose(intent, "--json", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @property
    def text(self) -> Path:
        (path,) = (self.folder / "requirements").glob("*.txt")
        return path

    @property
    def lock(self) -> Path:
        (path,) = self.folder.glob("pylock.*.toml")
        return path


@pytest.fixture
def desk(kvpack: Kvpack, tmp_path: Path) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(kvpack, folder)


def names(found: dict[str, Any]) -> set[str]:
    return {row["distribution"] for row in found["distributions"]}


def checked(*words: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_native(arch: str, version: str) -> bool:
    return (arch, version) == (platform.machine(), OWN)


def fresh(folder: Path) -> Path:
    """An empty environment's Python."""
    checked(uv.program(), "venv", "--quiet", "--python", sys.executable, folder)
    return folder / "bin" / "python"


def site_of(python: Path) -> Path:
    return python.parent.parent / "lib" / f"python{OWN}" / "site-packages"


def installed(python: Path) -> set[str]:
    folders = [one.name for one in site_of(python).glob("*.dist-info")]
    return {name.split("-")[0].replace("_", "-").lower() for name in folders}


def with_uv(python: Path, source: Path, arch: str, version: str) -> None:
    checked(
        *(uv.program(), "pip", "install", "--quiet", "--system-certs", "--python", python),
        *("--no-deps", "--python-platform", f"{arch}-manylinux_2_35", "--python-version", version),
        *(("--require-hashes",) if source.suffix == ".txt" else ()),
        *("-r", source),
    )


def with_pip(python: Path, source: Path, arch: str, version: str) -> None:
    """For another architecture or Python, pip installs into a bare folder only (``--target``)."""
    if is_native(arch, version):
        words = (
            "--python",
            python,
            "install",
            "--quiet",
            "--no-compile",
            "--no-deps",
            "--require-hashes",
        )
        checked(sys.executable, "-m", "pip", *words, "-r", source)
        return
    platforms = [f"--platform=manylinux_2_{minor}_{arch}" for minor in range(35, 16, -1)]
    platforms.append(f"--platform=manylinux2014_{arch}")
    checked(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"),
        "--only-binary=:all:",
        *("--target", str(site_of(python)), "--python-version", version, *platforms),
        *("--implementation=cp", f"--abi=cp{version.replace('.', '')}", "--abi=abi3", "--abi=none"),
        *("--require-hashes", "-r", source),
    )


@pytest.mark.parametrize(("cuda", "arch", "python"), CELLS)
def test_a_set_installs_and_nothing_is_wrong_with_it(
    desk: Desk, tmp_path: Path, cuda: str, arch: str, python: str
) -> None:
    """With uv and with pip; one variant is left, and the doctor has nothing to mend."""
    found = desk.chosen(CONNECTORS, "--cuda", cuda, "--arch", arch, "--python", python)
    assert names(found) >= MEMBERS[cuda]
    assert not names(found) & (OTHERS[cuda] | {"torch"})
    for number, install in enumerate((with_uv, with_pip)):
        environment = fresh(tmp_path / f"env{number}")
        install(environment, desk.text, arch, python)
        assert installed(environment) >= names(found)
        assert not installed(environment) & OTHERS[cuda]
        if install is with_uv or is_native(arch, python):
            assert_healthy(desk.kvpack, environment)


def assert_healthy(kvpack: Kvpack, environment: Path) -> None:
    answer = kvpack("doctor", "--python", str(environment), "--json")
    wrong = [one for one in answer.json["findings"] if one["severity"] != "note"]
    assert (wrong, answer.code) == ([], 0)


@pytest.mark.parametrize("cuda", ["12", "13"])
def test_the_pylock_is_valid_and_installs(desk: Desk, tmp_path: Path, cuda: str) -> None:
    found = desk.chosen(CONNECTORS, "--cuda", cuda, "--arch", "x86_64", "--python", OWN)
    assert is_valid_pylock_path(desk.lock)
    lock = Pylock.from_dict(tomllib.loads(desk.lock.read_text(encoding="utf-8")))
    assert {str(package.name) for package in lock.packages} == names(found)
    assert all(wheel.size for package in lock.packages for wheel in package.wheels or ())
    one, two = fresh(tmp_path / "uv"), fresh(tmp_path / "pip")
    checked(
        uv.program(), "pip", "install", "-q", "--system-certs", "--python", one, "-r", desk.lock
    )
    checked(
        *(sys.executable, "-m", "pip", "--python", two, "install", "-q", "--no-deps"),
        *("-r", desk.lock),
    )
    assert installed(one) == installed(two) == names(found)


def test_the_same_question_gives_the_same_bytes(desk: Desk) -> None:
    def digests() -> list[str]:
        files = [desk.text, desk.lock]
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    words = ("--cuda", "13", "--arch", "x86_64")
    desk.chosen(CONNECTORS, *words)
    before = digests()
    desk.text.unlink()
    found = desk.chosen(CONNECTORS, *words)
    assert digests() == before
    assert [row["state"] for row in found["files"]] == ["written", "up-to-date"]
    assert found["proof"][0]["bytes-read"] == 0  # what was learned is not fetched again


def test_check_tells_drift_and_writes_nothing(desk: Desk) -> None:
    words = ("--cuda", "13", "--arch", "x86_64")
    desk.chosen("nixl==1.4.1\n", *words)
    assert desk.choose("nixl==1.4.1\n", *words, "--check").returncode == 0
    before = desk.text.read_bytes()
    done = desk.choose("nixl==1.5.1\n", *words, "--check")
    assert done.returncode == 71
    assert "-nixl-cu13==1.4.1" in done.stdout
    assert "+nixl-cu13==1.5.1" in done.stdout
    assert desk.text.read_bytes() == before


@pytest.mark.parametrize("cuda", ["12", "13"])
@pytest.mark.parametrize("version", ["1.0.1", "1.1.0", "1.2.0"])
def test_older_nixl(desk: Desk, tmp_path: Path, version: str, cuda: str) -> None:
    """1.0.1 asks for nixl-cu12 of any version, 1.1.0 and later for both variants."""
    words = ("--cuda", cuda, "--arch", "x86_64", "--python", "3.12")
    found = desk.chosen(f"nixl=={version}\n", *words)
    pinned = {row["distribution"]: row["version"] for row in found["distributions"]}
    assert pinned["nixl"] == pinned[f"nixl-cu{cuda}"] == version
    assert not set(pinned) & OTHERS[cuda]
    environment = fresh(tmp_path / "env")
    with_uv(environment, desk.text, "x86_64", "3.12")
    assert_healthy(desk.kvpack, environment)


@pytest.mark.parametrize(("cuda", "lmcache"), [("12", "0.4.4"), ("13", None)])
def test_a_variant_that_comes_in_transitively(desk: Desk, cuda: str, lmcache: str | None) -> None:
    """lmcache asks for nixl and for one cupy by name, and each version is built for one CUDA."""
    words = ("--cuda", cuda, "--arch", "x86_64", "--python", "3.12")
    found = desk.chosen("lmcache>=0.3.9,<=0.5.6\n" + CONNECTORS, *words)
    pinned = {row["distribution"]: row["version"] for row in found["distributions"]}
    assert {"nixl", f"nixl-cu{cuda}", f"cupy-cuda{cuda}x"} <= set(pinned)
    assert not set(pinned) & OTHERS[cuda]
    assert lmcache is None or pinned["lmcache"] == lmcache
    assert any("Left out: nixl-cu" in note for note in found["notes"])
    assert "Extensions of nixl-cu" in desk.text.read_text(encoding="utf-8")


def test_both_architectures_in_one_file(desk: Desk, tmp_path: Path) -> None:
    desk.chosen(CONNECTORS, "--cuda", "13", "--universal", "--python", OWN)
    text = desk.text.read_text(encoding="utf-8")
    block = text.partition("\nnixl-cu13==1.4.1 \\\n")[2].partition("==")[0]
    assert block.count("--hash=sha256:") == 2
    for arch in ("x86_64", "aarch64"):
        environment = fresh(tmp_path / arch)
        with_uv(environment, desk.text, arch, OWN)
        assert installed(environment) >= MEMBERS["13"]


# -- what cannot be satisfied -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intent", "words", "said"),
    [
        # A version that nobody will publish any more.
        ("mooncake-transfer-engine==0.3.9.post9\n", ("--cuda", "12"), "engine==0.3.9.post9"),
        ("nixl==0.3.0\n", ("--cuda", "13"), "nixl-cu13==0.3.0"),
        ("mooncake-transfer-engine==0.3.10.post2\n",
         ("--cuda", "12", "--arch", "aarch64", "--glibc", "2.35"), "manylinux_2_39_aarch64"),
        ("nixl==1.5.1\n", ("--cuda", "13", "--torch", "2.11.0"), "only for 2.12, 2.13, 2.14"),
    ],
)  # fmt: skip
def test_a_reason_is_given_and_nothing_written(
    desk: Desk, intent: str, words: tuple[str, ...], said: str
) -> None:
    done = desk.choose(intent, "--python", "3.12", *words)
    assert done.returncode in {23, 70}
    assert said in done.stderr
    assert "nothing was written" in done.stderr
    assert sorted(path.name for path in desk.folder.iterdir()) == ["kv_connectors.in"]


# -- sources --------------------------------------------------------------------------------------


def test_a_wheel_of_our_own_wins_over_the_index(desk: Desk, tmp_path: Path) -> None:
    """From a folder, in the declared order; both installers take it from the written file."""
    from tests.integration.test_solve import wheel

    ours = tmp_path / "dist"
    wheel(ours, "nixl-cu13", "1.4.1+kvp.12345678")
    words = ("--cuda", "13", "--arch", "x86_64", "--python", OWN, "--find-links", str(ours))
    found = desk.chosen("nixl==1.4.1\n", *words)
    pinned = {row["distribution"]: row["version"] for row in found["distributions"]}
    assert pinned == {"nixl": "1.4.1", "nixl-cu13": "1.4.1+kvp.12345678"}
    assert "--find-links ../../dist" in desk.text.read_text(encoding="utf-8")
    for number, source in enumerate((desk.text, desk.text, desk.lock)):
        environment = fresh(tmp_path / f"env{number}")
        (with_pip if number == 0 else with_uv)(environment, source, "x86_64", OWN)
        assert installed(environment) == {"nixl", "nixl-cu13"}
        assert (site_of(environment) / "demo" / "__init__.py").exists()  # ours


def test_a_rocm_set_and_what_its_wheels_want_of_the_host(desk: Desk, tmp_path: Path) -> None:
    """MoRI's wheel for Python 3.10 is linked with Ubuntu 22.04's gRPC, despite its tag."""
    intent, cell = (
        "amd-mori==1.2.4\nmsgpack<=1.2.4\n",
        ("--rocm=7", "--python=3.10", "--glibc=2.35"),
    )
    refused = desk.choose(intent, *cell)
    assert refused.returncode == 70, refused.stdout + refused.stderr
    (finding,) = (row for row in refused.stderr.splitlines() if "nothing provides it" in row)
    wanted = set(re.findall(r"lib[\w+]+\.so\.[\d.]+", finding)) - {"libmori_application.so"}
    assert wanted == {"libgpr.so.10", "libgrpc++.so.1", "libgrpc.so.10", "libprotobuf.so.23"}
    assert not list(desk.folder.glob("pylock.*"))
    told = [word for name in sorted(wanted) for word in ("--host-library", name)]
    found = desk.chosen(intent, *cell, *told)
    assert names(found) == {"amd-mori", "msgpack"}
    assert desk.text.name.endswith("_rocm.txt")
    bare = tmp_path / "bare"
    checked(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
        *("--python-version=3.10", "--platform=manylinux_2_35_x86_64", "--only-binary=:all:"),
        *("--platform=manylinux_2_28_x86_64", "--platform=manylinux2014_x86_64"),
        *("--target", bare, "-r", desk.text),
    )
    assert (bare / "mori").is_dir()
