"""Small patients: a machine, an environment, and what is installed in it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kvpack.doctor.environment import Distribution, Environment, Library, Torch
from kvpack.doctor.machine import Gpu, MachineFacts, Nic
from kvpack.doctor.model import Finding
from kvpack.doctor.patient import Patient
from kvpack.doctor.rules import load_rules
from kvpack.names import Accelerator
from kvpack.resolve.families import load_families
from kvpack.resolve.model import Collision, Owner

PYTHON = "/venv/bin/python"
RULES, FAMILIES = load_rules(), load_families()
CU12 = Torch(version="2.13.0+cu128", cuda="12.8")
CU13 = Torch(version="2.13.0+cu130", cuda="13.0")
ROCM = Torch(version="2.12.0+rocm7.2", hip="7.2.53211")
CPU = Torch(version="2.13.0+cpu")
ENGINE = "site-packages/mooncake/engine.so"
HOST = {
    name: (f"/lib/x86_64-linux-gnu/{name}",)
    for name in ("libibverbs.so.1", "libmlx5.so.1", "libcuda.so.1", "libcudart.so.13")
}


def dist(pin: str, /, **more: Any) -> Distribution:  # noqa: ANN401  # fields of the value
    """A distribution by ``name==version``."""
    name, _, version = pin.partition("==")
    return Distribution.model_validate(
        {"name": name, "version": version or "1.0", "spec": pin, **more}
    )


def lib(distribution: str, *needs: str, path: str = ENGINE, **more: Any) -> Library:  # noqa: ANN401
    return Library.model_validate(
        {"distribution": distribution, "path": path, "needs": needs, **more}
    )


def shared(path: str, *owners: str, kind: str = "different-bytes") -> Collision:
    """A path with several owners."""
    sides = tuple(
        Owner(distribution=name, version="1.0", sha256=None, path=path) for name in owners
    )
    return Collision.model_validate({"path": path, "kind": kind, "owners": sides})


def environment(*installed: str | Distribution, **more: Any) -> Environment:  # noqa: ANN401
    """An environment with these distributions."""
    found = [dist(one) if isinstance(one, str) else one for one in installed]
    return Environment.model_validate(
        {"python": PYTHON, "version": "3.12", "glibc": "2.39", "distributions": found, **more}
    )


def h200(**more: Any) -> MachineFacts:  # noqa: ANN401
    """A sound NVIDIA machine with two RDMA devices."""
    return MachineFacts.model_validate(
        {
            "arch": "x86_64", "kernel": "6.12.94",
            "gpus": [Gpu(vendor="nvidia", name="NVIDIA H200")] * 2,
            "nics": [Nic(name=f"mlx5_{i}", driver="mlx5", abi=1) for i in range(2)],
            "iommu": True, "modules": ("mlx5_ib", "nvidia", "nvidia_peermem"), "open_driver": True,
            "libraries": HOST, "packages": {}, "verbs_providers": ("mlx5.driver",), **more,
        }
    )  # fmt: skip


def mi300(**more: Any) -> MachineFacts:  # noqa: ANN401
    """A sound AMD machine with AINIC."""
    return MachineFacts.model_validate(
        {
            "arch": "x86_64", "kernel": "6.8.0-60-generic", "codename": "noble",
            "gpus": [Gpu(vendor="amd", name="gfx942")] * 2,
            "nics": [Nic(name=f"ionic_{i}", driver="ionic", abi=1) for i in range(2)],
            "modules": ("ionic", "ionic_rdma"), "ionic_module": "26.03.3.001", "rocm": "7.2.4",
            "libraries": {**HOST, "libionic.so.1": ("/lib/x86_64-linux-gnu/libionic.so.1",)},
            "packages": {"libionic1": "54.0-187-1"}, "verbs_providers": ("ionic.driver",), **more,
        }
    )  # fmt: skip


def plain(**more: Any) -> MachineFacts:  # noqa: ANN401
    """A container without GPU or RDMA device."""
    return MachineFacts.model_validate(
        {"arch": "x86_64", "kernel": "6.12.94", "libraries": {}, "packages": {}, **more}
    )


def patient(
    found: Environment, machine: MachineFacts | None = None, told: Accelerator | None = None
) -> Patient:
    return Patient(found, machine or plain(), FAMILIES, RULES, told)


def commands(finding: Finding, tool: str) -> list[str]:
    return [one.command for one in finding.mend if one.tool == tool]


def ids(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.severity) for one in findings]


def only(check: Callable[[Patient], Iterator[Finding]], judged: Patient) -> Finding:
    """The one finding of a check."""
    (found,) = check(judged)
    return found
