"""CUDA toolkits from locked wheels: real builds for both majors, and nvcc, without a network."""

import io
import json
import textwrap
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from kvpack.build.root import write_layer
from kvpack.build.toolkit import toolkit_files
from kvpack.lock.check import inputs_for
from kvpack.lock.file import read_lock
from kvpack.names import Accelerator, Arch
from kvpack.recipe.catalogue import Catalogue
from kvpack.recipe.expand import expand
from kvpack.recipe.load import load_recipe
from kvpack.recipe.model import Selection
from kvpack.recipe.roots import load_roots
from kvpack.tools.store import Store
from tests.integration.conftest import Kvpack, copied_store
from tests.integration.demo import prepared
from tests.integration.test_roots import Digest

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("major", ["12", "13"])
def test_dlslime_for_cuda(kvpack: Kvpack, tmp_path: Path, major: str) -> None:
    """``USE_CUDA`` and ``BUILD_NVLINK``, linked with the run time and with the stub of libcuda."""
    done = kvpack("--json", "build", "dlslime", "--cuda", major, "--out", str(tmp_path)).ok().json
    (target,) = done["targets"]
    wheel = Path(target["wheel"])
    assert wheel.name.startswith(f"dlslime_cu{major}-0.1.7+kvp.")
    report = json.loads((tmp_path / f"{wheel.name}.audit.json").read_text())
    assert report["passed"]  # imported, too: on the run time, with the stub as the driver
    assert report["facts"]["needed-from-host"] == [
        "libcuda.so.1", f"libcudart.so.{major}", "libibverbs.so.1", "libnuma.so.1",
    ]  # fmt: skip
    assert report["facts"]["grafted"] == []
    assert report["facts"]["true-floor"] == "2.35"
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "libcuda" in name]
    bill = json.loads((tmp_path / f"{wheel.name}.cdx.json").read_text())
    roles = {part["name"]: part["properties"][0]["value"] for part in bill["components"]}
    runtime = "nvidia-cuda-runtime" + ("-cu12" if major == "12" else "")
    assert roles[runtime] == roles["cuda-toolkit"] == "toolkit"


KERNEL = """\
#include <cuda.h>
#include <cub/block/block_reduce.cuh>
#include <cstdio>
__global__ void twice(float *values) { values[threadIdx.x] *= 2; }
extern "C" int start(float *values) {
  CUdevice device;
  if (int code = cuInit(0)) return code;
  if (int code = cuDeviceGet(&device, 0)) return code;
  twice<<<1, 32>>>(values);
  return cudaDeviceSynchronize();
}
"""
# What a build script does with the environment that the toolkit gives it.
SETUP = """\
import os, subprocess
from setuptools import setup
from setuptools.dist import Distribution

assert os.environ["CUDA_HOME"] == os.environ["CUDA_PATH"] == "/usr/local/cuda"
nvcc = ["nvcc", "-arch=sm_90", "--no-compress", "-Xcompiler", "-fPIC"]
subprocess.run([*nvcc, "-c", "kernel.cu", "-o", "kernel.o"], check=True)
subprocess.run(
    [*nvcc, "-cudart", "shared", "--shared", "kernel.o", "-o", "kvdemo/libkernel.so", "-lcuda"],
    check=True,
)
# The host's compiler, by what is in the environment alone.
subprocess.run(
    ["c++", "-shared", "-fPIC", "-I/usr/local/cuda/include", "host.cpp", "-o", "kvdemo/libhost.so",
     "-Wl,--no-undefined", "-lcudart", "-lcuda", "-lnvidia-ml"], check=True,
)


class Binary(Distribution):
    def has_ext_modules(self):
        return True


setup(packages=["kvdemo"], package_data={"kvdemo": ["*.so"]}, distclass=Binary)
"""
HOST = """\
#include <cuda.h>
#include <cuda_runtime.h>
#include <nvml.h>
extern "C" int ask() {
  void *memory; size_t size; CUdeviceptr base;
  cudaMalloc(&memory, 1);
  nvmlInit();
  return cuMemGetAddressRange(&base, &size, (CUdeviceptr)memory);  // a macro: …_v2 is called
}
"""
INIT = """\
import ctypes, pathlib
folder = pathlib.Path(__file__).parent
code = ctypes.CDLL(str(folder / "libkernel.so")).start(None)
assert code == 34, code  # CUDA_ERROR_STUB_LIBRARY
assert ctypes.CDLL(str(folder / "libhost.so")).ask() == 34
"""
RECIPE = """\
    [build]
    toolkit = ["runtime", "nvcc", "nvml"]
    [audit]
    import = ["kvdemo"]
    host-libraries = ["libcuda.so.1", "libcudart.so.13", "libnvidia-ml.so.1"]
    """


@pytest.fixture
def demo(kvpack: Kvpack, tmp_path: Path) -> Kvpack:
    """The demonstration package with a ``.cu`` file, for cuda13."""
    files = {"setup.py": SETUP, "kernel.cu": KERNEL, "host.cpp": HOST, "kvdemo/__init__.py": INIT}
    found = prepared(kvpack, tmp_path, files=files, more=textwrap.dedent(RECIPE))
    recipe = found.root / "recipes" / "kvdemo.toml"
    text = recipe.read_text().replace('cpu = "kvdemo"', 'cuda13 = "kvdemo-cu13"')
    recipe.write_text(text.replace("[targets]", '[targets]\naccelerator = ["cuda13"]'))
    return found


def test_nvcc_compiles_a_kernel_in_the_root(demo: Kvpack, tmp_path: Path) -> None:
    """For sm_90; linked with both stubs, and started with them; the same bytes a second time.

    Of other folders: ``test_nvcc.py``.
    """
    demo("lock").ok()
    build = ("--json", "build", "kvdemo", "--cuda", "13", "--out", str(tmp_path / "dist"))
    (target,) = demo(*build).ok().json["targets"]
    again = Kvpack(demo.root, copied_store(demo.store, tmp_path / "store"))
    (second,) = again(*build).ok().json["targets"]
    assert (second["hit"], second["sha256"]) == (False, target["sha256"])
    report = json.loads(Path(f"{target['wheel']}.audit.json").read_text())
    assert report["facts"]["needed-from-host"] == [
        "libcuda.so.1", "libcudart.so.13", "libnvidia-ml.so.1",
    ]  # fmt: skip
    with zipfile.ZipFile(target["wheel"]) as archive:
        library = ELFFile(io.BytesIO(archive.read("kvdemo/libkernel.so")))
    fatbin = library.get_section_by_name(".nv_fatbin")
    assert fatbin is not None
    kernel = fatbin.data()
    assert b"sm_90" in kernel
    assert b"twice" in kernel


def test_a_toolkit_is_locked_narrowed_and_upgraded(demo: Kvpack) -> None:
    lock = demo.root / "lock" / "kvdemo.toml"
    lock.unlink()
    recipe = demo.root / "recipes" / "kvdemo.toml"
    # Bounded: a later CUDA may come in more wheels, or in fewer.
    bound = '[build]\ntoolkit-version = {{ cuda13 = "<{}" }}'
    wide = recipe.read_text().replace("[build]", bound.format("13.5"))
    recipe.write_text(wide)
    demo("lock").ok()
    first = lock.read_text()
    assert "incomplete" not in first
    recipe.write_text(wide.replace("<13.5", "<13.1"))
    stale = demo("lock", "--check")
    assert stale.code == 21
    assert "closure toolkit x86_64 cuda13: requirements changed" in stale.err
    assert "~ wheel toolkit x86_64 cuda13 cuda-toolkit 13." in demo("lock").ok().out
    narrow = lock.read_text()
    assert 'project = "cuda-toolkit", version = "13.0.' in narrow
    assert narrow.count("manylinux") == first.count("manylinux")
    recipe.write_text(wide)
    demo("lock").ok()  # what still fits stays
    assert 'project = "cuda-toolkit", version = "13.0.' in lock.read_text()
    demo("lock", "--upgrade", "cuda-toolkit").ok()
    assert lock.read_text() == first


@pytest.mark.parametrize("accelerator", [Accelerator.CUDA12, Accelerator.CUDA13])
def test_a_toolkit_for_the_other_architecture(kvpack: Kvpack, accelerator: Accelerator) -> None:
    """Assembled for aarch64, twice to the same bytes; nothing of it is run."""
    major = accelerator.value[-2:]
    kvpack("fetch", "dlslime", "--cuda", major, "--arch", "aarch64").ok()
    catalogue, roots = Catalogue(kvpack.root), load_roots()
    recipe = load_recipe(catalogue, "dlslime")
    lock = read_lock(catalogue.lock_path("dlslime"), "lock/dlslime.toml")
    chosen = Selection(accelerator=(accelerator,), arch=(Arch.AARCH64,))
    (target,) = expand(recipe, roots, chosen, version=None, machine=Arch.X86_64)
    store = Store(kvpack.store)
    wheels = [(w, store.check(w.sha256)) for w in inputs_for(recipe, lock, target).toolkit]
    assert {wheel.file.endswith("_aarch64.whl") for wheel, _ in wheels[1:]} == {True}

    def layer() -> str:
        sink = Digest()
        write_layer(toolkit_files(wheels, Arch.AARCH64, roots.toolkits), sink)  # type: ignore[arg-type]
        return sink.sha256.hexdigest()

    assert layer() == layer()
    files = {file.path: file for file in toolkit_files(wheels, Arch.AARCH64, roots.toolkits)}
    home = "usr/local/cuda"
    assert files[f"{home}/lib/libcudart.so"].link == f"libcudart.so.{major}"
    assert {f"{home}/include/cuda_runtime.h", f"{home}/include/crt/host_config.h",
            f"{home}/include/nvtx3/nvToolsExt.h"} <= set(files)  # fmt: skip
    runtime, driver = (
        ELFFile(io.BytesIO(files[f"{home}/{name}"].content))
        for name in (f"lib/libcudart.so.{major}", "lib/stubs/libcuda.so")
    )
    assert runtime.get_machine_arch() == driver.get_machine_arch() == "AArch64"
    table = driver.get_section_by_name(".dynsym")
    assert isinstance(table, SymbolTableSection)
    stub = {symbol.name for symbol in table.iter_symbols()}
    assert len(stub) > 600
    assert {"cuInit", "cuMemGetAddressRange_v2", "cuMemGetHandleForAddressRange",
            "cuMemcpyAsync_ptsz", "cuGetProcAddress_v2"} <= stub  # fmt: skip
    assert "cudaMalloc" not in stub
