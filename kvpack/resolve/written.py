"""A set as files that work without kvpack: requirements.txt, pylock.toml, uv's settings. Pure.

Every text is a function of the set alone: no time, no machine, no host that a lock does not need.
"""

import datetime as dt
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.pylock import Pylock

from kvpack.base import Text, Value
from kvpack.names import Accelerator

ARCHES = "platform_machine"


class Entry(Value):
    """One distribution of a written set, for one architecture or for several."""

    name: Text
    version: Text
    wheels: tuple["WrittenWheel", ...]
    arches: tuple[str, ...] = ()
    """Where it belongs; empty: wherever the set does."""
    via: tuple[str, ...] = ()
    """Who asks for it; empty: the intent."""


class WrittenWheel(Value):
    """One file of an entry."""

    file: Text
    sha256: Text
    size: int = 0
    """Bytes; 0: not known."""
    url: str = ""
    """Without credentials."""
    path: str = ""
    """Relative to the folder that the files are written for."""
    uploaded: str = ""


class WrittenSet(Value):
    """Everything that the texts say."""

    accelerator: Accelerator
    python: Text
    glibc: Text
    arches: tuple[str, ...]
    command: Text
    """What writes it again."""
    intent_sha256: Text
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    """What a reader should know: left out, expected of the environment, proved."""
    indexes: tuple[str, ...] = ()
    """Declared indexes, without credentials."""
    folders: tuple[str, ...] = ()
    """Declared folders of wheels."""


def title(one: WrittenSet) -> str:
    """``CUDA 13, Python 3.12, glibc 2.35 or newer, x86_64``."""
    return (
        f"{label(one.accelerator)}, Python {one.python}, glibc {one.glibc} or newer, "
        f"{' and '.join(one.arches)}"
    )


def label(accelerator: Accelerator) -> str:
    """``CUDA 13``."""
    names = {"cpu": "no accelerator", "rocm7": "ROCm 7"}
    return names.get(accelerator, f"CUDA {accelerator.removeprefix('cuda')}")


def requirements_text(one: WrittenSet) -> str:
    """The set as requirements with hashes, right with ``--no-deps``."""
    lines = [
        f"# One conflict-free set: {title(one)}.",
        "# It is complete; install it as it is, with pip or uv:",
        "#   pip install --no-deps --require-hashes -r THIS-FILE",
        f"# Written by: {one.command}",
        f"# Intent sha256: {one.intent_sha256}",
        *(f"# {note}" for note in one.notes),
        *(f"--extra-index-url {url}" for url in one.indexes),
        *(f"--find-links {folder}" for folder in one.folders),
        "",
    ]
    for entry in one.entries:
        hashes = sorted({wheel.sha256 for wheel in entry.wheels})
        marker = f" ; {_arch_marker(entry.arches)}" if entry.arches else ""
        lines += [f"{entry.name}=={entry.version}{marker} \\"]
        lines += [f"    --hash=sha256:{sha256} \\" for sha256 in hashes[:-1]]
        lines += [f"    --hash=sha256:{hashes[-1]}"]
        lines += [f"    # via {', '.join(entry.via)}"] if entry.via else []
    return "\n".join(lines) + "\n"


def _arch_marker(arches: Iterable[str]) -> str:
    return " or ".join(f'{ARCHES} == "{arch}"' for arch in arches)


def uv_stanza(excludes: Sequence[str], constraints: Sequence[str], one: WrittenSet) -> str:
    """The same choice for a project that uv resolves itself (``[tool.uv]`` in pyproject.toml)."""
    left = {name for name in excludes if name not in {entry.name for entry in one.entries}}
    lines = [f"# {title(one)}: the other members of each family stay out.", "[tool.uv]"]
    lines += ["exclude-dependencies = [", *(f'  "{name}",' for name in sorted(left)), "]"]
    if constraints:
        lines += ["constraint-dependencies = [", *(f'  "{c}",' for c in constraints), "]"]
    arches = [f"sys_platform == 'linux' and platform_machine == '{arch}'" for arch in one.arches]
    lines += ["environments = [", *(f'  "{arch}",' for arch in arches), "]"]
    return "\n".join(lines) + "\n"


def pylock_text(one: WrittenSet) -> str:
    """The set as a lock file of PEP 751, checked by ``packaging.pylock``.

    :raises PylockValidationError: if the set cannot be said in it (a fault of kvpack).
    """
    document = _pylock(one)
    Pylock.from_dict(document)  # the reader's own rules
    lines = [
        f"# One conflict-free set: {title(one)}.",
        "# Complete: uv pip install -r THIS-FILE, or pip install --no-deps -r THIS-FILE",
        f"# Written by: {one.command}",
    ]
    lines += [f"# {note}" for note in one.notes]
    for key, value in document.items():
        if key not in {"packages", "tool"}:
            lines.append(f"{key} = {_toml(value)}")
    for package in document["packages"]:
        lines += ["", "[[packages]]"]
        lines += [f"{k} = {_toml(v)}" for k, v in package.items() if k != "wheels"]
        lines += ["wheels = [", *(f"  {_toml(wheel)}," for wheel in package["wheels"]), "]"]
    lines += ["", "[tool.kvpack]"]
    lines += [f"{key} = {_toml(value)}" for key, value in document["tool"]["kvpack"].items()]
    return "\n".join(lines) + "\n"


def _pylock(one: WrittenSet) -> dict[str, Any]:
    linux = "sys_platform == 'linux' and implementation_name == 'cpython'"
    return {
        "lock-version": "1.0",
        "environments": [
            f"{linux} and python_version == '{one.python}' and {ARCHES} == '{arch}'"
            for arch in one.arches
        ],
        "requires-python": f"=={one.python}.*",
        "created-by": "kvpack",
        "packages": [_package(entry) for entry in one.entries],
        "tool": {
            "kvpack": {
                "accelerator": one.accelerator.value,
                "glibc": one.glibc,
                "intent-sha256": one.intent_sha256,
            }
        },
    }


def _package(entry: Entry) -> dict[str, Any]:
    package: dict[str, Any] = {"name": entry.name, "version": entry.version}
    if entry.arches:
        package["marker"] = _arch_marker(entry.arches).replace('"', "'")
    package["wheels"] = [_wheel(wheel) for wheel in entry.wheels]
    return package


def _wheel(wheel: WrittenWheel) -> dict[str, Any]:
    found: dict[str, Any] = {"name": wheel.file}
    if wheel.uploaded:
        found["upload-time"] = dt.datetime.fromisoformat(wheel.uploaded)
    if wheel.path:
        found["path"] = wheel.path
    else:
        found["url"] = wheel.url
    if wheel.size:
        found["size"] = wheel.size
    return {**found, "hashes": {"sha256": wheel.sha256}}


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)


def relative(path: str, folder: str) -> str:
    """A path as seen from a folder, both absolute (PEP 751: a POSIX path, no URL)."""
    return posixpath.relpath(path, folder)


def merged(sets: Mapping[str, Sequence[Entry]]) -> tuple[Entry, ...]:
    """The sets of several architectures as one, with markers where they differ.

    :param sets: architecture -> its entries.
    """
    by_pin: dict[tuple[str, str], dict[str, Entry]] = {}
    for arch, entries in sets.items():
        for entry in entries:
            by_pin.setdefault((entry.name, entry.version), {})[arch] = entry
    found = []
    for (name, version), where in sorted(by_pin.items()):
        wheels = {wheel.file: wheel for entry in where.values() for wheel in entry.wheels}
        via = sorted({name for entry in where.values() for name in entry.via})
        found.append(
            Entry(
                name=name,
                version=version,
                wheels=tuple(wheels[file] for file in sorted(wheels)),
                arches=() if len(where) == len(sets) else tuple(sorted(where)),
                via=tuple(via),
            )
        )
    return tuple(found)
