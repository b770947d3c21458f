"""The graph of libraries over a set: pure values in, findings out, by the packaged tables."""

import pytest

from kvpack.audit.model import ElfFile, ElfKind
from kvpack.resolve.families import load_families
from kvpack.resolve.graph import judge_libraries
from kvpack.resolve.libraries import load_libraries, plain
from kvpack.resolve.majors import World, asked
from kvpack.resolve.model import SetFinding, SetMember, SetTarget
from kvpack.resolve.torch import minors

LIBRARIES, FAMILIES = load_libraries(), load_families()
POLICY = ("libc.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2")


def elf(path: str, *needed: str, **more: object) -> ElfFile:
    return ElfFile.model_validate(
        {"path": path, "arch": "x86_64", "kind": ElfKind.SHARED, "needed": needed, "floor": "2.28"}
        | more
    )


def member(name: str, *files: ElfFile, **more: object) -> SetMember:
    more.setdefault("paths", tuple(f"site-packages/{one.path}" for one in files))
    more.setdefault("brought_by", (f"set.txt, line 1: {name}==1.0",))
    return SetMember.model_validate({"distribution": name, "version": "1.0", "elf": files, **more})


def target(**more: object) -> SetTarget:
    base = {"glibc": "2.39", "arch": "x86_64", "allowed": POLICY}
    return SetTarget.model_validate(base | more)


def judged(*members: SetMember, **more: object) -> tuple[list[SetFinding], dict[str, str]]:
    findings, provided = judge_libraries(members, target(**more), LIBRARIES, FAMILIES)
    return list(findings), provided


def rows(*members: SetMember, **more: object) -> list[tuple[str, str, str]]:
    findings, _ = judged(*members, **more)
    return [(one.severity.value, one.check, one.distribution) for one in findings]


def one(*members: SetMember, **more: object) -> SetFinding:
    (finding,) = judged(*members, **more)[0]
    return finding


CU12 = elf("nixl_cu12/a.so", "libcudart.so.12", "libc.so.6")
CU13 = elf("nixl_cu13/a.so", "libcudart.so.13", "libc.so.6")
ENVIRONMENT: dict[str, object] = {"torch": "2.11.0", "base": ("torch",)}


# -- one major ----------------------------------------------------------------------------------


def test_a_set_of_one_major() -> None:
    runtime = member("nvidia-cuda-runtime", paths=("site-packages/nvidia/lib/libcudart.so.13",))
    findings, provided = judged(member("nixl-cu13", CU13), runtime, accelerator="cuda13")
    assert findings == []
    assert provided == {
        "libc.so.6": "policy manylinux_2_39_x86_64",
        "libcudart.so.13": "nvidia-cuda-runtime 1.0",
    }


def test_the_major_that_was_asked_for() -> None:
    finding = one(member("mooncake-transfer-engine", CU12), accelerator="cuda13")
    assert (finding.check, finding.severity) == ("accelerator-major", "error")
    assert finding.path == "nixl_cu12/a.so"
    assert (
        finding.message
        == "links CUDA 12: libcudart.so.12 in nixl_cu12/a.so; the set is for CUDA 13"
    )
    assert (
        finding.advice
        == "take mooncake-transfer-engine-cuda13 in place of mooncake-transfer-engine"
    )
    assert finding.brought_by == ("set.txt, line 1: mooncake-transfer-engine==1.0",)


def test_two_majors_in_a_set_that_nobody_spoke_for() -> None:
    """The smaller side is told."""
    findings, _ = judged(member("a", CU13), member("b", CU12), member("c", CU13), base=("torch",))
    assert [(one.distribution, one.check) for one in findings] == [("b", "accelerator-major")]
    assert findings[0].message.endswith("; a, c link CUDA 13")
    assert findings[0].advice == "take a build of b for CUDA 13, or leave it out of the set"


@pytest.mark.parametrize(
    ("soname", "cuda12", "cuda13"),
    [
        ("libcufft.so.11", True, False),
        ("libcufft.so.12", False, True),
        ("libcusolver.so.11", True, False),
        ("libcusparse.so.12", True, True),
        ("libcudnn.so.9", True, True),
        ("libcurand.so.10", True, True),
        ("libnvJitLink.so.12", True, False),
        ("libcublasLt.so.13", False, True),
        ("libcublas.so.11", False, False),
        ("libcudart-1b2c3d4e.so.12.8.90", True, False),
        ("libcuda.so.1", True, True),
    ],
)
def test_sonames_tell_majors(soname: str, *, cuda12: bool, cuda13: bool) -> None:
    files = member("x", elf("x.so", soname), elf("x.libs/own", soname=soname))
    for accelerator, fits in (("cuda12", cuda12), ("cuda13", cuda13)):
        found = rows(files, accelerator=accelerator, **ENVIRONMENT)
        assert found == ([] if fits else [("error", "accelerator-major", "x")])


def test_a_name_tells_a_major() -> None:
    finding = one(member("nvidia-nccl-cu12"), accelerator="cuda13")
    assert finding.message == "its name says CUDA 12; the set is for CUDA 13"
    assert rows(member("nvidia-nccl-cu12"), member("nvidia-nccl-cu13")) == [
        ("error", "accelerator-major", "nvidia-nccl-cu12")
    ]


def test_wheels_that_are_known_by_their_file_names() -> None:
    blas = member("nvidia-cublas", paths=("site-packages/nvidia/cu13/lib/libcublas.so.13",))
    assert rows(blas, accelerator="cuda12") == [("error", "accelerator-major", "nvidia-cublas")]
    assert rows(blas, accelerator="cuda13") == []


def test_a_release_that_was_built_for_another_major() -> None:
    finding = one(member("lmcache", CU13), accelerator="cuda12")
    assert finding.advice == "take lmcache<=0.4.4, which is built for CUDA 12"


@pytest.mark.parametrize("accelerator", ["cpu", "rocm7"])
def test_cuda_where_there_is_none(accelerator: str) -> None:
    assert rows(member("x", CU13), accelerator=accelerator) == [("error", "accelerator-major", "x")]


def test_rocm() -> None:
    hip = member("amd-mori", elf("mori.so", "libamdhip64.so.7", "libhsa-runtime64.so.1"))
    assert rows(hip, accelerator="rocm7", base=("torch",)) == []
    assert rows(hip, accelerator="cuda13") == [("error", "accelerator-major", "amd-mori")]


def test_a_wheel_that_chooses_when_it_is_imported() -> None:
    files = [
        elf(f"bnb/libbnb_cuda{number}.so", soname)
        for number, soname in (("129", "libcudart.so.12"), ("130", "libcudart.so.13"))
    ]
    assert rows(member("bnb", *files), accelerator="cuda13", **ENVIRONMENT) == [
        ("warning", "accelerator-major", "bnb")
    ]


def test_one_file_that_links_two_majors() -> None:
    torn = elf("x/cuda12.so", "libcudart.so.13", "libcublas.so.12")
    assert rows(member("x", torn), accelerator="cuda13", **ENVIRONMENT) == [
        ("error", "accelerator-major", "x")
    ]


@pytest.mark.parametrize(
    ("torch", "world"),
    [
        ("2.11.0+cu130", World("cuda", 13)),
        ("2.8.0+cu128", World("cuda", 12)),
        ("2.11.0+rocm7.0", World("rocm", 7)),
        ("2.11.0+cpu", None),
        ("2.11.0", None),
    ],
)
def test_torch_s_own_version_tells_its_major(torch: str, world: World | None) -> None:
    assert asked(target(torch=torch)) == world


# -- who provides what --------------------------------------------------------------------------


def test_libraries_of_the_same_wheel() -> None:
    """By SONAME, by file name, and whatever the search path is."""
    files = [
        elf("x/_x.so", "libown.so.2", "libother-1a2b3c.so.1", "libplain.so"),
        elf("x.libs/libown-ffff0000.so.2.1", soname="libown.so.2"),
        elf("x.libs/libother-1a2b3c.so.1"),
        elf("y/libplain.so"),
    ]
    assert judged(member("x", *files)) == ([], {})


def test_a_library_of_another_wheel() -> None:
    other = member("b", elf("b/lib/libb-1.0.so", soname="libb.so.1"), version="2.0")
    findings, provided = judged(member("a", elf("a.so", "libb.so.1")), other)
    assert (findings, provided) == ([], {"libb.so.1": "b 2.0"})


def test_nothing_provides_it() -> None:
    files = [elf("a.so", "libnowhere.so.3"), elf("b.so", "libnowhere.so.3")]
    finding = one(member("x", *files))
    assert (finding.severity, finding.check, finding.path) == ("error", "library", "a.so")
    assert finding.message.startswith("a.so and 1 more need libnowhere.so.3: nothing provides it")
    assert finding.advice


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        (".nixl_cu13.mesonpy.libs/plugins/libplugin_OBJ.so", "note"),
        ("nixl_cu13/_bindings.so", "error"),
    ],
)
def test_what_is_loaded_on_demand_may_lack_a_library(path: str, severity: str) -> None:
    finding = one(member("nixl-cu13", elf(path, "libcuobjclient.so.1")))
    assert finding.severity == severity
    assert "nothing provides it" in finding.message


def test_a_library_that_the_core_needs_too_is_an_error() -> None:
    files = [elf(".nixl_cu13.mesonpy.libs/plugins/a.so", "libx.so.1"), elf("n/b.so", "libx.so.1")]
    assert one(member("nixl-cu13", *files)).severity == "error"


def test_the_environment_s_torch() -> None:
    extension = member("x", elf("x.so", "libtorch.so", "libc10_cuda.so", "libcudart.so.13"))
    findings, provided = judged(extension, accelerator="cuda13", **ENVIRONMENT)
    assert findings == []
    assert set(provided.values()) == {"torch (environment)"}


def test_torch_that_is_nowhere() -> None:
    extension = member("x", elf("x.so", "libtorch.so", "libc10.so", "libcudart.so.13"))
    assert rows(extension, accelerator="cuda13") == [
        ("warning", "base", "x"), ("warning", "toolkit", "x"),
    ]  # fmt: skip
    findings, _ = judged(extension)
    assert "libc10.so, libtorch.so" in findings[0].message
    assert "add nvidia-cuda-runtime to the set" in findings[1].advice


def test_torch_of_the_set_provides_its_own() -> None:
    torch = member("torch", paths=("site-packages/torch/lib/libtorch.so",), version="2.11.0")
    assert judged(member("x", elf("x.so", "libtorch.so")), torch)[1] == {
        "libtorch.so": "torch 2.11.0"
    }


def test_the_driver_and_the_host() -> None:
    files = elf("x.so", "libcuda.so.1", "libibverbs.so.1", "libmlx5.so.1", "libdoca_common.so.2")
    findings, provided = judged(member("x", files))
    assert [(one.severity, one.check) for one in findings] == [
        ("note", "host-library"), ("note", "host-library"), ("note", "optional-library"),
    ]  # fmt: skip
    assert provided["libcuda.so.1"] == "NVIDIA driver"
    assert provided["libmlx5.so.1"] == "host: ibverbs-providers"
    assert {one.advice for one in findings} == {
        "apt-get install libibverbs1",
        "apt-get install ibverbs-providers",
        "to use that: install NVIDIA DOCA",
    }


def test_a_wheel_comes_before_the_host() -> None:
    """libcufile is the host's, unless the set has nvidia-cufile."""
    plugin = member("nixl-cu13", elf("libplugin_GDS.so", "libcufile.so.0"))
    cufile = member("nvidia-cufile", paths=("site-packages/nvidia/cu13/lib/libcufile.so.0",))
    assert rows(plugin) == [("note", "optional-library", "nixl-cu13")]
    assert judged(plugin, cufile) == ([], {"libcufile.so.0": "nvidia-cufile 1.0"})


def test_device_code_needs_nothing() -> None:
    device = elf("x.cubin", "libnowhere.so", device=True, arch="cuda", floor=None)
    assert rows(member("x", device, elf("x.o", kind=ElfKind.RELOCATABLE, arch="riscv64"))) == []


# -- what the loader refuses ----------------------------------------------------------------------


def test_a_newer_glibc_than_the_environment_s() -> None:
    files = [
        elf("a.so"),
        elf("b.so", floor="2.34"),
        elf("c.so", floor="2.38"),
        elf("d", floor=None),
    ]
    finding = one(member("x", *files), glibc="2.28")
    assert (finding.severity, finding.check) == ("error", "floor")
    assert finding.message == (
        "c.so: needs glibc 2.38, the environment has 2.28 (and 1 more of its files)"
    )
    assert rows(member("x", *files), glibc="2.38") == []


def test_another_architecture() -> None:
    finding = one(member("x", elf("x.so", arch="aarch64", floor="2.39")), glibc="2.28")
    assert (finding.severity, finding.check) == ("error", "arch")
    assert finding.message == "x.so: for aarch64, the environment is x86_64"


# -- torch --------------------------------------------------------------------------------------


def nixl(*torches: str) -> SetMember:
    paths = [f"site-packages/nixl_ep_cu13/nixl_ep_cpp_torch{one}.cpython-312.so" for one in torches]
    return member("nixl-cu13", paths=tuple(paths))


def test_a_minor_of_torch_that_has_no_extension() -> None:
    finding = one(nixl("211", "212"), torch="2.13.1")
    assert (finding.severity, finding.check) == ("error", "torch-extension")
    assert finding.message == "it has no extension for torch 2.13, only for 2.11, 2.12"
    assert finding.advice.startswith("take torch 2.11 or 2.12, or a version of nixl-cu13")
    assert rows(nixl("211", "212"), torch="2.12.0+cu130") == []
    assert rows(nixl("211")) == []
    assert list(minors(nixl("29", "211").paths, FAMILIES)) == [(2, 9), (2, 11)]


@pytest.mark.parametrize(
    ("requires", "torch", "fits"),
    [
        ("torch<2.9,>=2.6", "2.8.0+cu128", True),
        ("torch<2.9,>=2.6", "2.11.0", False),
        ("Torch==2.8.0", "2.8.0+cu128", True),
        ("torch>=2.12", "2.12.0rc1", False),
        ("torch>=2.11", "2.12.0rc1", True),
        ("torchvision<0.1", "2.11.0", True),
        ("!", "2.11.0", True),
        ("torch<1", "nonsense", True),
    ],
)
def test_a_requirement_on_torch(requires: str, torch: str, *, fits: bool) -> None:
    found = rows(member("x", requires=("numpy", requires)), torch=torch)
    assert found == ([] if fits else [("error", "torch-requirement", "x")])


def test_torch_of_the_set_is_held_to_requirements_too() -> None:
    strict = member("x", requires=('torch==2.8.0; python_version > "3"',))
    finding = one(strict, member("torch", version="2.11.0"))
    assert finding.message == "it requires torch==2.8.0, the environment's torch is 2.11.0"
    assert rows(strict, member("torch", version="2.8.0")) == []


# -- the whole ----------------------------------------------------------------------------------


def test_errors_come_first_and_the_order_of_members_does_not_matter() -> None:
    members = [
        member("b", elf("b.so", "libnowhere.so.1", "libnuma.so.1")),
        member("a", elf("a.so", "libcudart.so.13", "libcurl.so.4")),
    ]
    first, second = judged(*members), judged(*reversed(members))
    assert first == second
    assert [one.severity for one in first[0]] == ["error", "warning", "note", "note"]


@pytest.mark.parametrize(
    ("soname", "bare"),
    [
        ("libcudart-1b2c3d4e.so.12.8", "libcudart.so.12.8"),
        ("libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.13.0"),
        ("libc10.so", "libc10.so"),
    ],
)
def test_names_without_what_a_graft_added(soname: str, bare: str) -> None:
    assert plain(soname) == bare


def test_every_soname_of_the_table_has_one_place() -> None:
    """No glob is hidden behind an earlier one."""
    entries = [*LIBRARIES.library, *LIBRARIES.driver, *LIBRARIES.base, *LIBRARIES.host]
    for entry in entries:
        for glob in entry.sonames:
            soname = glob.replace("*", "_")
            assert [one for one in entries if one.matches(soname)] == [entry], glob


def test_the_host_s_libraries_say_where_they_come_from() -> None:
    assert [one.sonames for one in LIBRARIES.host if not one.debian and not one.vendor] == []
