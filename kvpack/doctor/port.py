"""The one port through which a machine is read, and the closed list of what may be asked.

Everything behind it is text, so that a recording of one machine replays on any other. The list is
closed so that a recording can hold no secret: nothing else is ever read (``live.py``).
"""

from collections.abc import Mapping
from typing import Literal, Protocol

Program = Literal[
    "nvidia-smi", "ibv_devinfo", "lspci", "dpkg-query", "ldconfig", "modinfo", "uname"
]

PROGRAMS: Mapping[Program, tuple[str, ...]] = {
    "nvidia-smi": ("--query-gpu=name,driver_version", "--format=csv,noheader"),
    "ibv_devinfo": (),
    "lspci": ("-n",),
    "dpkg-query": ("-W", "-f", "${Package} ${Version}\\n", "*ionic*", "*ibverbs*", "rdma-core"),
    "ldconfig": ("-p",),
    "modinfo": ("-F", "license", "nvidia"),
    "uname": ("-r", "-m"),
}
"""Arguments of each program. No name of the host, no serial number, no GUID is asked for; lines
that hold one (``ibv_devinfo``) are dropped: see ``DROPPED``."""

DROPPED = r"guid|serial|uuid|hostname|node_desc"
"""Lines of programs and files that match (in any case) are never handed on."""

FILES: Mapping[str, str] = {
    "/proc/modules": r".*",
    "/proc/self/limits": r"^Max locked memory.*",
    "/proc/self/status": r"^CapEff:.*",
    "/proc/driver/nvidia/version": r"^NVRM.*",
    "/proc/driver/nvidia/gpus/*/information": r"^Model:.*",
    "/sys/module/ionic/version": r".*",
    "/sys/class/infiniband/*/device/vendor": r".*",
    "/sys/class/infiniband/*/fw_ver": r".*",
    "/sys/class/infiniband_verbs/*/ibdev": r".*",
    "/sys/class/infiniband_verbs/*/abi_version": r".*",
    "/sys/class/kfd/kfd/topology/nodes/*/properties": r"^gfx_target_version.*",
    "/opt/rocm/.info/version": r".*",
    "/etc/os-release": r"^(ID|VERSION_ID|VERSION_CODENAME)=.*",
}
"""Files that are read, and the lines of them that are kept."""

FOLDERS = (
    "/proc/driver/nvidia/gpus",
    "/sys/class/infiniband",
    "/sys/class/infiniband_verbs",
    "/sys/class/iommu",
    "/sys/class/kfd/kfd/topology/nodes",
    "/etc/libibverbs.d",
    "/usr/local/cuda/lib64",
    "/opt/hpcx/ucx/lib",
    "/opt/nvidia/nvda_nixl",
)
"""Folders that are listed."""


class Machine(Protocol):
    """What a machine answers. ``None``: it has no such file, folder or program."""

    def read(self, path: str) -> str | None:
        """The kept lines of a file of ``FILES``."""
        ...

    def listing(self, path: str) -> tuple[str, ...] | None:
        """The names in a folder of ``FOLDERS``, sorted."""
        ...

    def run(self, program: Program) -> str | None:
        """Both streams of a program, whatever its exit code: half an answer is one too."""
        ...

    def variables(self) -> Mapping[str, str]:
        """The environment variables that ``rules.toml`` lists."""
        ...
