"""A library for the linker, read back by pyelftools and loaded by this machine's loader."""

import ctypes
import io
import platform
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from kvpack.build.stub import exported, stub
from kvpack.names import Arch
from kvpack.recipe.roots import load_roots


def section(elf: ELFFile, name: str) -> Any:  # noqa: ANN401  # of the kind that its name says
    """A section that must be there."""
    found = elf.get_section_by_name(name)
    assert found is not None
    return found


NAMES = [f"cuFunction{number}" for number in range(40)]
CODE = {
    Arch.X86_64: bytes.fromhex("b822000000c3"),  # mov eax, 34; ret
    Arch.AARCH64: bytes.fromhex("40048052c0035fd6"),  # mov w0, #34; ret
}


@pytest.fixture(params=list(Arch))
def arch(request: pytest.FixtureRequest) -> Arch:
    return Arch(request.param)


def test_what_the_linker_reads(arch: Arch) -> None:
    elf = ELFFile(io.BytesIO(stub(arch, "libcuda.so.1", NAMES, 34)))
    assert elf.get_machine_arch() == {"x86_64": "x64", "aarch64": "AArch64"}[arch]
    assert elf["e_type"] == "ET_DYN"
    dynamic = section(elf, ".dynamic")
    assert [tag.soname for tag in dynamic.iter_tags("DT_SONAME")] == ["libcuda.so.1"]
    assert list(dynamic.iter_tags("DT_NEEDED")) == []
    empty, *symbols = section(elf, ".dynsym").iter_symbols()
    assert empty.name == ""
    assert [symbol.name for symbol in symbols] == sorted(NAMES)
    text = section(elf, ".text")
    assert {symbol["st_info"]["type"] for symbol in symbols} == {"STT_FUNC"}
    assert {symbol["st_value"] for symbol in symbols} == {text["sh_addr"]}
    assert elf.get_section(symbols[0]["st_shndx"]).name == ".text"
    assert text.data() == CODE[arch]


def test_what_the_loader_reads(arch: Arch) -> None:
    elf = ELFFile(io.BytesIO(stub(arch, "libcuda.so.1", NAMES, 34)))
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    assert [segment["p_flags"] for segment in loads] == [4, 5, 6]
    assert {segment["p_vaddr"] % 0x10000 for segment in loads} == {0}
    dynamic: Any
    (dynamic,) = (one for one in elf.iter_segments() if one["p_type"] == "PT_DYNAMIC")
    # Found through the dynamic section alone, as the loader does, and by hash.
    assert dynamic.num_symbols() == len(NAMES) + 1
    table = section(elf, ".hash")
    for name in NAMES:
        assert table.get_symbol(name).name == name
    assert table.get_symbol("cuOther") is None


def test_a_stub_is_loaded_and_called(tmp_path: Path) -> None:
    path = tmp_path / "libx.so"
    path.write_bytes(stub(Arch(platform.machine()), "libx.so.1", NAMES, 12))
    library = ctypes.CDLL(str(path))
    assert {getattr(library, name)() for name in NAMES} == {12}


def test_the_same_bytes_whatever_the_order() -> None:
    made = {stub(Arch.X86_64, "a.so", names, 1) for names in (NAMES, NAMES[::-1], NAMES * 2)}
    assert len(made) == 1
    assert stub(Arch.X86_64, "b.so", NAMES, 1) not in made


CUDA_H = """\
#define __CUDA_API_PTDS(api) api ## _ptds
#define cuDeviceTotalMem                    cuDeviceTotalMem_v2
#define cuMemcpyHtoD                        __CUDA_API_PTDS(cuMemcpyHtoD_v2)
    #define cuMemcpyAsync                       __CUDA_API_PTSZ(cuMemcpyAsync)
CUresult CUDAAPI cuInit(unsigned int Flags);
__CUDA_DEPRECATED CUresult CUDAAPI cuCtxDetach(CUcontext ctx);
typedef CUresult (CUDAAPI *PFN_cuOther)(int);
static inline CUresult cuGetProcAddress_v2_ptsz(const char *symbol);
"""
NVML_H = """\
    #define nvmlInit                                    nvmlInit_v2
#define nvmlClocksThrottleReasonGpuIdle             nvmlClocksEventReasonGpuIdle
nvmlReturn_t DECLDIR nvmlShutdown(void);
"""


@pytest.mark.parametrize(
    ("library", "header", "names"),
    [
        (
            "libcuda.so", CUDA_H,
            {"cuInit", "cuCtxDetach", "cuDeviceTotalMem_v2", "cuMemcpyHtoD_v2",
             "cuMemcpyHtoD_v2_ptds", "cuMemcpyAsync", "cuMemcpyAsync_ptsz"},
        ),
        ("libnvidia-ml.so", NVML_H, {"nvmlInit_v2", "nvmlShutdown"}),
    ],
)  # fmt: skip
def test_what_a_header_exports(library: str, header: str, names: set[str]) -> None:
    (wanted,) = (one for one in load_roots().toolkits.stub if one.library == library)
    assert exported(header, wanted.declared, wanted.renamed) == names
