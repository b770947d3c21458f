"""The words ``--cuda``, ``--rocm`` and ``--cpu``, for every command that takes them."""

import re

from kvpack.cli.context import Options
from kvpack.errors import UsageError
from kvpack.names import Accelerator

_TITLES = {"cuda": "CUDA", "rocm": "ROCm"}


class Told(Options):
    """What the parser leaves of them."""

    cuda: str | None = None
    rocm: str | None = None
    cpu: bool = False


def told(args: Told, *, hint: str = "") -> Accelerator | None:
    """The one accelerator that is named; ``None`` if none is.

    :raises UsageError: if there is none of that version.
    """
    if args.cpu:
        return Accelerator.CPU
    for kind, word in (("cuda", args.cuda), ("rocm", args.rocm)):
        if word is not None:
            return of_version(kind, word, hint=hint)
    return None


def of_version(kind: str, word: str, *, cause: str = "", hint: str = "") -> Accelerator:
    """``cuda`` and ``12.9`` -> cuda12: the major counts.

    :raises UsageError: if there is none of that version.
    """
    found = f"{kind}{word.partition('.')[0]}"
    if re.fullmatch(r"\d+(\.\d+)*", word) and found in set(Accelerator):
        return Accelerator(found)
    raise UsageError(
        f"--{kind} does not take {word!r}",
        cause=cause or f"kvpack knows {_TITLES[kind]} {' and '.join(majors(kind))}",
        hint=hint or f"such as --{kind} {majors(kind)[-1]}",
    )


def majors(kind: str) -> list[str]:
    """The versions of ``cuda`` or ``rocm`` that wheels are built for."""
    return [one.removeprefix(kind) for one in Accelerator if one.startswith(kind)]
