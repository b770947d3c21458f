"""What ``kvpack audit --recipe`` says of upstream's own wheels: no GPU, nothing executed.

The tables are facts about the published files, collected independently of kvpack (with readelf and
strings): a recipe's proofs have to give them again. Each wheel is downloaded once, into the store.
"""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import parse_wheel_filename

from kvpack.fetch.patchstate import judge
from kvpack.fetch.registries import Registries
from kvpack.fetch.unlocked import fetch_unlocked
from kvpack.recipe.versions import applies
from kvpack.report import Silent
from kvpack.tools.apply import Tree
from kvpack.tools.git import Git
from kvpack.tools.store import Store
from tests.integration.conftest import CHECKOUT, Kvpack

pytestmark = pytest.mark.integration
PATCH = CHECKOUT / "patches" / "mooncake" / "peermem-default.patch"

MOONCAKE = {
    "12": "mooncake-transfer-engine",
    "13": "mooncake-transfer-engine-cuda13",
    "cpu": "mooncake-transfer-engine-non-cuda",
    "rocm": "mooncake-transfer-engine-rocm",
    "efa": "mooncake-transfer-engine-efa",
}
CASES = """
for  version       arch    floor commit   major dmabuf range vmm fd  switch    default   mnnvl intra uring etcd pie
13   0.3.10.post2  x86_64  2.35  -        13    no     no    no  no  build-on  peermem   0     no    yes   yes  yes
13   0.3.10.post2  aarch64 2.39  -        13    no     no    no  no  build-on  peermem   21    no    yes   no   yes
13   0.3.11        x86_64  2.35  b4ccdc3  13    yes    yes   no  no  run-time  -         0     no    yes   yes  yes
13   0.3.11        aarch64 2.39  684e5f07 13    yes    yes   no  no  run-time  -         21    no    yes   no   yes
13   0.3.11.post1  x86_64  2.35  e9c6107  13    yes    yes   no  no  run-time  -         0     no    yes   yes  yes
13   0.3.11.post1  aarch64 2.39  e9c61075 13    yes    yes   no  no  run-time  -         21    no    yes   no   yes
13   0.3.12.post1  x86_64  2.28  6041a60  13    yes    yes   no  yes run-time  -         0     no    yes   yes  yes
13   0.3.12.post1  aarch64 2.28  6041a60  13    yes    yes   no  yes run-time  -         21    no    yes   no   yes
13   0.3.13.post1  x86_64  2.28  7197358  13    yes    yes   no  yes run-time  -         0     yes   yes   yes  yes
13   0.3.13.post1  aarch64 2.28  7197358  13    yes    yes   no  yes run-time  -         23    no    yes   no   yes
13   0.3.14        x86_64  2.28  e1ea5d3  13    yes    yes   yes yes run-time  if-loaded 0     yes   yes   yes  yes
13   0.3.14        aarch64 2.28  e1ea5d3  13    yes    yes   yes yes run-time  if-loaded 29    no    yes   no   yes
12   0.3.13.post1  x86_64  2.28  7197358  12    yes    yes   no  yes run-time  -         0     yes   yes   yes  yes
cpu  0.3.12.post1  x86_64  2.28  b97f13c  12    no     no    no  yes -         -         0     no    yes   yes  yes
cpu  0.3.13.post1  x86_64  2.28  7197358  -     no     no    no  yes run-time  -         0     no    yes   yes  yes
rocm 0.3.13.post1  x86_64  2.35  71973589 -     yes    no    no  yes run-time  -         0     no    yes   yes  yes
efa  0.3.13.post1  x86_64  2.35  7197358  12    yes    yes   no  yes run-time  -         0     no    yes   yes  yes
"""  # noqa: E501
IDS = {
    "dmabuf": "dmabuf", "range": "address-range", "vmm": "vmm-range", "fd": "shared-fd",
    "intra": "intra-nvlink", "uring": "io-uring", "etcd": "etcd", "pie": "executables-pie",
}  # fmt: skip
HOLDS = {True: "yes", False: "no", None: "-"}


def rows(table: str) -> list[dict[str, str]]:
    head, *lines = (line.split() for line in table.strip().splitlines())
    return [dict(zip(head, line, strict=True)) for line in lines]


def named(row: dict[str, str]) -> str:
    return "-".join([row["for"], row["version"], row["arch"]])


@dataclass
class Published:
    """Wheels of the index, each fetched once into a store; and what kvpack says of them."""

    folder: Path
    kvpack: Kvpack
    said: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def wheel(self, project: str, version: str, arch: str, python: str = "cp312") -> Path:
        with Registries(CHECKOUT, reporter=Silent()) as registries:
            fitting = [
                link
                for link in registries.links(project)
                if link.filename.endswith(".whl") and fits(link.filename, version, arch, python)
            ]
            (link,) = fitting
            target = self.folder / link.filename
            if not target.exists():
                store = Store(self.kvpack.store)
                web = registries.web("url" if link.url.startswith("file:") else "pypi")
                fetched = fetch_unlocked(link.url, store=store, web=web, sha256=link.sha256)
                store.place(fetched.sha256, target)
        return target

    def audit(self, recipe: str, wheel: Path, *words: str) -> dict[str, Any]:
        answer = self.kvpack("audit", "--recipe", recipe, *words, "--json", str(wheel))
        assert answer.code in {0, 50}, answer.err
        assert not answer.err, answer.err
        return answer.json

    def facts(self, recipe: str, wheel: Path) -> dict[str, Any]:
        """What it says without a profile; asked once."""
        key = (recipe, wheel.name)
        if key not in self.said:
            self.said[key] = self.audit(recipe, wheel)
        return self.said[key]


def fits(filename: str, version: str, arch: str, python: str) -> bool:
    _, found, _, tags = parse_wheel_filename(filename)
    return str(found) == version and any(
        tag.platform == "any" or (tag.interpreter == python and tag.platform.endswith(arch))
        for tag in tags
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, shared_store: Path) -> Published:
    root = tmp_path_factory.mktemp("catalogue")
    for name in ("recipes", "patches"):
        shutil.copytree(CHECKOUT / name, root / name)
    return Published(tmp_path_factory.mktemp("wheels"), Kvpack(root, shared_store))


@pytest.fixture
def mooncake(published: Published) -> Callable[..., Path]:
    return lambda row: published.wheel(MOONCAKE[row["for"]], row["version"], row["arch"])


def proofs(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {proof["id"]: proof for proof in answer["proofs"]}


@pytest.mark.parametrize("row", rows(CASES), ids=named)
def test_mooncake(published: Published, mooncake: Callable[..., Path], row: dict[str, str]) -> None:
    answer = published.facts("mooncake", mooncake(row))
    facts, found = answer["facts"], proofs(answer)
    assert facts["version"] == row["version"]
    assert str(facts["commit"] or "-") == row["commit"]
    assert str(facts["cuda_major"] or "-") == row["major"]
    assert facts["true_floor"] == row["floor"]
    assert {name: HOLDS[found[id_]["holds"]] for name, id_ in IDS.items()} == {
        name: row[name] for name in IDS
    }
    assert str(found["peermem-switch"]["value"] or "-") == row["switch"]
    default = str(found["peermem-default"]["value"] or "-")
    assert default.removeprefix("peermem-") == row["default"]
    symbols = int(row["mnnvl"])
    assert found["mnnvl"]["holds"] is (symbols > 0)
    if symbols:
        assert f"has {symbols} symbols with N8mooncake15Nvlink" in found["mnnvl"]["evidence"]
    wrong = [one for one in answer["findings"] if one["check"] in {"distribution", "wheel", "tag"}]
    assert wrong == []


# In engine.so: the libraries that it shares with the host. mlx5 is of 0.3.12, curl of Debian was
# versioned. The highest versions of symbols are those of all files of the package.
NEEDS = """
for version      arch    master                    engine                             highest
13  0.3.10.post2 x86_64  ibverbs,numa              cudart,curl,ibverbs,numa           GLIBC_2.34,GLIBCXX_3.4.30,IBVERBS_1.11,CURL_OPENSSL_4
13  0.3.10.post2 aarch64 ibverbs,numa              cuda,cudart,curl,ibverbs,numa      GLIBC_2.38,GLIBCXX_3.4.32,IBVERBS_1.11,CURL_OPENSSL_4
13  0.3.11.post1 x86_64  ibverbs,numa              cuda,cudart,curl,ibverbs,numa      GLIBC_2.34,GLIBCXX_3.4.30,IBVERBS_1.12,CURL_OPENSSL_4
13  0.3.12.post1 x86_64  cuda,cudart,curl,ibverbs,mlx5,numa cuda,cudart,curl,ibverbs,mlx5,numa GLIBC_2.28,GLIBCXX_3.4.22,CXXABI_1.3.11,IBVERBS_1.12,MLX5_1.7
13  0.3.13.post1 x86_64  curl,ibverbs,numa         cuda,cudart,curl,ibverbs,mlx5,numa GLIBC_2.28,GLIBCXX_3.4.22,CXXABI_1.3.11,IBVERBS_1.12,MLX5_1.7
13  0.3.14       x86_64  curl,ibverbs,mlx5,numa    cuda,cudart,curl,ibverbs,mlx5,numa GLIBC_2.28,GLIBCXX_3.4.22,CXXABI_1.3.11,IBVERBS_1.12,MLX5_1.7
13  0.3.14       aarch64 curl,ibverbs,mlx5,numa    cuda,cudart,curl,ibverbs,mlx5,numa GLIBC_2.28,GLIBCXX_3.4.22,CXXABI_1.3.11,IBVERBS_1.12,MLX5_1.7
cpu 0.3.12.post1 x86_64  cudart,curl,ibverbs,numa  curl,ibverbs,numa                  GLIBC_2.28,GLIBCXX_3.4.22,CXXABI_1.3.11,IBVERBS_1.11
cpu 0.3.13.post1 x86_64  curl,ibverbs,numa         curl,ibverbs,numa                  GLIBC_2.28,GLIBCXX_3.4.22,CXXABI_1.3.11,IBVERBS_1.11
"""  # noqa: E501
WATCHED = {"cuda", "cudart", "curl", "ibverbs", "mlx5", "numa"}


@pytest.mark.parametrize("row", rows(NEEDS), ids=named)
def test_what_mooncake_needs(
    published: Published, mooncake: Callable[..., Path], row: dict[str, str]
) -> None:
    facts = published.facts("mooncake", mooncake(row))["facts"]
    files = {one["path"]: one for one in facts["elf"]}
    for name, path in (("master", "mooncake/mooncake_master"), ("engine", "mooncake/engine.so")):
        needed = {one.removeprefix("lib").partition(".")[0] for one in files[path]["needed"]}
        assert sorted(needed & WATCHED) == row[name].split(",")
    own = [one["versions"] for path, one in files.items() if path.startswith("mooncake/")]
    for wanted in row["highest"].split(","):
        prefix, _, number = wanted.rpartition("_")
        found = [versions[prefix] for versions in own if prefix in versions]
        assert max(found, key=lambda text: [int(part) for part in text.split(".")]) == number
    host = {one.removeprefix("lib").partition(".")[0] for one in facts["needed_from_host"]}
    assert set(row["engine"].split(",")) <= host


def test_no_mooncake_wheel_for_cpus_needs_cuda_any_more(
    published: Published, mooncake: Callable[..., Path]
) -> None:
    old, new = (
        {"for": "cpu", "version": v, "arch": "x86_64"} for v in ("0.3.12.post1", "0.3.13.post1")
    )
    found = proofs(published.facts("mooncake", mooncake(old)))["cuda-free"]
    assert found["holds"] is False
    assert "mooncake/mooncake_master needs libcudart.so.12" in found["evidence"]
    assert proofs(published.facts("mooncake", mooncake(new)))["cuda-free"]["holds"] is True


PROFILES = """
for version      arch    profile   missed
13  0.3.10.post2 aarch64 store-ssd dmabuf,address-range
13  0.3.10.post2 aarch64 gb200     dmabuf,address-range
13  0.3.14       aarch64 gb200     -
13  0.3.14       aarch64 store-ssd -
13  0.3.14       x86_64  store-ssd -
13  0.3.14       x86_64  gb200     mnnvl
"""


@pytest.mark.parametrize("row", rows(PROFILES), ids=lambda row: f"{named(row)}-{row['profile']}")
def test_profiles(published: Published, mooncake: Callable[..., Path], row: dict[str, str]) -> None:
    answer = published.audit("mooncake", mooncake(row), "--profile", row["profile"])
    missed = [one for one in answer["findings"] if one["check"] == "prove"]
    names = [one["message"].partition(":")[0] for one in missed]
    assert ",".join(names) == row["missed"].replace("-", "", names == [])
    assert {one["severity"] for one in missed} <= {"error"}


def test_gpu_architectures(published: Published, mooncake: Callable[..., Path]) -> None:
    for major, archs in (("12", "sm_80, sm_90"), ("13", "sm_80, sm_90, sm_103")):
        row = {"for": major, "version": "0.3.13.post1", "arch": "x86_64"}
        assert proofs(published.facts("mooncake", mooncake(row)))["gpu-archs"]["value"] == archs


PATCHED = """
for version      arch    state
13  0.3.11.post1 x86_64  conflicts
13  0.3.12.post1 aarch64 conflicts
13  0.3.13.post1 x86_64  needed
cpu 0.3.13.post1 x86_64  needed
13  0.3.14       x86_64  needed
13  0.3.14       aarch64 needed
"""
"""Of the patch peermem-default: the text of a tag is not to be had, but what it became is."""


@pytest.mark.parametrize("row", rows(PATCHED), ids=named)
def test_the_patch_of_the_default_is_for_the_published_text(
    mooncake: Callable[..., Path], tmp_path: Path, row: dict[str, str]
) -> None:
    """It applies without fuzz to the versions of its range, and to no others."""
    patch = PATCH.read_bytes()
    tree = unpacked(mooncake(row), tmp_path)
    verdict = judge(patch, tree)
    assert verdict.state == row["state"]
    recipe = tomllib.loads((CHECKOUT / "recipes" / "mooncake.toml").read_text())
    (when,) = [one["when"] for one in recipe["patches"] if one.get("file") == PATCH.name]
    assert applies(when, row["version"]) is (row["state"] == "needed")
    words = ["patch", "-p1", "-F0", "--batch", "--input", str(PATCH)]
    done = subprocess.run(words, cwd=tree.folder, capture_output=True, check=False)
    assert (done.returncode == 0) is (row["state"] == "needed")
    assert b"fuzz" not in done.stdout


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_every_way_into_mooncake_passes_the_default(
    mooncake: Callable[..., Path], tmp_path: Path, arch: str
) -> None:
    wheel = mooncake({"for": "13", "version": "0.3.14", "arch": arch})
    tree = unpacked(wheel, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        scripts = archive.read(points).decode().splitlines()[1:]
    assert len(scripts) >= 4
    assert all(" = mooncake." in line for line in scripts if line)

    def imported(**environment: str) -> str:
        code = "import mooncake, os; print(os.environ.get('WITH_NVIDIA_PEERMEM'))"
        code = f"import sys; sys.path.insert(0, sys.argv[1]); {code}"
        words = [sys.executable, "-I", "-c", code, str(tree.folder / "mooncake-wheel")]
        return subprocess.check_output(words, text=True, env=environment).strip()

    assert imported() == "None"
    tree.apply(PATCH.read_bytes())
    assert imported() == "0"
    assert imported(WITH_NVIDIA_PEERMEM="1") == "1"


def unpacked(wheel: Path, folder: Path) -> Tree:
    """Where upstream's tree has it, the file of a wheel that the patch is for."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("mooncake/__init__.py", folder / "tree" / "mooncake-wheel")
    return Tree(folder=folder / "tree", git=Git(folder / "git", Silent()), reporter=Silent())


# -- NIXL -----------------------------------------------------------------------------------------

NIXL = """
project   version arch    cuda ucx    ep             torch           once bits verbs
nixl-cu12 1.0.0   x86_64  12   1.20.0 -              -               no   no   no
nixl-cu12 1.2.0   x86_64  12   1.21.0 12             -               no   no   no
nixl-cu13 1.3.1   x86_64  13   1.21.0 13             2.11,2.12,2.13  no   no   no
nixl-cu12 1.5.1   x86_64  12   1.23.0 12             2.11,2.12,2.13  no   no   no
nixl-cu13 1.5.1   x86_64  13   1.23.0 13             2.12,2.13,2.14  no   no   no
nixl-cu13 1.5.1   aarch64 13   1.23.0 13             2.12,2.13,2.14  no   no   no
nixl      1.5.1   any     -    -      -              -               -    -    yes
"""
HOST = {"libcuda.so.1", "libnvidia-ml.so.1", "libcufile.so.0", "libfabric.so.1", "libhwloc.so.15"}
DOCA = {"libdoca_common.so.2", "libdoca_verbs.so.2", "libdoca_gpunetio.so.2"}


@pytest.mark.parametrize("row", rows(NIXL), ids=lambda row: "-".join(list(row.values())[:3]))
def test_nixl(published: Published, row: dict[str, str]) -> None:
    wheel = published.wheel(row["project"], row["version"], row["arch"])
    answer = published.facts("nixl", wheel)
    facts, found = answer["facts"], proofs(answer)
    values = {
        "cuda": "cuda-major",
        "ucx": "ucx-version",
        "ep": "ep-cuda-major",
        "torch": "ep-torch",
    }
    told = {name: (found[id_]["value"] or "-").replace(" ", "") for name, id_ in values.items()}
    assert told == {name: row[name] for name in values}
    holds = {"once": "plugins-once", "bits": "programs-executable", "verbs": "rdma-from-host"}
    assert {name: HOLDS[found[id_]["holds"]] for name, id_ in holds.items()} == {
        name: row[name] for name in holds
    }
    assert str(facts["cuda_major"] or "-") == row["cuda"]
    assert facts["commit"] is None
    if row["version"] == "1.5.1" and row["arch"] != "any":
        needed = set(facts["needed_from_host"])
        assert HOST | DOCA | {f"libcudart.so.{row['cuda']}"} <= needed
        assert ("libcuobjclient.so.1" in needed) is (row["cuda"] == "13")
        assert found["plugins"]["value"] == (
            "AZURE_BLOB, GDS, GDS_MT, GPUNETIO, GUSLI, INFINIA, LIBFABRIC, OBJ, POSIX, UCX"
        )
    assert not [one for one in answer["findings"] if one["check"] in {"distribution", "wheel"}]
    # NVIDIA's own terms, since 1.4: to be read before such a wheel is published again.
    terms = [one["message"] for one in answer["findings"] if one["check"] == "licence"]
    assert bool(terms) is (row["version"] == "1.5.1" and row["project"] != "nixl")
    assert all("NVIDIA-proprietary-LICENSE.txt" in one for one in terms)


# -- MoRI -----------------------------------------------------------------------------------------

MORI = """
version python tag            floor rocm       rpc missing verbs
1.0.0   cp312  manylinux2014  2.39  -          yes 3       linked
1.2.1   cp312  manylinux_2_39 2.39  -          no  55      run-time
1.2.4   cp310  manylinux_2_35 2.35  7.2.4      no  4       run-time
1.2.4   cp312  manylinux_2_39 2.39  7.14.60850 no  55      run-time
"""


@pytest.mark.parametrize("row", rows(MORI), ids=lambda row: f"{row['version']}-{row['python']}")
def test_mori(published: Published, row: dict[str, str]) -> None:
    wheel = published.wheel("amd-mori", row["version"], "x86_64", row["python"])
    assert row["tag"] in wheel.name
    answer = published.facts("mori", wheel)
    facts, found = answer["facts"], proofs(answer)
    assert (facts["true_floor"], facts["cuda_major"]) == (row["floor"], None)
    assert (found["rocm-version"]["value"] or "-") == row["rocm"]
    assert found["rocm-major"]["value"] == "7"
    assert HOLDS[found["own-rpc"]["holds"]] == row["rpc"]
    assert found["verbs"]["value"] == row["verbs"]
    # From 1.1.1 the files load on the glibc that the tag names, but nobody promises what else they
    # need: it was set without repairing the wheel.
    assert found["tag-kept"]["holds"] is False
    assert (
        f"it needs {row['missing']} libraries that nobody promises" in found["tag-kept"]["evidence"]
    )
    unprovided = [one for one in answer["findings"] if one["check"] == "needed"]
    assert len(unprovided) == int(row["missing"])
    too_new = [one for one in answer["findings"] if one["check"] in {"floor", "tag"}]
    assert bool(too_new) is (row["tag"] == "manylinux2014")
    assert answer["exit-code"] == 50
