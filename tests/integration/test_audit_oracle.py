"""Our floor against auditwheel's, on real wheels from the registry that pip is set up with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.model import Policy
from kvpack.audit.wheel import read_wheel
from kvpack.names import version_key

pytestmark = pytest.mark.integration

FLOORS = ("2_17", "2_24", "2_27", "2_28", "2_31", "2_34", "2_35", "2_39")
CASES = {
    "dlslime": ("dlslime==0.1.7", "x86_64"),
    "extension": ("msgpack==1.1.2", "x86_64"),
    "aarch64": ("msgpack==1.1.2", "aarch64"),
    "grafted": ("psycopg2-binary==2.9.11", "x86_64"),
    "grafted, own floor": ("pyzmq==27.1.0", "x86_64"),
}


def download(requirement: str, arch: str, folder: Path) -> Path:
    platforms = [f"--platform=manylinux_{floor}_{arch}" for floor in FLOORS]
    where = [f"--dest={folder}", "--python-version=3.11", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, *where, requirement], check=True)
    (path,) = folder.glob("*.whl")
    return path


def ask_auditwheel(path: Path, folder: Path) -> dict[str, object]:
    """Auditwheel's answer, kept from following needs into this machine's own libraries."""
    (folder / "nothing").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "auditwheel",
            "show",
            "--json",
            "--ldpaths",
            folder / "nothing",
            path,
        ],
        check=True,
        capture_output=True,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(("requirement", "arch"), CASES.values(), ids=CASES)
def test_floor_agrees_with_auditwheel(requirement: str, arch: str, tmp_path: Path) -> None:
    path = download(requirement, arch, tmp_path)
    facts = read_wheel(path)
    answer = ask_auditwheel(path, tmp_path)
    tag = str(answer["sym_tag"]).removeprefix("manylinux_").removesuffix(f"_{arch}")
    theirs = tag.replace("_", ".")
    assert facts.true_floor is not None
    # Ours may only be stricter: it also counts what files need of the loader (ld-linux*), which
    # auditwheel leaves out, and DT_RELR that no symbol version guards.
    assert version_key(facts.true_floor) >= version_key(theirs)
    if facts.true_floor != theirs:
        assert any(
            one.floor == facts.true_floor
            and (one.relr or any(lib.startswith("ld-linux") for lib in one.symbol_versions))
            for one in facts.elf
        )
    external = answer["external_libs"]
    assert isinstance(external, dict)
    assert set(facts.needed_from_host) <= set(external)
    report = audit(facts, Policy())
    assert report.passed, report.errors
