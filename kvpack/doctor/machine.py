"""Readings of a machine -> facts. Pure: text in, values out."""

import re
from typing import Literal

from pydantic import Field

from kvpack.base import Value
from kvpack.doctor.port import Machine

_VENDORS: dict[str, Literal["mlx5", "ionic", "bnxt_re", "efa"]] = {
    "0x15b3": "mlx5",
    "0x1dd8": "ionic",
    "0x14e4": "bnxt_re",
    "0x1d0f": "efa",
}
"""PCI vendor -> name of the verbs driver."""
_CAP_IPC_LOCK = 1 << 14
"""capabilities(7): whoever has it is not held to RLIMIT_MEMLOCK."""
_CACHED = re.compile(r"^\s*(?P<soname>\S+) \(.*\) => (?P<path>\S+)$")
_REFUSED = re.compile(
    r"Driver (?P<driver>\S+) does not support the kernel ABI of (?P<abi>\d+) "
    r"\(supports (?P<least>\d+) to (?P<most>\d+)\)"
)
_LOCKED = re.compile(r"Max locked memory\s+(?P<soft>\S+)")


class Gpu(Value):
    vendor: Literal["nvidia", "amd"]
    name: str
    """``NVIDIA H200``, ``gfx942``."""


class Nic(Value):
    """One RDMA device."""

    name: str
    driver: str
    """Name of the verbs driver: ``mlx5``, ``ionic``; ``other``."""
    firmware: str | None = None
    abi: int | None = None
    """Kernel ABI of the driver, as libibverbs compares it."""


class Refusal(Value):
    """libibverbs' own words: its driver library does not speak the kernel's ABI."""

    driver: str
    abi: int
    least: int
    most: int


class MachineFacts(Value):
    """What the checks know of a machine. ``None``: it could not be read."""

    arch: str = ""
    kernel: str = ""
    codename: str | None = None
    """``noble``, of the userland that is looked at."""
    gpus: tuple[Gpu, ...] = ()
    nics: tuple[Nic, ...] = ()
    iommu: bool | None = None
    modules: tuple[str, ...] | None = None
    open_driver: bool | None = None
    """Whether NVIDIA's kernel modules are the open ones."""
    ionic_module: str | None = None
    """Version of the ionic kernel module (ionic-dkms)."""
    refusals: tuple[Refusal, ...] = ()
    libraries: dict[str, tuple[str, ...]] | None = None
    """The loader's cache: soname -> paths."""
    packages: dict[str, str] | None = None
    """Debian packages -> versions."""
    verbs_providers: tuple[str, ...] | None = None
    """Files of ``/etc/libibverbs.d``: without one, libibverbs finds no device."""
    cuda_folder: tuple[str, ...] = ()
    """Names in ``/usr/local/cuda/lib64``."""
    hpcx: bool = False
    nixl_tree: bool = False
    """NIXL built from source, under its own prefix."""
    rocm: str | None = None
    """``7.2.4``, from ``/opt/rocm/.info/version``."""
    memlock: int | None = Field(default=None)
    """Bytes; ``None``: unlimited, or not known."""
    variables: dict[str, str] = Field(default_factory=dict)

    @property
    def serious(self) -> bool:
        """Whether transfers can run here: a GPU or an RDMA device is there."""
        return bool(self.gpus or self.nics)

    def has_gpu(self, vendor: str) -> bool:
        return any(gpu.vendor == vendor for gpu in self.gpus)

    def has_nic(self, driver: str) -> bool:
        return any(nic.driver == driver for nic in self.nics)


def facts_of(machine: Machine) -> MachineFacts:
    """Read everything that any check may need, always the same: so a recording is complete."""
    release, _, arch = (machine.run("uname") or "").strip().partition(" ")
    iommu = machine.listing("/sys/class/iommu")
    modules = machine.read("/proc/modules")
    os_release = dict(
        line.split("=", 1) for line in (machine.read("/etc/os-release") or "").splitlines()
    )
    return MachineFacts(
        arch=arch.strip(),
        kernel=release,
        codename=os_release.get("VERSION_CODENAME"),
        gpus=(*_nvidia(machine), *_amd(machine)),
        nics=_nics(machine),
        iommu=None if iommu is None else bool(iommu),
        modules=None
        if modules is None
        else tuple(sorted(line.split()[0] for line in modules.splitlines())),
        open_driver=_open_driver(machine),
        ionic_module=_line(machine.read("/sys/module/ionic/version")),
        refusals=_refusals(machine.run("ibv_devinfo") or ""),
        libraries=_cache(machine.run("ldconfig")),
        packages=_packages(machine.run("dpkg-query")),
        verbs_providers=machine.listing("/etc/libibverbs.d"),
        cuda_folder=machine.listing("/usr/local/cuda/lib64") or (),
        hpcx=bool(machine.listing("/opt/hpcx/ucx/lib")),
        nixl_tree=bool(machine.listing("/opt/nvidia/nvda_nixl")),
        rocm=_line(machine.read("/opt/rocm/.info/version")),
        memlock=_memlock(machine),
        variables=dict(machine.variables()),
    )


def _line(text: str | None) -> str | None:
    lines = (text or "").split()
    return lines[0] if lines else None


def _nvidia(machine: Machine) -> tuple[Gpu, ...]:
    said = machine.run("nvidia-smi") or ""
    names = [line.rpartition(",")[0].strip() for line in said.splitlines() if "," in line]
    folders = machine.listing("/proc/driver/nvidia/gpus") or ()
    models = [machine.read(f"/proc/driver/nvidia/gpus/{one}/information") for one in folders]
    if not names:  # the driver is there without its program, or the program fails
        names = [(model or "").partition(":")[2].strip() or "NVIDIA GPU" for model in models]
    return tuple(Gpu(vendor="nvidia", name=name) for name in names)


def _amd(machine: Machine) -> tuple[Gpu, ...]:
    """GPUs of the KFD: ``gfx_target_version`` 90402 is gfx942, 0 is a CPU (amdkfd's sysfs)."""
    base = "/sys/class/kfd/kfd/topology/nodes"
    found = []
    for node in machine.listing(base) or ():
        number = re.search(r"\d+$", machine.read(f"{base}/{node}/properties") or "")
        if number and int(number.group()):
            major, rest = divmod(int(number.group()), 10_000)
            minor, step = divmod(rest, 100)
            found.append(Gpu(vendor="amd", name=f"gfx{major}{minor:x}{step:x}"))
    return tuple(found)


def _nics(machine: Machine) -> tuple[Nic, ...]:
    verbs = "/sys/class/infiniband_verbs"
    abis = {
        _line(machine.read(f"{verbs}/{one}/ibdev")): _line(
            machine.read(f"{verbs}/{one}/abi_version")
        )
        for one in machine.listing(verbs) or ()
        if one.startswith("uverbs")
    }
    found = []
    for name in machine.listing("/sys/class/infiniband") or ():
        vendor = _line(machine.read(f"/sys/class/infiniband/{name}/device/vendor"))
        abi = abis.get(name)
        found.append(
            Nic(
                name=name,
                driver=_VENDORS.get(vendor or "", "other"),
                firmware=_line(machine.read(f"/sys/class/infiniband/{name}/fw_ver")),
                abi=int(abi) if abi and abi.isdecimal() else None,
            )
        )
    return tuple(found)


def _open_driver(machine: Machine) -> bool | None:
    """From the module's own line, else from its licence: the open ones are dual MIT/GPL."""
    text = machine.read("/proc/driver/nvidia/version")
    if text:
        return "Open Kernel Module" in text
    licence = machine.run("modinfo")
    if not licence or not re.search(r"GPL|NVIDIA", licence):
        return None
    return "GPL" in licence


def _refusals(said: str) -> tuple[Refusal, ...]:
    found = [Refusal.model_validate(match.groupdict()) for match in _REFUSED.finditer(said)]
    return tuple(dict.fromkeys(found))


def _cache(said: str | None) -> dict[str, tuple[str, ...]] | None:
    if said is None or "=>" not in said:  # musl's ldconfig knows no -p
        return None
    found: dict[str, tuple[str, ...]] = {}
    for line in said.splitlines():
        if match := _CACHED.match(line):
            found[match["soname"]] = (*found.get(match["soname"], ()), match["path"])
    return found


def _packages(said: str | None) -> dict[str, str] | None:
    if said is None:
        return None
    rows = [line.split() for line in said.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}  # noqa: PLR2004  # name, version


def _memlock(machine: Machine) -> int | None:
    """The soft limit, unless this process may go beyond it."""
    limits = _LOCKED.search(machine.read("/proc/self/limits") or "")
    status = (machine.read("/proc/self/status") or "").partition(":")[2].strip()
    able = bool(re.fullmatch("[0-9a-f]+", status)) and bool(int(status, 16) & _CAP_IPC_LOCK)
    if limits is None or able or not limits["soft"].isdecimal():
        return None
    return int(limits["soft"])
