import pytest

from kvpack.doctor.machine import Gpu, MachineFacts
from kvpack.doctor.memory import memlock
from kvpack.doctor.model import Finding
from kvpack.doctor.patient import Patient
from kvpack.doctor.rdma import (
    bugs,
    dma_buf,
    expandable,
    four_gib,
    kernel_key,
    peermem,
    registration,
)
from tests.unit.doctor.patients import (
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

CUDA13 = "mooncake-transfer-engine-cuda13"
OFF = {"WITH_NVIDIA_PEERMEM": "0"}
SEGMENTS = {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64,expandable_segments:True"}
LOADED = ("mlx5_ib", "nvidia")


def with_mooncake(
    version: str, machine: MachineFacts, *, verbs: str = "1.12", name: str = CUDA13
) -> Patient:
    return patient(environment(f"{name}=={version}", libraries=[lib(name, verbs=verbs)]), machine)


# -- which way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "verbs", "variables", "asks"),
    [
        ("0.3.10.post2", "1.11", {}, True),
        ("0.3.10.post2", "1.11", OFF, True),  # the variable is not read
        ("0.3.10.post2", "1.12", {}, False),  # built with WITH_NVIDIA_PEERMEM=OFF
        ("0.3.11", "1.12", {}, False),
        ("0.3.11", "1.12", {"WITH_NVIDIA_PEERMEM": "1"}, True),
        ("0.3.11.post1", "1.12", {}, True),
        ("0.3.13.post1", "1.12", OFF, False),
        ("0.3.14", "1.12", {}, True),
        ("0.3.14+kvp.12345678", "1.12", {}, True),
        ("0.3.14", "1.12", {"WITH_NVIDIA_PEERMEM": "false"}, False),
        ("0.3.14", "1.12", {"WITH_NVIDIA_PEERMEM": ""}, True),
    ],
)
def test_which_way_a_version_takes(
    version: str, verbs: str, variables: dict[str, str], asks: bool
) -> None:
    way = registration(with_mooncake(version, h200(variables=variables), verbs=verbs))
    assert way is not None
    assert way.peermem is asks


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        (CUDA13, plain()),
        (CUDA13, mi300()),
        (CUDA13, h200(nics=[])),
        ("mooncake-transfer-engine-non-cuda", h200()),
        ("mooncake-transfer-engine-efa-cuda13", h200()),
        ("mooncake-transfer-engine-rocm", h200()),
    ],
)
def test_where_there_is_no_way(name: str, machine: MachineFacts) -> None:
    judged = with_mooncake("0.3.14", machine, name=name)
    assert registration(judged) is None
    assert [*peermem(judged), *dma_buf(judged), *four_gib(judged)] == []


@pytest.mark.parametrize(
    ("modules", "variables", "own", "asks"),
    [
        (LOADED, {}, None, False),
        ((*LOADED, "nv_peer_mem"), {}, None, True),
        (("nvidia_peermem",), {}, None, True),
        (("nvidia_peermem",), {}, "0", False),
        (("nvidia_peermem",), {"WITH_NVIDIA_PEERMEM": "1"}, "0", True),
        (("nvidia_peermem",), {"WITH_NVIDIA_PEERMEM": ""}, "0", True),
        (LOADED, {"WITH_NVIDIA_PEERMEM": ""}, "0", False),
        (None, {}, None, True),
        (None, {}, "0", False),
    ],
)
def test_which_way_the_newest_takes(
    modules: tuple[str, ...] | None, variables: dict[str, str], own: str | None, asks: bool
) -> None:
    """Measured on 0.3.14: what kvpack's package sets, else what the kernel has, else dma-buf."""
    found = environment(
        f"{CUDA13}==0.3.14", libraries=[lib(CUDA13, verbs="1.12")], mooncake_peermem=own
    )
    way = registration(patient(found, h200(modules=modules, variables=variables)))
    assert way is not None
    assert way.peermem is asks


# -- peermem ---------------------------------------------------------------------------------------


def test_peermem_that_is_not_loaded() -> None:
    finding = only(peermem, with_mooncake("0.3.13.post1", h200(modules=LOADED)))
    assert ids([finding]) == [("peermem", "error")]
    assert "nvidia_peermem is not loaded" in finding.message
    assert commands(finding, "environment") == ["WITH_NVIDIA_PEERMEM=0"]
    assert commands(finding, "kernel") == ["modprobe nvidia-peermem"]


def test_grace_has_no_peermem() -> None:
    gpus = [Gpu(vendor="nvidia", name="NVIDIA GB200")]
    finding = only(peermem, with_mooncake("0.3.13.post1", h200(modules=LOADED, gpus=gpus)))
    assert "GB200 has no nvidia-peermem" in finding.message
    assert [one.command for one in finding.mend] == ["WITH_NVIDIA_PEERMEM=0"]


def test_a_build_without_the_other_way() -> None:
    judged = with_mooncake("0.3.10.post2", h200(modules=LOADED), verbs="1.11")
    finding = only(peermem, judged)
    assert "was built for nvidia-peermem alone" in finding.message
    assert commands(finding, "pip")[0].endswith(f"--no-deps {CUDA13}==0.3.14")
    assert commands(finding, "environment") == []


@pytest.mark.parametrize("more", [{"open_driver": False}, {"kernel": "5.4.0-200-generic"}])
def test_no_way_out_through_dma_buf(more: dict[str, object]) -> None:
    finding = only(peermem, with_mooncake("0.3.13.post1", h200(modules=LOADED, **more)))
    assert [one.command for one in finding.mend] == ["modprobe nvidia-peermem"]
    assert "dma-buf is no way out" in finding.why
    # From 0.3.14 on it takes dma-buf there by itself.
    judged = with_mooncake("0.3.14", h200(modules=LOADED, **more))
    assert list(peermem(judged)) == []
    assert commands(only(dma_buf, judged), "kernel") == ["modprobe nvidia-peermem"]


def test_peermem_that_was_asked_for_and_is_not_loaded() -> None:
    machine = h200(modules=LOADED, variables={"WITH_NVIDIA_PEERMEM": "1"})
    finding = only(peermem, with_mooncake("0.3.14", machine))
    assert ids([finding]) == [("peermem", "error")]
    assert commands(finding, "environment") == ["WITH_NVIDIA_PEERMEM=0"]


@pytest.mark.parametrize(
    "machine", [h200(), h200(modules=LOADED, variables=OFF), h200(modules=None)]
)
@pytest.mark.parametrize("version", ["0.3.13.post1", "0.3.14"])
def test_peermem_that_is_not_missed(machine: MachineFacts, version: str) -> None:
    assert list(peermem(with_mooncake(version, machine))) == []


# -- dma-buf ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"open_driver": False}, "proprietary"),
        ({"kernel": "5.10.0-30-amd64"}, "kernel 5.10.0-30-amd64 is older than 5.12"),
    ],
)
def test_dma_buf_that_cannot_work(more: dict[str, object], said: str) -> None:
    finding = only(dma_buf, with_mooncake("0.3.14", h200(variables=OFF, **more)))
    assert ids([finding]) == [("dma-buf", "error")]
    assert said in finding.message
    assert commands(finding, "environment") == ["WITH_NVIDIA_PEERMEM=1"]


@pytest.mark.parametrize(
    "machine",
    [h200(variables=OFF), h200(open_driver=False), h200(variables=OFF, open_driver=None)],
)
def test_dma_buf_that_can(machine: MachineFacts) -> None:
    assert list(dma_buf(with_mooncake("0.3.14", machine))) == []


# -- the kernel's fault ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "wraps"),
    [
        ("5.1.21", False),
        ("5.15.0-120-generic", True),
        ("5.15.210", False),
        ("6.8.0-60-generic", True),
        ("6.12.93", True),
        ("6.12.94", False),
        ("6.18.44-fc-v657", False),
        ("6.19.2", True),
        ("7.0.12", True),
        ("7.0.13", False),
        ("7.1.0", False),
        ("7.2.5", False),
        ("", False),
    ],
)
def test_kernels_that_wrap_at_four_gib(kernel: str, wraps: bool) -> None:
    judged = with_mooncake("0.3.14", h200(kernel=kernel, variables=OFF))
    assert ids(list(four_gib(judged))) == ([("dma-buf-4gib", "warning")] if wraps else [])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, 1),
        ({"variables": {**OFF, "MC_MAX_MR_SIZE": "4294967296"}}, 0),
        ({"variables": {**OFF, "MC_MAX_MR_SIZE": "8589934592"}}, 1),
        ({"variables": {**OFF, "MC_MAX_MR_SIZE": "0"}}, 1),
        ({"variables": {}}, 0),
        ({"iommu": False}, 0),
        ({"iommu": None}, 1),
    ],
)
def test_when_the_fault_matters(more: dict[str, object], told: int) -> None:
    machine = h200(**{"kernel": "6.8.0", "variables": OFF, **more})
    findings = list(four_gib(with_mooncake("0.3.14", machine)))
    assert len(findings) == told
    if told:
        assert commands(findings[0], "environment") == ["MC_MAX_MR_SIZE=4294967296"]


def test_kernel_key() -> None:
    assert kernel_key("6.8.0-60-generic") == (6, 8, 0)
    assert kernel_key("") == ()


# -- faults of versions ----------------------------------------------------------------------------


def found(version: str, machine: MachineFacts, **more: str) -> list[Finding]:
    return list(bugs(with_mooncake(version, machine, **more)))


@pytest.mark.parametrize(
    ("version", "variables", "told"),
    [
        ("0.3.11", SEGMENTS, True),
        ("0.3.13.post1", {**OFF, **SEGMENTS}, True),
        ("0.3.13.post1", SEGMENTS, False),
        ("0.3.13.post1", OFF, False),
        ("0.3.14", {**OFF, **SEGMENTS}, False),
    ],
)
def test_expandable_segments(version: str, variables: dict[str, str], told: bool) -> None:
    findings = [f for f in found(version, h200(variables=variables))
                if f.check == "expandable-segments"]  # fmt: skip
    assert len(findings) == told
    if told:
        assert commands(findings[0], "pip")[0].endswith(f"{CUDA13}==0.3.14")
        assert commands(findings[0], "environment") == [
            "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:64"
        ]


@pytest.mark.parametrize(
    ("version", "checks"),
    [
        ("0.3.11", ["dma-buf-locked-memory"]),
        ("0.3.12.post1", ["dma-buf-chunks"]),
        ("0.3.12", ["dma-buf-chunks", "master-crash"]),
        ("0.3.13.post1", []),
        ("0.3.14", []),
        ("0.3.10.post2", ["dma-buf-sub-allocation"]),
    ],
)
def test_what_else_versions_have(version: str, checks: list[str]) -> None:
    assert [one.check for one in found(version, h200(variables=OFF))] == checks


def test_one_nic_needs_little_locked_memory() -> None:
    assert found("0.3.11", h200(nics=h200().nics[:1])) == []


def test_faults_that_need_no_hardware() -> None:
    assert [one.check for one in found("0.3.12", plain())] == ["master-crash"]
    assert found("0.3.12", plain(), name="mooncake-transfer-engine") == []


@pytest.mark.parametrize(("glibc", "count"), [("2.36", 0), ("2.39", 1)])
def test_the_version_that_installers_fall_back_to(glibc: str, count: int) -> None:
    judged = patient(environment("amd-mori==1.0.0", glibc=glibc), mi300())
    finding = only(bugs, judged)
    assert ids([finding]) == [("mori-fallback", "error")]
    assert len(commands(finding, "uv")) == count
    assert ("no wheel of 1.2.4 fits Python 3.12" in finding.message) == (count == 0)


@pytest.mark.parametrize(
    ("value", "rest"),
    [
        ("expandable_segments:True", {"PYTORCH_ALLOC_CONF": None}),
        ("expandable_segments : true, a:1", {"PYTORCH_ALLOC_CONF": "a:1"}),
        ("expandable_segments:False", {}),
        ("", {}),
    ],
)
def test_the_value_without_expandable_segments(value: str, rest: dict[str, str | None]) -> None:
    judged = patient(environment(), h200(variables={"PYTORCH_ALLOC_CONF": value}))
    assert expandable(judged) == rest


# -- locked memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "severity"),
    [(65536, "error"), (8 << 20, "error"), (1 << 30, "warning"), (1 << 36, None), (None, None)],
)
def test_memlock(limit: int | None, severity: str | None) -> None:
    findings = list(memlock(with_mooncake("0.3.14", h200(memlock=limit))))
    assert [one.severity for one in findings] == ([severity] if severity else [])


def test_memlock_is_told_in_words() -> None:
    finding = only(memlock, with_mooncake("0.3.14", h200(memlock=8 << 20)))
    assert "at most 8 MiB may be locked, and there are 2 RDMA devices" in finding.message
    assert "--ulimit memlock=-1" in commands(finding, "system")[0]


def test_memlock_matters_where_memory_is_registered() -> None:
    assert list(memlock(with_mooncake("0.3.14", plain(memlock=65536)))) == []
    assert list(memlock(patient(environment("numpy"), h200(memlock=65536)))) == []
