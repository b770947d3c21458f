"""Runs a wheel on purpose: installs it in a clean environment, imports it, starts its programs.

Only wheels that kvpack built, or that a user asked to run, come here. The environment is made with
PyPA's ``installer`` from locked wheels, travels into a fresh container as a tar stream, and has no
network, no folder of the host and no file of the build. The container is the builder root, which
stands for a host that has the libraries of ``audit.host-libraries``.
"""

import io
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO, Literal

from installer import install
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import RecordEntry
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import Scheme

from kvpack.audit.model import Finding, Severity, WheelFacts
from kvpack.errors import ToolFailed, WheelInvalid
from kvpack.report import Reporter
from kvpack.tools.engine import Engine
from kvpack.tools.process import Command, run

HOME = "/clean"
"""The clean environment inside the container."""
_ENGINE_CODES = {125, 126, 127, 137}
"""Of podman and docker: they failed, the command cannot be run or found, or it was killed."""
TIMEOUT = 600.0
"""Seconds for all of it."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What to run, and where."""

    imports: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    python: str
    """Feature version, ``3.11``."""
    base: str
    """Folder of the Python inside the image that the environment stands on."""
    image: str
    platform: str
    """OCI platform of the image."""
    requirements: tuple[tuple[str, Path], ...]
    """File name and path of every wheel that is installed beside the one on trial."""
    libraries: tuple[str, ...] = ()
    """Folders of the image where the loader finds an accelerator's run time and its driver's
    stand-in: ``audit.host-libraries`` that a package cannot install."""


def try_out(
    wheel: Path, facts: WheelFacts, trial: Trial, engine: Engine, reporter: Reporter
) -> tuple[Finding, ...]:
    """Install, import and start; what fails is an error of the check ``import`` or ``run``.

    :raises WheelInvalid: if the wheel cannot be installed at all.
    :raises ToolFailed: if the engine fails; that says nothing about the wheel.
    """
    programs = [
        f"{HOME}/bin/{elf.path.rpartition('/')[2]}"
        for elf in facts.host_elf
        if ".data/scripts/" in elf.path
    ]
    order = {
        "imports": trial.imports,
        "commands": [[f"{HOME}/bin/{words[0]}", *words[1:]] for words in trial.commands],
        "programs": programs,
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        _environment(tar, wheel, trial)
        _add(tar, f"{HOME}/trial.py", files("kvpack.audit").joinpath("trial.py").read_bytes())
        _add(tar, f"{HOME}/order.json", json.dumps(order).encode())
    script = f"tar -x -C / -f - && exec {HOME}/bin/python -I {HOME}/trial.py {HOME}/order.json"
    args = ["run", "--rm", "--interactive", "--network=none", "--pull=never"]
    if trial.libraries:
        args.append(f"--env=LD_LIBRARY_PATH={':'.join(trial.libraries)}")
    args += [f"--platform={trial.platform}", trial.image, "sh", "-c", script]
    result = run(
        Command(
            args=[engine.name, *args],
            environment=engine.environment,
            stdin=stream.getvalue(),
            timeout=TIMEOUT,
        ),
        reporter,
    )
    return _findings(wheel.name, result.output, result.tail(12), result.code)


def _environment(tar: tarfile.TarFile, wheel: Path, trial: Trial) -> None:
    """A virtual environment (PEP 405) with the wheels in it."""
    config = (
        f"home = {trial.base}\ninclude-system-site-packages = false\nversion = {trial.python}\n"
    )
    _add(tar, f"{HOME}/pyvenv.cfg", config.encode())
    link = tarfile.TarInfo(f"{HOME}/bin/python".lstrip("/"))
    link.type, link.linkname = tarfile.SYMTYPE, f"{trial.base}/python{trial.python}"
    tar.addfile(link)
    for name, path in (*trial.requirements, (wheel.name, wheel)):
        _install(tar, name, path, trial.python)


class _TarDestination(WheelDestination):
    """``installer``'s destination port, writing into the tar stream."""

    def __init__(self, tar: tarfile.TarFile, python: str) -> None:
        self.tar = tar
        site = f"{HOME}/lib/python{python}/site-packages"
        self.schemes: dict[str, str] = {
            "purelib": site,
            "platlib": site,
            "scripts": f"{HOME}/bin",
            "headers": f"{HOME}/include",
            "data": HOME,
        }

    def write_script(
        self, name: str, module: str, attr: str, section: Literal["console", "gui"]
    ) -> RecordEntry:
        script = Script(name, module, attr, section)
        made, data = script.generate(f"{HOME}/bin/python", "posix")
        _add(self.tar, f"{HOME}/bin/{made}", data, 0o755)
        return RecordEntry(made, None, None)

    def write_file(
        self,
        scheme: Scheme,
        path: str | os.PathLike[str],
        stream: BinaryIO,
        is_executable: bool,  # noqa: FBT001  # installer's port
    ) -> RecordEntry:
        data = stream.read()
        if scheme == "scripts" and data.startswith(b"#!python"):
            data = f"#!{HOME}/bin/python".encode() + data[len(b"#!python") :]
        mode = 0o755 if is_executable or scheme == "scripts" else 0o644
        _add(self.tar, f"{self.schemes[scheme]}/{path}", data, mode)
        return RecordEntry(str(path), None, None)

    def finalize_installation(
        self,
        scheme: Scheme,
        record_file_path: str,
        records: Iterable[tuple[Scheme, RecordEntry]],
    ) -> None:
        """RECORD is left out: nothing uninstalls here."""


class _Named(WheelFile):
    """A wheel under its own name: a blob of the store is not called as the wheel is."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        archive.filename = name
        super().__init__(archive)


def _install(tar: tarfile.TarFile, name: str, path: Path, python: str) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            install(_Named(archive, name), _TarDestination(tar, python), {})
    except (InstallerError, zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise WheelInvalid(
            f"{name} cannot be installed: {error}",
            cause="it contradicts itself",
            hint=f"kvpack audit {name} names every fault",
        ) from error


def _add(tar: tarfile.TarFile, path: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


def _findings(wheel: str, output: str, tail: list[str], code: int) -> tuple[Finding, ...]:
    """The trial's own report, one JSON object a line."""
    found, done = [], False
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if not isinstance(said, dict):
            continue
        done = done or bool(said.get("done"))
        if "check" in said and not said["ok"]:
            found.append(
                Finding(
                    check=said["check"],
                    severity=Severity.ERROR,
                    place=f"{wheel}: {said['what']}",
                    message=said["text"],
                    hint="add what is missing to the recipe (run-time requirement, "
                    "audit.host-libraries, build.debian), or correct audit.import / audit.run",
                )
            )
    if not done and code in _ENGINE_CODES:
        raise ToolFailed(
            f"the container of the trial of {wheel} did not run (code {code})",
            cause=" | ".join(tail),
            hint="the engine failed, not the wheel: run the same command again",
        )
    if not done:
        text = f"the trial ended early (code {code}): " + " | ".join(tail)
        found.append(
            Finding(check="run", severity=Severity.ERROR, place=wheel, message=text, hint="")
        )
    return tuple(found)
