"""Is the torch of a build environment for the accelerator of the target? Pure."""

import re
from collections.abc import Iterable

from kvpack.errors import Fault, ResolutionFailed
from kvpack.lock.model import Closure, LockedWheel

_RUNTIME = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
"""The project of CUDA's run-time library, whose version is CUDA's: what torch's wheels of PyPI
require tells for which CUDA they are (METADATA of torch 2.11 to 2.15)."""


def check_torch(closure: Closure, wheels: Iterable[LockedWheel]) -> None:
    """An index has torch for one CUDA under a version, and an extension needs the target's.

    :raises ResolutionFailed: if the closure holds another CUDA's run-time library.
    """
    wanted = re.sub(r"\D", "", closure.accelerator or "")
    runs = [wheel for wheel in wheels if _RUNTIME.fullmatch(wheel.project)]
    if closure.accelerator and closure.accelerator.startswith("cuda"):
        runs = [wheel for wheel in runs if wheel.version.partition(".")[0] != wanted]
    if not runs:
        return
    major = runs[0].version.partition(".")[0]
    raise ResolutionFailed(
        f"torch {closure.torch} of the index is for CUDA {major}, the target for "
        f"{closure.accelerator}",
        cause="PyPI has each torch for one CUDA alone; an extension would load two of them",
        hint=f"drop {closure.torch!r} from targets.torch.{closure.accelerator} of the recipe, or "
        "lock against an index that has torch for it: PIP_INDEX_URL=… kvpack lock",
        faults=[Fault(place=wheel.file, message=f"closure {closure.title}") for wheel in runs],
    )


def unresolved(closure: Closure, error: ResolutionFailed) -> ResolutionFailed:
    """The error of an environment that holds torch, with what may be wrong there."""
    return ResolutionFailed(
        error.what,
        cause=error.cause,
        hint=f"if torch {closure.torch} has no wheels for Python {closure.python}: name those that "
        f'it has in the recipe, targets.torch-python = {{ "{closure.torch}" = [...] }}; else '
        f"{error.hint}",
    )
