"""Stand-in for MoRI's setup.py: the same environment variables, CMake, places and traps."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

try:
    from Cython.Build import cythonize
except ImportError:
    cythonize = None

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "python" / "mori"
ROCM = Path(os.environ.get("ROCM_PATH", "/opt/rocm"))
SUPPORTED = ["gfx942", "gfx950"]
LIBRARIES = ["application", "cco", "collective", "io", "metrics", "ops", "pybind", "shmem"]
PROGRAMS = ["umbp_master", "umbp_standalone_server"]
SWITCHES = {
    "USE_ROCM": "ON",  # always on in MoRI; the stand-in can do without
    "BUILD_SHMEM_DEVICE_WRAPPER": "ON",
    "BUILD_EXAMPLES": "OFF",
    "BUILD_BENCHMARK": "OFF",
    "BUILD_TESTS": "OFF",
    "BUILD_XLA_FFI_OPS": "OFF",
    "BUILD_OPS_DEVICE": "OFF",
    "ENABLE_PROFILER": "OFF",
    "ENABLE_DEBUG_PRINTF": "OFF",
    "ENABLE_STANDARD_MOE_ADAPT": "OFF",
    "MORI_MULTITHREAD_SUPPORT": "OFF",
    "WARP_ACCUM_UNROLL": "1",
    "CMAKE_BUILD_TYPE": "Release",
}
"""Variable of the environment, and CMake's of the same name -> default."""


def say(text):
    print(f"[mori stand-in] {text}", file=sys.stderr, flush=True)


def is_on(name, default):
    return os.environ.get(name, default).strip().upper() in {"1", "ON", "TRUE", "YES"}


def compiles(header):
    """Whether the C++ compiler finds a header."""
    command = [os.environ.get("CXX", "c++"), "-E", "-x", "c++", "-include", header, os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_headers():
    packages = {"pci/pci.h": "libpci-dev", "infiniband/verbs.h": "libibverbs-dev"}
    packages |= {"numa.h": "libnuma-dev"}
    if missing := [package for header, package in packages.items() if not compiles(header)]:
        raise RuntimeError(f"stand-in for MoRI: missing packages: {', '.join(missing)}")


def with_umbp():
    """UMBP is wanted by default and left out, with a warning, where gRPC is missing."""
    if not is_on("BUILD_UMBP", "ON") and not is_on("BUILD_UMBP_SPDK", "OFF"):
        return False
    headers = ["grpcpp/grpcpp.h", "google/protobuf/message.h"]
    if missing := [header for header in headers if not compiles(header)]:
        say(f"WARNING: UMBP is disabled for this build: no {', '.join(missing)}")
        return False
    return True


def local_gpu():
    enumerator = ROCM / "bin" / "rocm_agent_enumerator"
    if not enumerator.is_file():
        return None
    found = subprocess.run([enumerator], capture_output=True, text=True, check=False).stdout
    return next((word for word in found.split() if word in SUPPORTED), None)


def gpu_archs():
    """MORI_GPU_ARCHS; this machine's GPU; what is supported of GPU_ARCHS; all that is supported."""
    if archs := os.environ.get("MORI_GPU_ARCHS") or local_gpu():
        return archs
    named = os.environ.get("GPU_ARCHS") or os.environ.get("PYTORCH_ROCM_ARCH") or ""
    wanted = [arch for arch in SUPPORTED if arch in named.replace(" ", ";").split(";")]
    return ";".join(wanted or SUPPORTED)


def get_submodules():
    folders = ["3rdparty/spdlog", "3rdparty/msgpack-c"]
    empty = [one for one in folders if not (ROOT / one / "include").is_dir()]
    if not empty:
        return
    command = ["git", "submodule", "update", "--init", "--recursive", *empty]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise RuntimeError(f"stand-in for MoRI: {', '.join(empty)} is empty: get the submodules")


def rocm_version():
    try:
        return (ROCM / ".info" / "version").read_text().strip().partition("-")[0]
    except FileNotFoundError:
        return "0.0.0"


def precompile():
    """As in MoRI: where there is a GPU and hipcc, a process goes on after the build has ended."""
    if is_on("MORI_SKIP_PRECOMPILE", "OFF"):
        return
    if local_gpu() is None or not (ROCM / "bin" / "hipcc").is_file():
        say("no GPU or no hipcc: no kernels are compiled in advance")
        return
    cache = Path.home() / ".mori" / "jit" / "stand-in"
    program = f"import pathlib; p = pathlib.Path({str(cache)!r}); p.mkdir(parents=True)"
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(1); {program}"])
    say("compiling kernels in the background")


class CMakeBuild(build_ext):
    def build_extension(self, ext):
        if ext.sources:
            super().build_extension(ext)
            return
        check_headers()
        get_submodules()
        folder = ROOT / os.environ.get("MORI_PYBUILD_DIR", "build")
        switches = {name: os.environ.get(name, default) for name, default in SWITCHES.items()}
        switches |= {"BUILD_UMBP": "ON" if with_umbp() else "OFF", "GPU_TARGETS": gpu_archs()}
        examples = is_on("BUILD_EXAMPLES", "OFF") or is_on("BUILD_BENCHMARK", "OFF")
        switches["WITH_MPI"] = "ON" if examples or is_on("MORI_WITH_MPI", "OFF") else "OFF"
        command = ["cmake", "-S", ROOT, "-B", folder, f"-DROCM_PATH={ROCM}"]
        command += [f"-D{name}={value}" for name, value in switches.items()]
        if shutil.which("ninja"):
            command += ["-G", "Ninja"]
        (folder / "CMakeCache.txt").unlink(missing_ok=True)
        subprocess.run(command, check=True)
        jobs = str(os.cpu_count())
        subprocess.run(["cmake", "--build", folder, "-j", jobs], check=True)
        self.copy(folder)
        precompile()

    def copy(self, folder):
        """Libraries go into the source tree, where they become package data."""
        for name in LIBRARIES:
            file = f"libmori_{'pybinds' if name == 'pybind' else name}.so"
            shutil.copy(folder / "src" / name / file, PACKAGE / file)
        for name in PROGRAMS:
            (PACKAGE / name).unlink(missing_ok=True)
            if (folder / "src" / "umbp" / name).exists():
                shutil.copy(folder / "src" / "umbp" / name, PACKAGE / name)
        text = f'"""Stand-in for MoRI: made by setup.py."""\n\nROCM_BUILD_VERSION = "{rocm_version()}"\n'
        (PACKAGE / "_rocm_build_info.py").write_text(text)
        sources = PACKAGE / "_jit-sources"
        shutil.rmtree(sources, ignore_errors=True)
        shutil.copytree(ROOT / "include", sources / "include")
        shutil.copytree(ROOT / "src" / "ops" / "kernels", sources / "src" / "ops" / "kernels")


class CMakeFirst(build):
    """build_py runs before build_ext otherwise, and would not see the libraries."""

    def run(self):
        self.run_command("build_ext")
        super().run()


def extensions():
    found = [Extension("mori", sources=[])]
    if cythonize is None:
        say("WARNING: Cython not found: mori.cco.cco is left out")
        return found
    cco = Extension(
        "mori.cco.cco",
        sources=["python/mori/cco/cco.pyx"],
        include_dirs=["include"],
        library_dirs=["python/mori"],
        libraries=["mori_cco"],
        runtime_library_dirs=["$ORIGIN/.."],
        language="c++",
    )
    return found + cythonize([cco], language_level="3")


setup(
    packages=find_packages(where="python"),
    package_dir={"": "python"},
    package_data={
        "mori": ["libmori_*.so", *PROGRAMS, "_jit-sources/**/*.hpp", "_jit-sources/**/*.hip"]
    },
    cmdclass={"build_ext": CMakeBuild, "build": CMakeFirst},
    ext_modules=extensions(),
)
