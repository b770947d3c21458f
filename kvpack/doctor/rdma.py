"""Checks of how GPU memory is registered with RDMA devices: peermem, dma-buf, kernels. Pure."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from kvpack.doctor import mends
from kvpack.doctor.environment import Distribution
from kvpack.doctor.model import Finding, Mend
from kvpack.doctor.patient import Patient
from kvpack.doctor.rules import Bug, Peermem, holds
from kvpack.names import version_key

_FALSE = frozenset({"0", "false", "off", "no"})
_PEERMEM = "WITH_NVIDIA_PEERMEM"
_MODULES = frozenset({"nvidia_peermem", "nv_peer_mem"})
"""The driver's own, and the older one of Mellanox."""
_LOAD = Mend(tool="kernel", command="modprobe nvidia-peermem")


@dataclass(frozen=True)
class Registration:
    """How the installed Mooncake registers GPU memory on this machine."""

    patient: Patient
    mooncake: Distribution
    rule: Peermem

    @functools.cached_property
    def dma_buf_built(self) -> bool:
        """Whether its binaries have the dma-buf path: they need IBVERBS_1.12 then (measured)."""
        found = [
            one.verbs for one in self.patient.environment.libraries
            if one.distribution == self.mooncake.name and one.verbs
        ]  # fmt: skip
        least = version_key(self.patient.rules.dma_buf.verbs)
        return any(version_key(one) >= least for one in found)

    @functools.cached_property
    def peermem(self) -> bool:
        """Whether nvidia-peermem is asked for: by the build, the variable, or a default.

        The package's own default counts as the variable does, and an empty variable as none
        (measured: "Invalid WITH_NVIDIA_PEERMEM environment value: , keeping default").
        """
        if self.rule.switch == "build":
            return not self.dma_buf_built
        own = self.patient.environment.mooncake_peermem or ""
        said = self.patient.machine.variables.get(_PEERMEM, own).strip().lower()
        if said:
            return said not in _FALSE
        if self.rule.default == "if-loaded":
            return self.patient.machine.modules is None or self.loaded
        return self.rule.default

    @property
    def loaded(self) -> bool:
        """Whether the kernel has nvidia-peermem, as far as it told its modules."""
        return not _MODULES.isdisjoint(self.patient.machine.modules or ())

    @functools.cached_property
    def obstacles(self) -> tuple[str, ...]:
        """Why dma-buf cannot work on this machine."""
        machine, rule = self.patient.machine, self.patient.rules.dma_buf
        found = []
        if machine.kernel and kernel_key(machine.kernel) < version_key(rule.kernel):
            found.append(f"kernel {machine.kernel} is older than {rule.kernel}")
        if machine.open_driver is False:
            found.append("NVIDIA's kernel modules are the proprietary ones")
        return tuple(found)

    @property
    def to_dma_buf(self) -> tuple[Mend, ...]:
        """How to leave peermem, where that is possible."""
        if self.obstacles:
            return ()
        if self.rule.switch == "variable":
            return (mends.variable(_PEERMEM, "0"),)
        return mends.packages(self.patient.python, add=[f"{self.mooncake.name}==0.3.14"])


def registration(patient: Patient) -> Registration | None:
    """The way of registering; ``None`` without an NVIDIA GPU, RDMA device or CUDA Mooncake."""
    mooncake = patient.member("mooncake")
    if mooncake is None or not patient.machine.has_gpu("nvidia") or not patient.machine.nics:
        return None
    member = patient.family("mooncake").member(mooncake.name)
    if member is None or member.flavour or "cuda" not in (member.accelerator or ""):
        return None
    rule = next((r for r in patient.rules.peermem if holds(r.versions, mooncake.version)), None)
    return Registration(patient, mooncake, rule) if rule else None


def kernel_key(release: str) -> tuple[int, ...]:
    """``6.8.0-60-generic`` -> (6, 8, 0)."""
    found = re.match(r"\d+(\.\d+)*", release)
    return version_key(found.group()) if found else ()


def peermem(patient: Patient) -> Iterator[Finding]:
    """nvidia-peermem is asked for, and is not loaded (mooncake.md §1e; vLLM's Mooncake guide).

    A build decision up to 0.3.10.post2, then the variable WITH_NVIDIA_PEERMEM: by default false in
    0.3.11, true up to 0.3.13.post1, and from 0.3.14 on true where the kernel has the module. Grace
    platforms have no peermem at all: registration fails with EFAULT.
    """
    way = registration(patient)
    if way is None or not way.peermem or patient.machine.modules is None:
        return
    if way.loaded:
        return
    names = patient.rules.dma_buf.no_peermem
    model = next((n for n in names for gpu in patient.machine.gpus if n in gpu.name), None)
    where = f"{model} has no nvidia-peermem" if model else "nvidia_peermem is not loaded"
    asks = {
        "build": "was built for nvidia-peermem alone",
        "variable": f"asks for nvidia-peermem unless {_PEERMEM}=0",
    }[way.rule.switch]
    yield Finding(
        check="peermem",
        severity="error",
        place=way.mooncake.name,
        message=f"{way.mooncake.name} {way.mooncake.version} {asks}, and {where}",
        why='"Failed to register memory …: Bad address [14]" for GPU buffers (vLLM #42114, #51067)'
        + (f"; dma-buf is no way out: {'; '.join(way.obstacles)}" if way.obstacles else ""),
        mend=(*way.to_dma_buf, *(() if model else (_LOAD,))),
    )


def dma_buf(patient: Patient) -> Iterator[Finding]:
    """dma-buf is asked for, and this kernel or driver cannot (NVIDIA: open modules, Linux 5.12)."""
    way = registration(patient)
    if way is None or way.peermem or not way.obstacles:
        return
    back = mends.variable(_PEERMEM, "1")
    yield Finding(
        check="dma-buf",
        severity="error",
        place=way.mooncake.name,
        message=f"{way.mooncake.name} {way.mooncake.version} registers GPU memory through "
        f"dma-buf, and {'; '.join(way.obstacles)}",
        why="ibv_reg_dmabuf_mr or cuMemGetHandleForAddressRange fails (Tencent/hpn #36)",
        mend=(_LOAD, *((back,) if way.rule.switch == "variable" else ())),
    )


def four_gib(patient: Patient) -> Iterator[Finding]:
    """Kernels that wrap dma-buf registrations of 4 GiB and more.

    Mooncake 0.3.14 warns of it, any earlier version has it silently: torvalds/linux 15fe76e23615,
    CVE-2026-53133. It takes an IOMMU that translates. MC_MAX_MR_SIZE keeps registrations below.
    """
    way, machine, rule = registration(patient), patient.machine, patient.rules.four_gib
    if way is None or way.peermem or machine.iommu is False or not _wraps(patient):
        return
    most = machine.variables.get("MC_MAX_MR_SIZE", "")
    if most.isdecimal() and 0 < int(most) <= 1 << 32:
        return
    yield Finding(
        check="dma-buf-4gib",
        severity="warning",
        place=f"kernel {machine.kernel}",
        message="dma-buf registrations of 4 GiB and more get wrong addresses, unless the "
        f"distribution took the fix over (fixed upstream in {', '.join(rule.fixed)})",
        why="silent corruption of RDMA offsets where the IOMMU translates (torvalds/linux "
        "15fe76e23615, CVE-2026-53133; Mooncake 0.3.14 warns)",
        mend=(
            mends.variable("MC_MAX_MR_SIZE", str(1 << 32)),
            Mend(
                tool="kernel", command="a kernel with 15fe76e23615, or iommu=pt on its command line"
            ),
        ),
    )


def _wraps(patient: Patient) -> bool:
    """Whether upstream's kernel of this version has the fault."""
    rule, running = patient.rules.four_gib, kernel_key(patient.machine.kernel)
    if not running or running < version_key(rule.since):
        return False
    fixed = [version_key(one) for one in rule.fixed]
    if running >= fixed[-1]:
        return False
    return not any(running[:2] == one[:2] and running >= one for one in fixed)


def bugs(patient: Patient) -> Iterator[Finding]:
    """Faults of versions under conditions: the table ``bug`` of ``rules.toml``."""
    way = registration(patient)
    segments = expandable(patient)
    holding = {
        "dma-buf": way is not None and not way.peermem,
        "expandable-segments": bool(segments),
        "several-nics": len(patient.machine.nics) > 1,
    }
    for bug in patient.rules.bug:
        one = patient.member(bug.family)
        if one is None or (bug.members and one.name not in bug.members):
            continue
        if holds(bug.versions, one.version) and all(holding[need] for need in bug.when):
            yield _bug(patient, bug, one)


def _bug(patient: Patient, bug: Bug, one: Distribution) -> Finding:
    segments = expandable(patient) if "expandable-segments" in bug.when else {}
    ways = [mends.variable(name, value) for name, value in segments.items()]
    least = bug.upgrade_glibc.get(patient.environment.version)
    glibc = patient.environment.glibc
    out = bool(bug.upgrade_glibc) and not (
        least and glibc and version_key(glibc) >= version_key(least)
    )
    more = (
        f"; no wheel of {bug.upgrade} fits Python {patient.environment.version} and glibc {glibc}: "
        "it takes one that is built for them" if out else ""
    )  # fmt: skip
    upgrade = () if out else mends.packages(patient.python, add=[f"{one.name}=={bug.upgrade}"])
    return Finding(
        check=bug.check,
        severity=bug.severity,
        place=one.name,
        message=f"{one.name} {one.version} {bug.message}{more}",
        why=bug.why,
        mend=(*upgrade, *ways),
    )


def expandable(patient: Patient) -> dict[str, str | None]:
    """Variables that turn expandable segments on -> the value without them."""
    found: dict[str, str | None] = {}
    for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"):
        value = patient.machine.variables.get(name, "")
        parts = [part.strip() for part in value.split(",") if part.strip()]
        rest = [
            part for part in parts if not re.fullmatch(r"(?i)expandable_segments\s*:\s*true", part)
        ]
        if len(rest) < len(parts):
            found[name] = ",".join(rest) or None
    return found
