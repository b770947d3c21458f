"""What a file is that a command for wheels was given, where kvpack knows: a library, a bundle."""

from pathlib import Path

from kvpack.cli.context import Context
from kvpack.errors import WheelInvalid

_SHOWN = 6
"""Sonames that one message has."""


def no_wheel(path: Path, context: Context) -> WheelInvalid | None:
    """The error for a tar that kvpack made; ``None``: a wheel, or what kvpack does not know."""
    from kvpack.tools.packed import DAMAGE, opened

    if path.suffix != ".tar" or not path.is_file():
        return None
    try:
        first = next(iter(opened(path).members()), None)
    except DAMAGE:
        return None
    if first is not None and first.name.startswith("kvpack-bundle"):
        return WheelInvalid(
            f"{path} is a bundle, no wheel",
            cause="its wheels are members of it, and so is what proves them",
            hint=f"kvpack bundle verify {path}; or unpack it, and name a wheel of it",
        )
    return _library(path, context)


def _library(path: Path, context: Context) -> WheelInvalid | None:
    from kvpack.audit.library import inspect_library

    facts = inspect_library(path)
    if facts is None:
        return None
    name = _recipe(path, context) or path.name.split("-")[0]
    told = f"{facts.files} files and folders below {facts.prefix}, {len(facts.elf)} of them ELF"
    cause = "it is audited and verified as a part of the wheels that are built with it"
    if facts.elf:
        needs = ", ".join(facts.needs[:_SHOWN]) or "nothing"
        more = f" and {len(facts.needs) - _SHOWN} more" if len(facts.needs) > _SHOWN else ""
        floor = f"load from glibc {facts.floor} on" if facts.floor else "name no glibc"
        cause = f"its ELF files {floor} and need {needs}{more} from elsewhere; {cause}"
    return WheelInvalid(
        f"{path} is a native library, no wheel: {told}",
        cause=cause,
        hint=f"kvpack build {name} --rebuild builds it again and compares; kvpack show {name} says "
        "what is built with it",
    )


def _recipe(path: Path, context: Context) -> str | None:
    """The recipe that made it, if this store did."""
    from kvpack.tools.files import sha256_file

    sha256 = sha256_file(path)
    for _, record in context.store.records("actions"):
        if (record.get("library") or {}).get("sha256") == sha256:
            return str(((record.get("action") or {}).get("recipe") or {}).get("name") or "") or None
    return None
