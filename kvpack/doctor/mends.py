"""The exact commands that mend: each way twice, for pip and for uv."""

import re
import shlex
from collections.abc import Sequence

from kvpack.doctor.model import Mend


def packages(
    python: str, *, remove: Sequence[str] = (), add: Sequence[str] = (), again: Sequence[str] = ()
) -> tuple[Mend, ...]:
    """Uninstall, then install without dependencies, then install again what is there.

    Removing comes first and takes all at once: an uninstall deletes the paths that its RECORD
    names, whoever else owns them (SGLang's install script; measured on nixl 1.1.0 and 1.2.0).

    :param again: specs whose files are damaged; they are written anew.
    """
    pip = [python, "-m", "pip"]
    uv = ["uv", "pip"]
    ways: list[tuple[list[str], list[str]]] = []
    if remove:
        names = sorted(remove)
        ways.append(
            ([*pip, "uninstall", "-y", *names], [*uv, "uninstall", "--python", python, *names])
        )
    for specs, pip_words, uv_words in (
        (add, [], []),
        (again, ["--force-reinstall"], [w for spec in again for w in _reinstall(spec)]),
    ):
        if specs:
            ways.append(
                (
                    [*pip, "install", "--no-deps", *pip_words, *specs],
                    [*uv, "install", "--python", python, "--no-deps", *uv_words, *specs],
                )
            )
    return (
        *(Mend(tool="pip", command=shlex.join(words)) for words, _ in ways),
        *(Mend(tool="uv", command=shlex.join(words)) for _, words in ways),
    )


def _reinstall(spec: str) -> tuple[str, str]:
    return "--reinstall-package", name_of(spec)


def name_of(spec: str) -> str:
    """The distribution of ``name==version`` or ``name @ URL``."""
    return re.split(r"[=<>! @]", spec, maxsplit=1)[0]


def variable(name: str, value: str | None) -> Mend:
    """Set an environment variable where the program is started, or take it out."""
    return Mend(tool="environment", command=f"unset {name}" if value is None else f"{name}={value}")


def apt(packages_: Sequence[str]) -> Mend:
    """Install packages of Debian or Ubuntu."""
    return Mend(tool="system", command=f"apt-get install -y {' '.join(sorted(set(packages_)))}")
