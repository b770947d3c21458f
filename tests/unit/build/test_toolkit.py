"""A toolkit's files from hand-made wheels, laid out as NVIDIA's are."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from kvpack.build.key import action, action_key, lock_slice
from kvpack.build.nvcc import WRAPPER
from kvpack.build.pytools import File
from kvpack.build.root import root_key, write_layer
from kvpack.build.sbom import sbom
from kvpack.build.toolkit import toolkit_files, toolkit_key
from kvpack.errors import ArchiveUnsafe, RootFailed
from kvpack.lock.model import LockedWheel
from kvpack.names import Arch
from kvpack.recipe.roots import load_roots
from kvpack.recipe.toolkits import Toolkits
from tests.unit.build.made import (
    DEBIAN,
    INPUTS,
    ROOTS,
    Blobs,
    inputs,
    locked_wheel,
    recipe,
    wheel_bytes,
    zip_bytes,
)

TOOLKITS = load_roots().toolkits
HOME = "usr/local/cuda"
ELF = b"\x7fELF"
CUDA_H = b"#define cuFoo cuFoo_v2\nCUresult CUDAAPI cuInit(unsigned int Flags);\n"
RUNTIME = {
    "nvidia/cu13/include/cuda.h": CUDA_H,
    "nvidia/cu13/lib/libcudart.so.13": ELF + b"runtime",
    "nvidia/cu13/lib/libnvrtc-builtins.so.13.4": ELF,
    "nvidia/cu13/lib/libcudart_static.a": b"!<arch>\n",
    "nvidia/__init__.py": b"",
    "nvidia/cu13/include/__init__.py": b"",
    "nvidia/cu13/.metadata/scan.txt": b"forgotten",
}
NVCC = {
    "nvidia/cu13/bin/nvcc": ELF + b"nvcc",
    "nvidia/cu13/bin/nvcc.profile": b"TOP = $(_HERE_)/..\n",
    "nvidia/cu13/nvvm/bin/cicc": ELF + b"cicc",
    "nvidia/cu13/include/shared.h": b"same",
}
OLD = {
    "nvidia/cuda_runtime/include/cuda.h": CUDA_H,
    "nvidia/cufile/lib/libcufile.so.0": ELF,
}


class Made:
    """A toolkit of wheels: project -> members."""

    def __init__(self, folder: Path, *wheels: tuple[str, dict[str, bytes]]) -> None:
        blobs = Blobs(folder)
        self.wheels = []
        for project, members in wheels:
            data = wheel_bytes(project, "13.4.3", members)
            blobs.add(data)
            wheel = locked_wheel(project, data, "13.4.3")
            self.wheels.append((wheel, blobs(wheel.sha256)))

    def files(self, arch: Arch = Arch.X86_64) -> dict[str, File]:
        found = list(toolkit_files(self.wheels, arch, TOOLKITS))
        assert len({file.path for file in found}) == len(found)
        return {file.path.removeprefix(f"{HOME}/"): file for file in found}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, ("cuda-toolkit", {}), ("runtime", RUNTIME), ("nvcc", NVCC))


def test_the_trees_lie_over_each_other(made: Made) -> None:
    files = made.files()
    assert {path for path, file in files.items() if not file.link} == {
        "bin/nvcc", "bin/nvcc.profile", "include/cuda.h", "include/shared.h",
        "lib/libcudart.so.13", "lib/libcudart_static.a", "lib/libnvrtc-builtins.so.13.4",
        "lib/stubs/libcuda.so", "nvvm/bin/cicc", "nvvm/bin/.cicc-wrapped", "version.json",
        "version.txt",
    }  # fmt: skip
    assert files["include/cuda.h"].content == CUDA_H


def test_the_pieces_of_cuda_12_are_one_tree_too(tmp_path: Path) -> None:
    files = Made(tmp_path, ("old", OLD)).files()
    assert {"include/cuda.h", "lib/libcufile.so.0", "lib/libcufile.so"} <= set(files)
    assert "version.json" not in files  # nothing says which release it is


def test_links_that_an_installer_would_have_made(made: Made) -> None:
    assert {path: file.link for path, file in made.files().items() if file.link} == {
        "lib64": "lib",
        "lib/libcudart.so": "libcudart.so.13",
        "lib/libnvrtc-builtins.so": "libnvrtc-builtins.so.13.4",
        "lib/stubs/libcuda.so.1": "libcuda.so",
    }


def test_nvlink_finds_libnvvm(tmp_path: Path) -> None:
    members = {"nvidia/cu13/bin/nvlink": ELF, "nvidia/cu13/lib/libnvvm.so.4": ELF}
    files = Made(tmp_path, ("nvcc", members)).files()
    found = {path: file.link for path, file in files.items() if "nvvm" in path and file.link}
    assert found == {"nvvm/lib64": "../lib", "lib/libnvvm.so": "libnvvm.so.4"}


def test_programs_can_be_started_by_everybody(made: Made) -> None:
    modes = {path: file.mode for path, file in made.files().items()}
    assert modes["bin/nvcc"] == modes["nvvm/bin/cicc"] == 0o755
    assert modes["bin/nvcc.profile"] == modes["lib/libcudart.so.13"] == 0o644


def test_programs_that_use_the_path_of_a_source_stand_behind_a_script(made: Made) -> None:
    files = made.files()
    script, program = files["nvvm/bin/cicc"], files["nvvm/bin/.cicc-wrapped"]
    assert (script.content, script.mode) == (WRAPPER.encode(), 0o755)
    assert (program.content, program.mode) == (ELF + b"cicc", 0o755)
    assert "bin/cudafe++" not in files  # not in these wheels


def test_the_version_stands_where_cmake_looks(made: Made) -> None:
    files = made.files()
    assert json.loads(files["version.json"].content)["cuda"]["version"] == "13.4.3"
    assert files["version.txt"].content == b"CUDA Version 13.4.3\n"


def test_a_stub_is_made_for_the_headers_that_are_there(tmp_path: Path, made: Made) -> None:
    plain = made.files()["lib/stubs/libcuda.so"].content
    assert all(name in plain for name in (b"cuInit\0", b"cuFoo_v2\0", b"libcuda.so.1\0"))
    assert made.files(Arch.AARCH64)["lib/stubs/libcuda.so"].content != plain
    nvml = {"nvidia/cu13/include/nvml.h": b"nvmlReturn_t DECLDIR nvmlShutdown(void);"}
    other = Made(tmp_path, ("nvml", nvml)).files()
    assert "lib/stubs/libnvidia-ml.so.1" in other
    assert "lib/stubs/libcuda.so" not in other


def test_wheels_that_contradict_each_other(tmp_path: Path) -> None:
    other = {"nvidia/cu13/include/cuda.h": b"another", "nvidia/cu13/include/shared.h": b"same"}
    with pytest.raises(RootFailed, match="contradict each other") as caught:
        Made(tmp_path, ("a", RUNTIME), ("b", other), ("c", NVCC)).files()
    (fault,) = caught.value.faults
    assert fault.place == "include/cuda.h"
    assert "a-13.4.3-py3-none-any.whl and b-13.4.3-py3-none-any.whl" in fault.message
    assert "cuda-toolkit" in caught.value.hint


def test_wheels_without_a_toolkit(tmp_path: Path) -> None:
    with pytest.raises(RootFailed, match="no file of a toolkit is in demo-13"):
        Made(tmp_path, ("demo", {"demo/__init__.py": b""})).files()


@pytest.mark.parametrize(
    "data", [b"no zip", zip_bytes({"nvidia/cu13/../../../../etc/passwd": b"x"})]
)
def test_a_wheel_that_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ArchiveUnsafe, match=r"demo-1\.0-py3-none-any\.whl"):
        list(toolkit_files([(locked_wheel("demo", data), tmp_path / "x")], Arch.X86_64, TOOLKITS))


def test_the_layer_is_the_same_bytes_every_time(made: Made) -> None:
    streams = [io.BytesIO(), io.BytesIO()]
    for stream, order in zip(streams, (1, -1), strict=True):
        write_layer(toolkit_files(made.wheels[::order], Arch.X86_64, TOOLKITS), stream)
    assert streams[0].getvalue() == streams[1].getvalue()
    with tarfile.open(fileobj=io.BytesIO(streams[0].getvalue())) as tar:
        names = tar.getnames()
    assert names[:4] == ["usr", "usr/local", HOME, f"{HOME}/bin"]
    assert len(names) == len(set(names))


# -- keys -----------------------------------------------------------------------------------

WHEEL = locked_wheel("nvidia-cuda-runtime", b"runtime")
WITH = INPUTS.model_copy(update={"toolkit": (WHEEL,)})


def other(wheel: LockedWheel) -> LockedWheel:
    return wheel.model_copy(update={"sha256": "f" * 64})


def test_a_toolkit_is_part_of_every_key_and_none_is_in_none() -> None:
    plain, made = action(recipe(), INPUTS, ROOTS), action(recipe(), WITH, ROOTS)
    assert "toolkit" not in lock_slice(INPUTS)
    assert "toolkit-data" not in plain
    assert lock_slice(WITH)["toolkit"] == {WHEEL.file: WHEEL.sha256}
    assert root_key(WITH, DEBIAN) == root_key(INPUTS, DEBIAN)  # the root under it is the same
    moved = inputs(("toolkit", [other(WHEEL).model_dump(by_alias=True)]))
    stubs = ROOTS.model_copy(update={"toolkits": TOOLKITS})
    actions = (plain, made, action(recipe(), moved, ROOTS), action(recipe(), WITH, stubs))
    assert len({action_key(one) for one in actions}) == len(actions)


def test_the_root_with_a_toolkit_has_a_key_of_its_own() -> None:
    keys = {
        toolkit_key(WITH, "root", TOOLKITS),
        toolkit_key(WITH, "other root", TOOLKITS),
        toolkit_key(WITH, "root", Toolkits()),
        toolkit_key(WITH.model_copy(update={"toolkit": (other(WHEEL),)}), "root", TOOLKITS),
    }
    assert len(keys) == 4


def test_the_bill_names_a_toolkit_as_an_input_of_the_build() -> None:
    parts = {part["name"]: part for part in sbom(recipe(), WITH, "a" * 64)["components"]}
    part = parts["nvidia-cuda-runtime"]
    assert part["scope"] == "excluded"
    assert part["properties"] == [{"name": "kvpack:role", "value": "toolkit"}]
