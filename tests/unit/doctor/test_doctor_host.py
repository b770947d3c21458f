import pytest

from kvpack.doctor.host import host_libraries, verbs_providers
from tests.unit.doctor.patients import (
    ENGINE,
    HOST,
    commands,
    environment,
    h200,
    ids,
    lib,
    mi300,
    only,
    patient,
    plain,
)

MOONCAKE = "mooncake-transfer-engine-cuda13"
NEEDS = lib(MOONCAKE, "libibverbs.so.1", "libmlx5.so.1", "libcuda.so.1", "libcudart.so.13")
FOUND = environment(f"{MOONCAKE}==0.3.14", libraries=[NEEDS])


def without(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: paths for name, paths in HOST.items() if name not in names}


def test_a_library_that_the_host_lacks() -> None:
    machine = h200(libraries=without("libmlx5.so.1"))
    finding = only(host_libraries, patient(FOUND, machine))
    assert ids([finding]) == [("host-library", "error")]
    assert "libmlx5.so.1: not in the environment, not on the host" in finding.message
    assert "Mooncake #3121" in finding.why
    assert commands(finding, "system") == ["apt-get install -y ibverbs-providers"]


def test_nothing_is_serious_where_nothing_is_transferred() -> None:
    (finding,) = host_libraries(patient(FOUND, plain()))
    assert finding.severity == "note"
    assert "libcuda.so.1" not in finding.message
    assert commands(finding, "system") == ["apt-get install -y ibverbs-providers libibverbs1"]
    assert commands(finding, "uv")[0].endswith("--no-deps 'nvidia-cuda-runtime==13.*'")


def test_the_drivers_library_is_missed_where_its_gpu_is() -> None:
    machine = h200(libraries=without("libcuda.so.1"))
    finding = only(host_libraries, patient(FOUND, machine))
    assert "the nvidia driver brings its part" in finding.message
    assert finding.mend == ()


def test_a_host_that_has_all() -> None:
    assert list(host_libraries(patient(FOUND, h200()))) == []


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_what_the_environment_has(where: str) -> None:
    own = lib("nvidia-cuda-runtime", path="site-packages/nvidia/cu13/lib/libcudart.so.13")
    found = environment(
        f"{MOONCAKE}==0.3.14",
        libraries=[NEEDS, own] if where == "inside" else [NEEDS],
        found_beside=("libcudart.so.13",) if where == "beside" else (),
    )
    machine = h200(libraries=without("libcudart.so.13"))
    assert list(host_libraries(patient(found, machine))) == []


def test_plugins_are_told_in_one_note() -> None:
    paths = [f"site-packages/nixl_cu13.libs/nixl/libplugin_{n}.so" for n in ("GDS", "LIBFABRIC")]
    libraries = [
        lib("nixl-cu13", "libcufile.so.0", path=paths[0]),
        lib("nixl-cu13", "libfabric.so.1", path=paths[1]),
    ]
    found = environment("nixl==1.5.1", "nixl-cu13==1.5.1", libraries=libraries)
    finding = only(host_libraries, patient(found, h200()))
    assert ids([finding]) == [("plugin-library", "note")]
    assert "libcufile.so.0, libfabric.so.1 cannot load" in finding.message


def test_a_plugin_that_is_always_loaded_is_no_plugin() -> None:
    path = "site-packages/nixl_cu13.libs/nixl/libplugin_UCX.so"
    found = environment("nixl-cu13==1.5.1", libraries=[lib("nixl-cu13", "libssl.so.3", path=path)])
    finding = only(host_libraries, patient(found, h200()))
    assert ids([finding]) == [("host-library", "error")]


def test_others_are_not_looked_at() -> None:
    found = environment("pyside6", libraries=[lib("pyside6", "libGL.so.1")])
    assert list(host_libraries(patient(found, h200()))) == []


def test_torchs_own_libraries_are_torchs() -> None:
    found = environment("amd-mori", libraries=[lib("amd-mori", "libtorch.so", "libc10.so")])
    assert list(host_libraries(patient(found, h200()))) == []


@pytest.mark.parametrize(("codename", "count"), [("noble", 1), ("jammy", 0)])
def test_packages_of_one_release(codename: str, count: int) -> None:
    found = environment("amd-mori==1.2.4", libraries=[lib("amd-mori", "libprotobuf.so.32")])
    finding = only(host_libraries, patient(found, mi300(codename=codename)))
    assert len(commands(finding, "system")) == count
    assert ("it was built for noble" in finding.message) == (count == 0)


def test_a_host_whose_libraries_are_not_known() -> None:
    assert list(host_libraries(patient(FOUND, h200(libraries=None)))) == []


def test_devices_without_a_provider() -> None:
    finding = only(verbs_providers, patient(FOUND, h200(verbs_providers=())))
    assert ids([finding]) == [("verbs-providers", "error")]
    assert commands(finding, "system") == ["apt-get install -y ibverbs-providers"]


@pytest.mark.parametrize("machine", [h200(), plain(), h200(verbs_providers=(), libraries={})])
def test_providers_that_are_not_missed(machine: object) -> None:
    assert list(verbs_providers(patient(FOUND, machine))) == []  # type: ignore[arg-type]


def test_providers_without_anything_that_transfers() -> None:
    other = environment("numpy", libraries=[lib("numpy", path=ENGINE)])
    assert list(verbs_providers(patient(other, h200(verbs_providers=())))) == []
