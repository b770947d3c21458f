"""The words of the domain as types, each with its one parser.

Terms are those of the PEPs (platform tag, Python tag), of manylinux (glibc floor) and of ELF.
"""

import difflib
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import NewType

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""
Glibc = NewType("Glibc", str)
"""A glibc floor, ``major.minor``: ``2.39``."""
PythonVersion = NewType("PythonVersion", str)
"""A CPython feature version, ``3.11``."""

SHA256_PATTERN = r"^[0-9a-f]{64}$"
PREFIX_PATTERN = r"^/opt/[A-Za-z0-9][A-Za-z0-9_.+-]*$"
"""The folder of a native library."""
GLIBC_PATTERN = r"^2\.[1-9][0-9]?$"
PYTHON_PATTERN = r"^3\.[1-9][0-9]?$"
TORCH_PATTERN = r"^[1-9][0-9]?\.[0-9]{1,2}$"
COMMIT_PATTERN = r"^[0-9a-f]{40}$"
NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class Arch(StrEnum):
    """Machine architecture, as in platform tags (``uname -m``)."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def debian(self) -> str:
        """The name of this architecture in Debian."""
        return {"x86_64": "amd64", "aarch64": "arm64"}[self.value]

    @property
    def triplet(self) -> str:
        """The folder of this architecture's libraries in Debian (multiarch tuple)."""
        return f"{self.value}-linux-gnu"


class Accelerator(StrEnum):
    """What a wheel is built against."""

    CPU = "cpu"
    CUDA12 = "cuda12"
    CUDA13 = "cuda13"
    ROCM7 = "rocm7"


@cache
def version_key(text: str) -> tuple[int, ...]:
    """Order dotted numbers as numbers: ``2.9`` < ``2.39``.

    :raises ValueError: if a part is not a number.
    """
    return tuple(int(part) for part in text.split("."))


def python_tag(version: str) -> str:
    """``3.11`` -> ``cp311`` (PEP 425)."""
    return "cp" + version.replace(".", "")


def platform_tag(glibc: str, arch: str) -> str:
    """``2.39``, ``x86_64`` -> ``manylinux_2_39_x86_64`` (PEP 600)."""
    return f"manylinux_{glibc.replace('.', '_')}_{arch}"


def normalize(project: str) -> str:
    """Normalized project name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", project).lower()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` most likely means, or ``None``."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown ``word``: the nearest of ``known``, else all of them."""
    choices = sorted(str(one) for one in known)  # an enum's member is shown as its value
    guess = nearest(word, choices)
    if guess:
        return f"did you mean {guess!r}?"
    return f"known here: {', '.join(choices)}" if choices else "none is known here"


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
