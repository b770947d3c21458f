"""A Python environment as the doctor sees it: read from its files, nothing of it is run."""

import re
from typing import Literal

from pydantic import Field

from kvpack.base import Text, Value
from kvpack.resolve.model import Collision


class Distribution(Value):
    """One installed distribution, from its ``.dist-info`` or ``.egg-info``."""

    name: Text
    """Normalized (PEP 503)."""
    version: Text
    spec: Text
    """What installs the same again: ``nixl==1.5.1``, or ``name @ URL`` if it came from a URL."""
    record: Literal["read", "absent", "damaged"] = "read"
    """``absent``: an egg-info, or a package manager's; nothing can be compared."""
    editable: bool = False
    requires: tuple[str, ...] = ()
    """Normalized names of ``Requires-Dist``, those of extras and markers too."""
    top_level: tuple[str, ...] = ()
    """First folders and modules of what it wrote to site-packages."""
    missing: tuple[str, ...] = ()
    """Paths of RECORD that are not there."""
    changed: tuple[str, ...] = ()
    """Paths whose content is not what RECORD says."""


class Library(Value):
    """One ELF file of the environment. Only what the rest of the environment does not explain."""

    path: Text
    """Relative to the environment: ``site-packages/mooncake/engine.so``."""
    distribution: Text
    soname: str | None = None
    needs: tuple[str, ...] = ()
    """Needed sonames that no file of the environment has, and those of accelerators in any case."""
    verbs: str | None = None
    """The highest version of libibverbs' symbols that it needs: ``1.12`` has dma-buf."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Torch(Value):
    """``torch/version.py``, read as text."""

    version: Text
    """``2.13.0+cu130``."""
    cuda: str | None = None
    """``13.0``."""
    hip: str | None = None
    """``7.2.53211``."""

    @property
    def minor(self) -> str:
        """``2.13``."""
        return ".".join(self.version.split("+")[0].split(".")[:2])


class Environment(Value):
    """What is installed, and whether its files are what they should be."""

    python: Text
    """The interpreter, as it was named."""
    version: Text
    """``3.12``."""
    glibc: str | None = None
    distributions: tuple[Distribution, ...] = ()
    doubled: tuple[str, ...] = ()
    """Names that one folder has in two versions."""
    libraries: tuple[Library, ...] = ()
    torch: Torch | None = None
    mori_rocm: str | None = None
    """ROCm that MoRI's wheel was built with (``mori/_rocm_build_info.py``)."""
    mooncake_peermem: str | None = None
    """What Mooncake's package sets WITH_NVIDIA_PEERMEM to where nobody did (``__init__.py``): ``0``
    in kvpack's wheels; upstream's set nothing."""
    torch_files: tuple[str, ...] = ()
    """Installed paths of extensions that are built for one minor version of torch."""
    collisions: tuple[Collision, ...] = ()
    """Paths with several owners, other bytes or the same."""
    found_beside: tuple[str, ...] = ()
    """Needed sonames that lie in LD_LIBRARY_PATH or in the environment's own ``lib``."""
    hashed: bool = Field(default=True)
    """Whether contents were compared with RECORD, not sizes only."""

    def named(self, name: str) -> Distribution | None:
        return next((one for one in self.distributions if one.name == name), None)


_TORCH = re.compile(r"^(?P<key>__version__|cuda|hip)\s*(?::[^=]*)?=\s*['\"](?P<value>[^'\"]+)['\"]")
_ROCM = re.compile(r"^ROCM_BUILD_VERSION\s*=\s*['\"](?P<value>[^'\"]+)['\"]", re.MULTILINE)
_PEERMEM = re.compile(
    r"^os\.environ\.setdefault\(['\"]WITH_NVIDIA_PEERMEM['\"], *['\"](?P<value>\w+)['\"]\)",
    re.MULTILINE,
)


def torch_of(text: str) -> Torch | None:
    """Read ``torch/version.py``; ``None`` if it does not say its version."""
    found = [_TORCH.match(line) for line in text.splitlines()]
    values = {match["key"]: match["value"] for match in found if match}
    if "__version__" not in values:
        return None
    return Torch(version=values["__version__"], cuda=values.get("cuda"), hip=values.get("hip"))


def mori_rocm_of(text: str) -> str | None:
    """Read ``mori/_rocm_build_info.py`` (in the wheels since 1.2.3)."""
    found = _ROCM.search(text)
    return found["value"] if found else None


def mooncake_peermem_of(text: str) -> str | None:
    """Read ``mooncake/__init__.py`` (kvpack's patch ``peermem-default``)."""
    found = _PEERMEM.search(text)
    return found["value"] if found else None
