"""Checks of AMD machines: AINIC's user space against the kernel, MoRI's traps. Pure."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from kvpack.doctor import mends
from kvpack.doctor.machine import Refusal
from kvpack.doctor.model import Finding, Mend
from kvpack.doctor.patient import Patient
from kvpack.doctor.rules import Ionic

_REPOSITORY = "https://repo.radeon.com/amdainic/pensando/ubuntu"
_PACKAGES = "libionic1 libionic-dev ionic-common"
_BUNDLE = re.compile(r"\d+\.\d+\.\d+-a-\d+")
"""Firmware often says the AINIC bundle that it came with: 1.117.5-a-77."""


def refused(patient: Patient) -> Iterator[Finding]:
    """libibverbs refuses every device of a driver: user space and kernel do not fit.

    vLLM #56713 (ionic: kernel ABI 4, supports 1 to 1), sglang #33374. Its own warning is the best
    witness; where ``ibv_devinfo`` is not installed, the measured ABIs of ``rules.toml`` are used.
    """
    said = patient.machine.refusals or tuple(_by_table(patient))
    for one in said:
        nics = [nic for nic in patient.machine.nics if nic.driver == one.driver]
        yield Finding(
            check="verbs-abi",
            severity="error",
            place=_installed(patient) if one.driver == "ionic" else one.driver,
            message=f"the {one.driver} driver of the kernel speaks ABI {one.abi}, and the user "
            f"space supports {one.least} to {one.most}: {len(nics) or 'all'} devices are refused",
            why="ibv_get_device_list gives none, and transfers fall back to TCP (vLLM #56713); "
            "the kernel module is the host's, so the user space has to follow",
            mend=tuple(_swap(patient, one.abi)) if one.driver == "ionic" else (),
        )


def _by_table(patient: Patient) -> Iterator[Refusal]:
    entry = _entry(patient)
    abis = {nic.abi for nic in patient.machine.nics if nic.driver == "ionic"} - {None}
    if entry is None or entry.abi is None:
        return
    for abi in sorted(one for one in abis if one is not None):
        if abi != entry.abi:
            yield Refusal(driver="ionic", abi=abi, least=entry.abi, most=entry.abi)


def _version(patient: Patient) -> str | None:
    return (patient.machine.packages or {}).get("libionic1")


def _installed(patient: Patient) -> str:
    return f"libionic1 {_version(patient) or ''}".strip()


def _entry(patient: Patient) -> Ionic | None:
    """The channel that the installed libionic is of."""
    version = _version(patient)
    for entry in patient.rules.ionic:
        if version and entry.libionic and re.match(rf"{re.escape(entry.libionic)}(?!\d)", version):
            return entry
    return None


def _swap(patient: Patient, abi: int | None = None) -> Iterator[Mend]:
    """The channel that fits the host: by its firmware, else its kernel module, else its ABI."""
    machine = patient.machine
    nics = [nic for nic in machine.nics if nic.driver == "ionic"]
    bundles = {nic.firmware for nic in nics if nic.firmware and _BUNDLE.fullmatch(nic.firmware)}
    by_module = [one.channel for one in patient.rules.ionic if machine.ionic_module in one.dkms]
    by_abi = [one.channel for one in patient.rules.ionic if abi is not None and one.abi == abi]
    channel = next(iter([*sorted(bundles), *by_module, *by_abi]), None)
    if channel is None:
        return
    codename = machine.codename or "$(. /etc/os-release; echo $VERSION_CODENAME)"
    yield Mend(
        tool="file",
        command="/etc/apt/sources.list.d/amdainic.list: deb [arch=amd64 "
        f"signed-by=/etc/apt/keyrings/amdainic.gpg] {_REPOSITORY}/{channel} {codename} main",
    )
    yield Mend(
        tool="system",
        command=f"apt-get update && apt-get purge -y {_PACKAGES} && "
        f"apt-get install -y {_PACKAGES} && apt-mark hold {_PACKAGES}",
    )


def channel(patient: Patient) -> Iterator[Finding]:
    """libionic and ionic-dkms of other channels (vLLM #40453: 1.117.5 wants 26.03.3.001)."""
    machine, entry = patient.machine, _entry(patient)
    if machine.refusals or any(_by_table(patient)):
        return
    if entry is None or machine.ionic_module is None or not entry.dkms:
        return
    if machine.ionic_module in entry.dkms:
        return
    yield Finding(
        check="ionic-channel",
        severity="warning",
        place=_installed(patient),
        message=f"{_installed(patient)} is of channel {entry.channel}, which goes with ionic-dkms "
        f"{', '.join(entry.dkms)}; the host has {machine.ionic_module}",
        why="a mismatch may list devices and still fail; no device at all is the usual sign "
        "(vLLM #40453, #56713)",
        mend=tuple(_swap(patient)),
    )


def missing_ionic(patient: Patient) -> Iterator[Finding]:
    """AINIC devices, and no libionic: no program sees them, MoRI takes mlx5 (vLLM #38687)."""
    machine = patient.machine
    cache = machine.libraries
    if not machine.has_nic("ionic") or not patient.moves_memory or cache is None:
        return
    if any(fnmatchcase(name, "libionic.so*") for name in cache):
        return
    yield Finding(
        check="ionic-missing",
        severity="error",
        place="libionic1",
        message="there are AINIC devices, and libionic is not installed",
        why="libibverbs lists none of them, and MoRI's detection falls back to mlx5",
        mend=tuple(_swap(patient)),
    )


def bundled_ionic(patient: Patient) -> Iterator[Finding]:
    """A wheel that carries libionic: it must match the host's kernel module, so none may."""
    for library in patient.environment.libraries:
        if fnmatchcase(library.name, "libionic*.so*"):
            yield Finding(
                check="ionic-bundled",
                severity="warning" if patient.machine.has_nic("ionic") else "note",
                place=library.path,
                message=f"{library.distribution} carries its own libionic",
                why="it fits one kernel ABI; the host's is then ignored (vLLM #56713)",
            )


def mori_archs(patient: Patient) -> Iterator[Finding]:
    """A list in MORI_GPU_ARCHS: MoRI's JIT takes the first known one (vLLM #44374, #49737)."""
    value = patient.machine.variables.get("MORI_GPU_ARCHS", "")
    if "amd-mori" not in patient.members or not value:
        return
    named = re.split(r"[;,\s]+", value.strip())
    taken = next((one for one in patient.rules.mori.archs if one in named), None)
    mine = next((gpu.name for gpu in patient.machine.gpus if gpu.vendor == "amd"), None)
    if mine is None or taken == mine:
        return
    yield Finding(
        check="mori-archs",
        severity="error",
        place="MORI_GPU_ARCHS",
        message=f"MORI_GPU_ARCHS={value} makes MoRI compile for {taken or 'nothing it knows'}, and "
        f"this machine has {mine}",
        why='"device kernel image is invalid" (vLLM #44374); unset, it asks the GPU',
        mend=(mends.variable("MORI_GPU_ARCHS", None), mends.variable("MORI_GPU_ARCHS", mine)),
    )


def mori_rocm(patient: Patient) -> Iterator[Finding]:
    """ROCm of MoRI's wheel against the machine's: one version has wheels of several (measured)."""
    built, there = patient.environment.mori_rocm, patient.machine.rocm
    if built is None or there is None:
        return
    if built.split(".")[:2] == there.split("-")[0].split(".")[:2]:
        return
    other = built.split(".")[0] != there.split(".")[0]
    yield Finding(
        check="mori-rocm",
        severity="error" if other else "warning",
        place="amd-mori",
        message=f"its wheel was built with ROCm {built}, and /opt/rocm is {there}",
        why="the wheel's name does not say its ROCm: 1.2.4 is of 7.2 for Python 3.10 and of 7.14 "
        "for 3.12 (mori/_rocm_build_info.py)",
    )
