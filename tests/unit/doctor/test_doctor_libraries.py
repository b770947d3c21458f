import pytest

from kvpack.doctor.environment import Torch
from kvpack.doctor.libraries import (
    copies,
    cuda_major,
    torch_minor,
    two_runtimes,
    unversioned_cudart,
)
from tests.unit.doctor.patients import (
    CPU,
    CU12,
    CU13,
    HOST,
    PYTHON,
    ROCM,
    commands,
    dist,
    environment,
    h200,
    ids,
    lib,
    only,
    patient,
    plain,
)

FLASH = "site-packages/flash/ops.so"

# -- CUDA majors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("torch", "soname", "wrong"),
    [
        (CU13, "libcudart.so.12", True),
        (CU13, "libcublas.so.12", True),
        (CU13, "libcudart.so.13", False),
        (CU12, "libcudart.so.12", False),
        (ROCM, "libcudart.so.12", True),
        (CPU, "libcudart.so.12", False),
        (CU13, "libcufft.so.12", False),
    ],
)
def test_an_extension_of_another_major(torch: Torch, soname: str, wrong: bool) -> None:
    found = environment("flash==2.8", torch=torch, libraries=[lib("flash", soname, path=FLASH)])
    findings = list(cuda_major(patient(found)))
    assert ids(findings) == ([("cuda-major", "error")] if wrong else [])
    if wrong:
        assert findings[0].place == FLASH
        assert "flash 2.8 needs CUDA 12, and torch" in findings[0].message


def test_wrong_bytes_under_the_right_name_are_installed_again() -> None:
    """nixl 1.2.0: the file of the other member is still there after that was uninstalled."""
    wrong = lib("nixl-cu13", "libcudart.so.12", path="site-packages/nixl_ep/x.so")
    found = environment("nixl==1.2.0", "nixl-cu13==1.2.0", torch=CU13, libraries=[wrong])
    finding = only(cuda_major, patient(found))
    assert commands(finding, "pip") == [
        f"{PYTHON} -m pip install --no-deps --force-reinstall nixl-cu13==1.2.0"
    ]


def test_what_other_findings_tell_is_not_told_again() -> None:
    wrong = lib("mooncake-transfer-engine", "libcudart.so.12")
    found = environment("mooncake-transfer-engine==0.3.14", torch=CU13, libraries=[wrong])
    assert list(cuda_major(patient(found))) == []
    wrong = lib("nixl-cu12", "libcudart.so.12", path=FLASH)
    both = environment("nixl-cu12==1.2.0", "nixl-cu13==1.2.0", torch=CU13, libraries=[wrong])
    assert list(cuda_major(patient(both))) == []


def test_what_is_loaded_on_demand_does_not_count() -> None:
    plugin = "site-packages/nixl_cu13.libs/nixl/libplugin_GDS.so"
    found = environment("x", torch=CU13, libraries=[lib("x", "libcudart.so.12", path=plugin)])
    assert list(cuda_major(patient(found))) == []


def test_two_majors_without_a_witness() -> None:
    libraries = [lib("a", "libcudart.so.12"), lib("b", "libcudart.so.13", path=FLASH)]
    finding = only(cuda_major, patient(environment("a", "b", libraries=libraries)))
    assert finding.message == "two CUDA majors are linked: a needs 12; b needs 13"
    assert list(cuda_major(patient(environment("a", libraries=libraries[:1])))) == []


def test_two_runtimes_from_nvidia() -> None:
    names = ("nvidia-cuda-runtime==13.0.48", "nvidia-cublas-cu12==12.8.4", "nvidia-cuda-nvrtc-cu12")
    asks = dist("flash==2", requires=("nvidia-cublas-cu12",))
    finding = only(two_runtimes, patient(environment(*names, asks, torch=CU13)))
    assert ids([finding]) == [("two-cuda-majors", "warning")]
    assert "nvidia-cublas-cu12 is required by flash" in finding.message
    assert commands(finding, "pip") == [f"{PYTHON} -m pip uninstall -y nvidia-cuda-nvrtc-cu12"]


def test_one_runtime_is_right() -> None:
    found = environment("nvidia-cuda-runtime==13.0.48", "nvidia-cublas==13.0.1", torch=CU13)
    assert list(two_runtimes(patient(found))) == []


# -- libcudart.so ----------------------------------------------------------------------------------

NEEDS = lib("mooncake-transfer-engine-cuda13", "libcudart.so")


def test_the_link_is_made_of_the_version_at_hand() -> None:
    cache = {"libcudart.so.13": ("/usr/local/cuda-13.0/lib64/libcudart.so.13",)}
    found = environment("mooncake-transfer-engine-cuda13==0.3.9", torch=CU13, libraries=[NEEDS])
    finding = only(unversioned_cudart, patient(found, h200(libraries=cache)))
    assert ids([finding]) == [("libcudart-unversioned", "error")]
    assert finding.mend[0].command == (
        "ln -s libcudart.so.13 /usr/local/cuda-13.0/lib64/libcudart.so && ldconfig"
    )


def test_the_link_is_made_in_the_folder_of_cuda() -> None:
    machine = plain(cuda_folder=("libcudart.so.12",))
    finding = only(unversioned_cudart, patient(environment("x", libraries=[NEEDS]), machine))
    assert finding.severity == "note"
    assert finding.mend[0].command == (
        "ln -s libcudart.so.12 /usr/local/cuda/lib64/libcudart.so && ldconfig"
    )


def test_the_link_is_made_beside_nvidias_wheel() -> None:
    own = lib("nvidia-cuda-runtime", path="site-packages/nvidia/cu13/lib/libcudart.so.13")
    found = environment("x", libraries=[NEEDS, own])
    finding = only(unversioned_cudart, patient(found))
    assert finding.mend[0].command == (
        "ln -s libcudart.so.13 $(/venv/bin/python -c 'import sysconfig; "
        'print(sysconfig.get_path("platlib"))\')/nvidia/cu13/lib/libcudart.so'
    )


@pytest.mark.parametrize("place", ["cache", "folder", "beside"])
def test_where_it_is_already(place: str) -> None:
    machine = h200(
        libraries={**HOST, "libcudart.so": ("/x",)} if place == "cache" else HOST,
        cuda_folder=("libcudart.so",) if place == "folder" else (),
    )
    beside = ("libcudart.so",) if place == "beside" else ()
    found = environment("x", libraries=[NEEDS], found_beside=beside)
    assert list(unversioned_cudart(patient(found, machine))) == []


def test_without_any_libcudart_there_is_nothing_to_link() -> None:
    finding = only(unversioned_cudart, patient(environment("x", libraries=[NEEDS])))
    assert (finding.mend, "no libcudart at all" in finding.message) == ((), True)


# -- torch's minor ---------------------------------------------------------------------------------


def test_an_extension_for_other_minors() -> None:
    found = environment(
        "nixl==1.5.1", "nixl-cu13==1.5.1", torch_files=("2.12", "2.13", "2.14"),
        torch=Torch(version="2.11.0+cu130", cuda="13.0"),
    )  # fmt: skip
    finding = only(torch_minor, patient(found))
    assert ids([finding]) == [("torch-minor", "warning")]
    assert commands(finding, "pip") == [
        f"{PYTHON} -m pip install --no-deps nixl==1.4.1 nixl-cu13==1.4.1"
    ]


def test_a_minor_that_no_version_is_built_for() -> None:
    torch = Torch(version="2.15.0+cu130", cuda="13.0")
    found = environment("nixl==1.5.1", "nixl-cu13==1.5.1", torch_files=("2.14",), torch=torch)
    finding = only(torch_minor, patient(found))
    assert finding.mend == ()
    assert "no known version" in finding.message


@pytest.mark.parametrize(("minor", "count"), [("2.11", 0), ("2.12", 1)])
def test_versions_whose_files_do_not_tell(minor: str, count: int) -> None:
    torch = Torch(version=f"{minor}.0+cu128", cuda="12.8")
    found = environment("nixl==1.3.0", "nixl-cu12==1.3.0", torch=torch)
    assert len(list(torch_minor(patient(found)))) == count


def test_the_right_minor_has_no_finding() -> None:
    found = environment("nixl==1.5.1", "nixl-cu13==1.5.1", torch=CU13, torch_files=("2.13",))
    assert list(torch_minor(patient(found))) == []


# -- copies ----------------------------------------------------------------------------------------

UCX = lib("nixl-cu13", path="site-packages/nixl_cu13.libs/libucp-b39b3ed9.so.0.0.0")
OTHER = lib("libucx-cu12", path="site-packages/libucx/lib/libucp.so.0")


def test_two_ucx_in_one_environment() -> None:
    finding = only(copies, patient(environment("nixl-cu13", "libucx-cu12", libraries=[UCX, OTHER])))
    assert (finding.place, finding.severity) == ("UCX", "warning")
    assert "nixl-cu13 (" in finding.message
    assert "libucx-cu12 (" in finding.message


@pytest.mark.parametrize(
    ("variables", "severity"),
    [({}, "note"), ({"LD_LIBRARY_PATH": "/opt/hpcx/ucx/lib:/x"}, "warning")],
)
def test_the_hosts_ucx_counts_where_it_is_loaded(variables: dict[str, str], severity: str) -> None:
    machine = h200(hpcx=True, variables=variables)
    finding = only(copies, patient(environment("nixl-cu13", libraries=[UCX]), machine))
    assert finding.severity == severity
    assert "/opt/hpcx/ucx/lib" in finding.message


def test_a_source_tree_of_nixl_beside_a_wheel() -> None:
    own = lib("nixl-cu13", path="site-packages/.nixl_cu13.mesonpy.libs/libnixl.so")
    finding = only(copies, patient(environment("nixl-cu13", libraries=[own]), h200(nixl_tree=True)))
    assert (finding.place, finding.severity) == ("libnixl", "note")


def test_one_copy_is_right() -> None:
    twice = lib("nixl-cu13", path="site-packages/elsewhere/libucp.so.0")
    for libraries in ([UCX], [UCX, twice]):
        assert list(copies(patient(environment("nixl-cu13", libraries=libraries), h200()))) == []


def test_copies_of_a_crowded_family_are_left_to_it() -> None:
    libraries = [
        lib(n, path=f"site-packages/{n}.libs/libucp.so") for n in ("nixl-cu12", "nixl-cu13")
    ]
    found = environment("nixl-cu12", "nixl-cu13", libraries=libraries)
    assert list(copies(patient(found, h200()))) == []
