"""Sizes as vLLM and Mooncake read them, and the staging budget of a load from disk.

vLLM: ``_parse_size``, ``_estimate_disk_offload_staging_bytes`` and
``_split_disk_offload_load_batches`` of kv_connector/v1/mooncake/store/worker.py (#42689).
Mooncake: ``string_to_byte_size`` of mooncake-store/include/utils.h.
"""

import math
import re
from dataclasses import dataclass

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_UNITS = {"gb": GIB, "mb": MIB, "kb": KIB, "b": 1}
_GRAMMAR = re.compile(r"^\s*([\d.]+)\s*(gb|mb|kb|b)?\s*$")
_LOOSE = re.compile(r"^\s*([+-]?[\d.]+)\s*([a-z]*)\s*$")
_NOT_UNITS = {
    "t": 1024**4, "tb": 1024**4, "tib": 1024**4,
    "g": GIB, "gib": GIB, "m": MIB, "mib": MIB, "k": KIB, "kib": KIB,
}  # fmt: skip
"""Units that people write and vLLM refuses, as what they mean."""


class SizeError(ValueError):
    """A size that vLLM refuses: the reason, and how to write what was meant (or ``""``)."""

    def __init__(self, reason: str, instead: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.instead = instead


def parse_size(value: object) -> int:
    """Bytes, by vLLM's own steps; a number is taken as it is, and so is a negative one.

    :raises SizeError: where vLLM raises, or meant no size (``true`` counts as 1 there).
    """
    if isinstance(value, bool):
        raise SizeError("a boolean is no size (vLLM takes true as 1 byte)")
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SizeError("no finite number")
        return int(value)
    if not isinstance(value, str):
        raise SizeError("neither a number of bytes nor a string")
    return _parse_text(value)


def _parse_text(value: str) -> int:
    text = value.strip().lower()
    if not text:
        raise SizeError("empty")
    match = _GRAMMAR.match(text)
    if match is None:
        raise _refused(text)
    try:
        number = float(match[1])
        return int(number * _UNITS[match[2] or "b"])
    except ValueError:
        raise SizeError(f"{match[1]!r} is no number: one dot at most") from None
    except OverflowError:
        raise SizeError("larger than any number") from None


def _refused(text: str) -> SizeError:
    """Say what is wrong with a text outside the grammar."""
    loose = _LOOSE.match(text)
    if loose is None:
        return SizeError("not a number with one of the units GB, MB, KB, B")
    number, unit = loose.groups()
    if number[0] in "+-":
        return SizeError("a sign is refused, and a size is not negative")
    if unit in _NOT_UNITS:
        try:
            instead = human(int(float(number) * _NOT_UNITS[unit]), exact=True)
        except (ValueError, OverflowError):
            instead = ""
        reason = f"the unit {unit.upper()} is refused (GB, MB, KB, B are taken, and mean 1024³, …)"
        return SizeError(reason, instead)
    return SizeError(f"unknown unit {unit.upper()}: GB, MB, KB and B are taken")


_CLIENT = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([kmgt]?b?)$")


def parse_client_size(text: str) -> int | None:
    """Bytes as ``mooncake_client`` reads ``--global_segment_size``; ``None`` where it takes 0."""
    match = _CLIENT.match(text.strip().lower())
    if match is None:
        return None
    scale = 1024 ** " kmgt".index(match[2][0]) if match[2] not in {"", "b"} else 1
    try:
        return int(float(match[1]) * scale)
    except OverflowError:
        return None


def human(size: int, *, exact: bool = False) -> str:
    """``80GB``: in the largest unit of vLLM's grammar, rounded unless ``exact``."""
    for unit, scale in _UNITS.items():
        if abs(size) >= scale:
            if size % scale == 0:
                return f"{size // scale}{unit.upper()}"
            if not exact:
                return f"{size / scale:.2f}{unit.upper()}"
    return f"{size}B"


@dataclass(frozen=True, kw_only=True, slots=True)
class Staging:
    """The buffer through which the owner reads from disk, as vLLM plans for it."""

    budget: int
    """Bytes of the whole buffer; one key beyond it fails its request."""
    ratio: float
    """What a batch may use of it; not NaN."""
    alignment: int
    padding: int

    @property
    def usable(self) -> int:
        """Bytes that a batch of several keys may use."""
        try:
            return max(1, int(self.budget * self.ratio))
        except OverflowError:  # an infinite ratio
            return self.budget

    def of_key(self, size: int) -> int:
        """Bytes that a key of ``size`` takes in the buffer."""
        return -(-size // self.alignment) * self.alignment + self.padding

    @property
    def largest_key(self) -> int:
        """The largest key that a request can load."""
        return (self.budget - self.padding) // self.alignment * self.alignment
