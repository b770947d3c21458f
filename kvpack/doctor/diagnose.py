"""All checks, and what could not be checked. Pure: one value in, one value out."""

from collections.abc import Callable, Iterable, Iterator

from kvpack.doctor import amd, host, integrity, libraries, memory, packages, rdma
from kvpack.doctor.model import Diagnosis, Finding, ranked
from kvpack.doctor.patient import Patient
from kvpack.names import counted

Check = Callable[[Patient], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    packages.two_members, packages.dispatchers, packages.wrong_accelerator, packages.built_for,
    packages.doubled,
    integrity.records, integrity.shared_paths,
    libraries.cuda_major, libraries.two_runtimes, libraries.unversioned_cudart,
    libraries.torch_minor, libraries.copies,
    host.host_libraries, host.verbs_providers,
    rdma.peermem, rdma.dma_buf, rdma.four_gib, rdma.bugs,
    memory.memlock,
    amd.refused, amd.channel, amd.missing_ionic, amd.bundled_ionic, amd.mori_archs, amd.mori_rocm,
)  # fmt: skip


def diagnose(patient: Patient, more: Iterable[Finding] = ()) -> Diagnosis:
    """Judge one environment on one machine.

    :param more: findings of other checkers, ranked among the rest.
    """
    found = [finding for check in CHECKS for finding in check(patient)]
    return Diagnosis(
        findings=ranked([*found, *more]),
        looked_at=tuple(_looked_at(patient)),
        not_checked=tuple(_not_checked(patient)),
    )


def _looked_at(patient: Patient) -> Iterator[str]:
    environment, machine = patient.environment, patient.machine
    yield (
        f"{environment.python}: Python {environment.version}, "
        f"{counted(len(environment.distributions), 'distribution')}"
    )
    parts = [f"Linux {machine.kernel} {machine.arch}".strip()]
    for things in (
        [gpu.name for gpu in machine.gpus], [f"{nic.driver} RDMA" for nic in machine.nics]
    ):  # fmt: skip
        parts += [f"{things.count(one)} x {one}" for one in dict.fromkeys(things)]
    yield ", ".join(parts)
    if patient.target is not None:
        yield f"for {patient.target.accelerator}: {patient.target.because}"


def _not_checked(patient: Patient) -> Iterator[str]:
    environment, machine = patient.environment, patient.machine
    if not machine.gpus:
        yield "GPU: none here (nvidia-smi, /proc/driver/nvidia, /sys/class/kfd)"
    if not machine.nics:
        yield "RDMA: no device in /sys/class/infiniband"
    if machine.libraries is None:
        yield "host libraries: ldconfig -p is not to be had"
    if machine.serious and machine.modules is None:
        yield "kernel modules: /proc/modules cannot be read"
    if machine.has_gpu("nvidia") and machine.open_driver is None:
        yield "whether NVIDIA's kernel modules are the open ones: no /proc/driver/nvidia/version"
    if machine.has_nic("ionic") and not machine.packages:
        yield "libionic's version: dpkg-query is not to be had"
    if patient.target is None and patient.members:
        yield "the right accelerator: no torch, and nothing else that tells (--cuda, --rocm, --cpu)"
    if not environment.hashed:
        yield "contents of files: --quick compares sizes only"
    without = [one.name for one in environment.distributions if one.record == "absent"]
    if without:
        yield f"files of {', '.join(without[:5])}: no RECORD (installed by another tool)"
