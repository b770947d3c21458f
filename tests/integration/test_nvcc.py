"""What nvcc makes is the same bytes in every folder; what is not, is told as nvcc's."""

import textwrap
from pathlib import Path

import pytest

from tests.integration.conftest import Kvpack
from tests.integration.demo import PYPROJECT, prepared

pytestmark = pytest.mark.integration

# Every kind of name that nvcc makes of its source's path, and what tells a path itself.
KERNEL = """\
#include <cassert>
#include <cstdio>
#include <cub/block/block_reduce.cuh>
static __device__ int counter;
__constant__ float scale[3];
namespace {
__device__ float hidden[4];
__global__ void inside(float *values) {
  assert(values);
  values[threadIdx.x] += hidden[threadIdx.x & 3] * scale[0] + counter;
}
template <class F> __global__ void run(F f, float *values) { f(values); }
}  // namespace
static __global__ void once(float *values) { values[0] = 1; }
extern "C" int start(float *values) {
  auto three = [] __device__(float *where) { where[0] = 3; };
  inside<<<1, 32>>>(values);
  once<<<1, 1>>>(values);
  run<<<1, 1>>>(three, values);
  std::printf("%s %s\\n", __FILE__, __builtin_FILE());
  return cudaDeviceSynchronize();
}
"""
# Device code in several files, two of one name: linked by nvlink, each with names of its own.
PART = """\
namespace {{
__device__ int mine[{size}];
__device__ int add(int value) {{ return value + mine[0]; }}
__global__ void same(int *values) {{ values[0] = add(values[1]); }}
}}
__device__ int {name}(int value) {{ return value * {size} + mine[1]; }}
extern "C" int {name}_start(int *values) {{ same<<<1, 1>>>(values); return 0; }}
"""
WHOLE = """\
extern __device__ int left(int);
extern __device__ int right(int);
namespace { __global__ void both(int *values) { values[0] = left(values[1]) + right(values[2]); } }
extern "C" int whole(int *values) { both<<<1, 1>>>(values); return 0; }
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.26)
project(parts LANGUAGES CXX CUDA)
# A source that the build makes, in a folder with a random name.
file(WRITE ${CMAKE_BINARY_DIR}/made.cu
     "namespace { __device__ int made[2]; }\\n"
     "extern \\"C\\" __global__ void use() { made[0]++; }\\n")
add_library(parts SHARED whole.cu left/part.cu right/part.cu ${CMAKE_BINARY_DIR}/made.cu)
set_target_properties(parts PROPERTIES CUDA_SEPARABLE_COMPILATION ON CUDA_RUNTIME_LIBRARY Shared
                      BUILD_RPATH_USE_ORIGIN ON)
"""
ALL = """\
here = os.getcwd()
# By a relative path, as setuptools calls it, and by a whole one, as CMake does.
run(*nvcc, "-c", "kernel.cu", "-o", "kernel.o")
run(*link, "kernel.o", "-o", "kvdemo/libkernel.so")
run(*nvcc, "-c", f"{here}/kernel.cu", "-o", f"{here}/whole.o")
run(*link, "whole.o", "-o", "kvdemo/libwhole.so")
# Device code of several files, linked by hand.
parts = ["whole", "left/part", "right/part"]
for part in parts:
    run(*nvcc, "-dc", f"{part}.cu", "-o", f"{part}.o")
objects = [f"{part}.o" for part in parts]
run(*nvcc, "-dlink", *objects, "-o", "linked.o")
run("c++", "-shared", *objects, "linked.o", "-o", "kvdemo/libdirect.so", "-lcudart")
# The same by CMake, in a temporary folder, as scikit-build-core does.
with tempfile.TemporaryDirectory() as build:
    run("cmake", "-G", "Ninja", "-S", here, "-B", build, "-DCMAKE_CUDA_ARCHITECTURES=90",
        "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={here}/kvdemo")
    run("cmake", "--build", build)
"""
SETUP = """\
import os, subprocess, tempfile
from setuptools import setup
from setuptools.dist import Distribution


def run(*words):
    subprocess.run(words, check=True)


nvcc = ["nvcc", "-arch=sm_90", "--extended-lambda", "-Xcompiler", "-fPIC"]
link = [*nvcc, "-cudart", "shared", "--shared"]
MAKING

class Binary(Distribution):
    def has_ext_modules(self):
        return True


setup(packages=["kvdemo"], package_data={"kvdemo": ["*.so"]}, distclass=Binary)
"""
INIT = """\
import ctypes, pathlib
for path in pathlib.Path(__file__).parent.glob("*.so"):
    ctypes.CDLL(str(path))
"""
RECIPE = """\
    [build]
    toolkit = ["runtime", "nvcc"]
    [audit]
    import = ["kvdemo"]
    host-libraries = ["libcudart.so.13"]
    """


def demo(kvpack: Kvpack, tmp_path: Path, making: str = ALL) -> Kvpack:
    """The demonstration package with ``.cu`` files, for cuda13.

    :param making: what its setup.py does with them.
    """
    files = {
        "pyproject.toml": PYPROJECT.replace(
            '"setuptools>=77"', '"setuptools>=77", "cmake", "ninja"'
        ),
        "setup.py": SETUP.replace("MAKING", making),
        "kernel.cu": KERNEL,
        "whole.cu": WHOLE,
        "left/part.cu": PART.format(name="left", size=5),
        "right/part.cu": PART.format(name="right", size=7),
        "CMakeLists.txt": CMAKE,
        "kvdemo/__init__.py": INIT,
    }
    found = prepared(kvpack, tmp_path, files=files, more=textwrap.dedent(RECIPE))
    recipe = found.root / "recipes" / "kvdemo.toml"
    text = recipe.read_text().replace('cpu = "kvdemo"', 'cuda13 = "kvdemo-cu13"')
    recipe.write_text(text.replace("[targets]", '[targets]\naccelerator = ["cuda13"]'))
    found("lock").ok()
    return found


def rebuilt(tmp_path: Path) -> tuple[str, ...]:
    return ("build", "kvdemo", "--cuda", "13", "--rebuild", "--out", str(tmp_path / "dist"))


def test_another_folder_gives_the_same_bytes(kvpack: Kvpack, tmp_path: Path) -> None:
    """By nvcc and by CMake; also for device code in several files, and a source that is made."""
    found = demo(kvpack, tmp_path)
    done = found("--json", *rebuilt(tmp_path)).ok().json
    (target,) = done["targets"]
    assert (target["hit"], target["rebuild"]["identical"]) == (False, True)


def test_what_nvcc_makes_of_its_process_is_told(kvpack: Kvpack, tmp_path: Path) -> None:
    """Compiled and linked in one step: no option of nvcc names its intermediate files then."""
    # A fresh container counts processes from one: as many before nvcc as the clock says.
    step = textwrap.dedent("""\
        import time
        for _ in range(int(time.time()) % 2000):
            run("true")
        run(*link, "kernel.cu", "-o", "kvdemo/libstep.so")
        """)
    found = demo(kvpack, tmp_path, step)
    done = found(*rebuilt(tmp_path))
    assert done.code == 43, done.err
    assert "kvdemo/libstep.so" in done.err
    assert "compile with -c" in done.err
    assert "in the folder of the first, differs, too: kvdemo/libstep.so" in " ".join(
        done.err.split()
    )
    for same in ("libkernel.so", "libwhole.so", "libdirect.so", "libparts.so"):
        assert same not in done.err
