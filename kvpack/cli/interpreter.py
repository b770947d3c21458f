"""Asks the Python of an environment where its distributions are. Nothing of it is imported."""

import json
from dataclasses import dataclass
from pathlib import Path

from kvpack.cli.context import Context
from kvpack.errors import UsageError
from kvpack.tools.process import Command, check

_ASK = """
import json, os, sys, sysconfig
def glibc():
    try: return os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    except Exception: return None
paths = sysconfig.get_paths()
own = {paths["purelib"], paths["platlib"]}
stdlib = {paths["stdlib"], paths["platstdlib"]}
print(json.dumps({
    "prefix": sys.prefix,
    "site": sorted(own) + [p for p in sys.path if os.path.isdir(p) and p not in own | stdlib],
    "python": "%d.%d" % sys.version_info[:2],
    "glibc": glibc(),
}))
"""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """What a Python says of its environment."""

    prefix: Path
    sites: tuple[Path, ...]
    """Its own folders first, then those that its ``site`` adds: system-site-packages, ``.pth``."""
    python: str
    """``3.12``."""
    glibc: str | None
    """``None`` where the C library is another one."""


def ask(python: Path, option: str, context: Context) -> Interpreter:
    """What a Python says.

    :param option: which named it, for messages.
    :raises ToolFailed: if it cannot be started.
    :raises UsageError: if it is no Python.
    """
    command = Command(
        args=[python, "-I", "-c", _ASK], args_shown=[str(python), "-I", "-c", "…"], timeout=60
    )
    output = check(command, context.console).output
    try:
        said = json.loads(output)
        return Interpreter(
            prefix=Path(said["prefix"]),
            sites=tuple(Path(site) for site in said["site"]),
            python=str(said["python"]),
            glibc=said["glibc"],
        )
    except (ValueError, LookupError, TypeError):
        raise UsageError(
            f"{option} {python} is no Python: it said {output[:80]!r}",
            hint="name an environment's bin/python",
        ) from None
