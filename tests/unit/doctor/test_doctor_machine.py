"""Readings of machines, as text, become facts."""

from typing import Any

import pytest

from kvpack.doctor.machine import Gpu, Refusal, facts_of
from kvpack.doctor.recorded import Recorded, Tape

VERBS = "/sys/class/infiniband_verbs"
IB = "/sys/class/infiniband"


def facts(**tape: Any) -> Any:  # noqa: ANN401  # MachineFacts, compared field by field
    return facts_of(Recorded(Tape.model_validate(tape)))


def test_a_machine_that_answers_nothing() -> None:
    found = facts()
    assert (found.kernel, found.gpus, found.nics) == ("", (), ())
    assert (found.modules, found.open_driver, found.libraries, found.packages) == (None,) * 4
    assert (found.memlock, found.iommu, found.serious) == (None, None, False)


def test_kernel_and_userland() -> None:
    found = facts(
        programs={"uname": "6.8.0-60-generic x86_64\n"},
        files={"/etc/os-release": "ID=ubuntu\nVERSION_CODENAME=noble"},
        folders={"/sys/class/iommu": [], "/opt/hpcx/ucx/lib": ["libucp.so.0"]},
    )
    assert (found.kernel, found.arch, found.codename) == ("6.8.0-60-generic", "x86_64", "noble")
    assert (found.iommu, found.hpcx, found.nixl_tree) == (False, True, False)


def test_nvidia_gpus_by_their_program() -> None:
    found = facts(programs={"nvidia-smi": "NVIDIA H200, 580.82.07\nNVIDIA H200, 580.82.07\n"})
    assert found.gpus == (Gpu(vendor="nvidia", name="NVIDIA H200"),) * 2
    assert found.has_gpu("nvidia")
    assert not found.has_gpu("amd")


def test_nvidia_gpus_without_their_program() -> None:
    base = "/proc/driver/nvidia/gpus"
    found = facts(
        programs={"nvidia-smi": "Failed to initialize NVML: Driver/library version mismatch"},
        folders={base: ["0000:01:00.0", "0000:02:00.0"]},
        files={f"{base}/0000:01:00.0/information": "Model: \t\t NVIDIA GB200"},
    )
    assert [gpu.name for gpu in found.gpus] == ["NVIDIA GB200", "NVIDIA GPU"]


@pytest.mark.parametrize(
    ("number", "name"),
    [("90402", "gfx942"), ("90500", "gfx950"), ("120500", "gfx1250"), ("90010", "gfx90a")],
)
def test_amd_gpus_by_their_target(number: str, name: str) -> None:
    base = "/sys/class/kfd/kfd/topology/nodes"
    found = facts(
        folders={base: ["0", "1"]},
        files={
            f"{base}/0/properties": "gfx_target_version 0",
            f"{base}/1/properties": f"gfx_target_version {number}",
        },
    )
    assert [gpu.name for gpu in found.gpus] == [name]


def test_rdma_devices_with_the_kernels_abi() -> None:
    found = facts(
        folders={IB: ["ionic_0", "mlx5_0", "odd0"], VERBS: ["abi_version", "uverbs0", "uverbs1"]},
        files={
            f"{IB}/ionic_0/device/vendor": "0x1dd8",
            f"{IB}/mlx5_0/device/vendor": "0x15b3",
            f"{IB}/ionic_0/fw_ver": "1.117.5-a-77",
            f"{VERBS}/uverbs0/ibdev": "mlx5_0",
            f"{VERBS}/uverbs0/abi_version": "1",
            f"{VERBS}/uverbs1/ibdev": "ionic_0",
            f"{VERBS}/uverbs1/abi_version": "4",
        },
    )
    told = [(nic.name, nic.driver, nic.abi, nic.firmware) for nic in found.nics]
    assert told == [
        ("ionic_0", "ionic", 4, "1.117.5-a-77"),
        ("mlx5_0", "mlx5", 1, None),
        ("odd0", "other", None, None),
    ]
    assert found.has_nic("ionic")
    assert found.serious


@pytest.mark.parametrize(
    ("version", "licence", "is_open"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07", None, True),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01", "Dual MIT/GPL", False),
        (None, "Dual MIT/GPL", True),
        (None, "NVIDIA", False),
        (None, "modinfo: ERROR: Module nvidia not found.", None),
    ],
)
def test_whether_the_driver_is_the_open_one(
    version: str | None, licence: str | None, is_open: bool | None
) -> None:
    files = {"/proc/driver/nvidia/version": version} if version else {}
    programs = {"modinfo": licence} if licence else {}
    assert facts(files=files, programs=programs).open_driver is is_open


def test_what_libibverbs_refuses() -> None:
    line = (
        "libibverbs: Warning: Driver ionic does not support the kernel ABI of 4 "
        "(supports 1 to 1) for device /sys/class/infiniband/ionic_{}"
    )
    said = "\n".join([line.format(0), line.format(1), "No IB devices found"])
    assert facts(programs={"ibv_devinfo": said}).refusals == (
        Refusal(driver="ionic", abi=4, least=1, most=1),
    )


def test_the_loaders_cache() -> None:
    said = (
        "2 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1\n"
        "\tlibc.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/libc.so.6\n"
        "\tlibz.so.1 (libc6) => /lib32/libz.so.1\n"
    )
    assert facts(programs={"ldconfig": said}).libraries == {
        "libz.so.1": ("/lib/x86_64-linux-gnu/libz.so.1", "/lib32/libz.so.1"),
        "libc.so.6": ("/lib/libc.so.6",),
    }
    assert facts(programs={"ldconfig": "ldconfig: unrecognized option: p"}).libraries is None


def test_packages() -> None:
    said = "libionic1 54.0-187-1\nrdma-core \ndpkg-query: no packages found matching x\n"
    assert facts(programs={"dpkg-query": said}).packages == {"libionic1": "54.0-187-1"}


@pytest.mark.parametrize(
    ("soft", "capabilities", "limit"),
    [
        ("8388608", "00000000a80425fb", 8388608),
        ("8388608", "000001ffffffffff", None),  # CAP_IPC_LOCK
        ("8388608", "", 8388608),
        ("unlimited", "0000000000000000", None),
    ],
)
def test_how_much_may_be_locked(soft: str, capabilities: str, limit: int | None) -> None:
    files = {
        "/proc/self/limits": f"Max locked memory         {soft}              {soft}    bytes",
        "/proc/self/status": f"CapEff:\t{capabilities}",
    }
    assert facts(files=files).memlock == limit


def test_modules_and_versions() -> None:
    found = facts(
        files={
            "/proc/modules": "nvidia_peermem 16384 0 - Live 0x0\nnvidia 1 1 nvidia_peermem, Live",
            "/sys/module/ionic/version": "25.08.4.004\n",
            "/opt/rocm/.info/version": "7.2.4-43\n",
        }
    )
    assert found.modules == ("nvidia", "nvidia_peermem")
    assert (found.ionic_module, found.rocm) == ("25.08.4.004", "7.2.4-43")
