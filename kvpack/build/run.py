"""Runs the real cibuildwheel, one process for one target, and takes the one wheel it leaves."""

import lzma
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from kvpack.build.failure import failure, follow
from kvpack.build.ignored import ignored, refused
from kvpack.build.model import INPUTS, BuildPlan, Workshop
from kvpack.build.project import configuration, label, lay_out
from kvpack.build.stamp import escaped
from kvpack.errors import BuildFailed
from kvpack.report import Reporter
from kvpack.tools.engine import PASSED, Engine
from kvpack.tools.files import write_text
from kvpack.tools.process import Command, stream

_NO_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


def cibuildwheel(
    plan: BuildPlan,
    shop: Workshop,
    engine: Engine,
    *,
    tools: Path,
    log: Path,
    reporter: Reporter,
) -> Path:
    """Build one target; the project folder must be laid out and hold the source.

    :param tools: folder with the locked cibuildwheel and what it needs, unpacked.
    :param log: file that gets the full output.
    :returns: the stamped wheel, in ``shop.folder``.
    :raises BuildFailed: with the last lines, the command and the log's place.
    """
    config = shop.folder / "cibuildwheel.toml"
    write_text(config, configuration(plan, shop, engine))
    if plan.recipe.build.generated:
        # cibuildwheel wants to see one on the host; the steps write over it in the container.
        place = shop.folder / "project" / shop.source_folder / str(plan.recipe.build.package)
        place.mkdir(parents=True, exist_ok=True)
        write_text(place / "pyproject.toml", "# Made by build.steps.\n")
    output = shop.folder / "wheels"
    target = plan.inputs.target
    command = Command(
        args=[
            *(sys.executable, "-S", "-P", "-m", "cibuildwheel"),
            *("--only", f"{target.python_tag}-manylinux_{target.arch}"),
            *("--config-file", config, "--output-dir", output),
            "/".join(filter(None, (shop.source_folder, plan.recipe.build.package))),
        ],
        environment=_environment(engine, tools, plan),
        folder=shop.folder / "project",
    )
    reporter.detail(f"+ {command.shown()}")
    engine.remove_containers(label(plan, shop), reporter)
    lines: list[str] = []
    with reporter.step(f"Building {plan.title}") as step:
        try:
            with log.open("wb") as kept:
                code = stream(command, follow(lines, step), log=kept)
        finally:
            # Nothing is there after a good end; whatever else ended it, its container goes.
            engine.remove_containers(label(plan, shop), reporter)
        if code != 0:
            raise failure(plan, command, ("cibuildwheel", code), lines, log)
    if error := ignored(plan, lines, log) or refused(plan, lines, log):
        raise error
    return one_wheel(plan, output, log)


def prepare(
    plan: BuildPlan, shop: Workshop, blob: Callable[[str], Path], patch: Callable[[str], Path]
) -> Path:
    """Lay out the project folder; returns where the source has to be unpacked."""
    return lay_out(plan, shop, blob, patch) / shop.source_folder


def _environment(engine: Engine, tools: Path, plan: BuildPlan) -> dict[str, str]:
    """Nothing of the caller's environment but what the engine's client needs."""
    found = {name: os.environ[name] for name in PASSED if name in os.environ}
    return found | {
        **engine.environment,
        "PYTHONPATH": str(tools),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(plan.inputs.source.epoch),
    }


def one_wheel(plan: BuildPlan, output: Path, log: Path) -> Path:
    """The wheel that was made here, with the evidence that was ordered.

    The build ran as root in its container: what it left is not believed, but compared.
    """
    version = plan.version
    wheels = sorted(output.glob("*.whl"))
    expected = f"{escaped(plan.distribution)}-{version}-"
    if len(wheels) != 1 or not wheels[0].name.startswith(expected):
        raise BuildFailed(
            f"building {plan.title} left {[wheel.name for wheel in wheels]}, "
            f"not one {expected}*.whl",
            cause="the build replaced what kvpack put into the container",
            hint=f"the full log is {log}",
        )
    wheel = wheels[0]
    if wheel.is_symlink() or not wheel.is_file() or not _has_evidence(wheel, output.parent):
        raise BuildFailed(
            f"building {plan.title} left {wheel.name} without the evidence that was ordered",
            cause="the build replaced the wheel, or what kvpack put into the container",
            hint=f"the full log is {log}",
        )
    return wheel


def _has_evidence(wheel: Path, shop: Path) -> bool:
    evidence = shop / "project" / INPUTS / "evidence"
    ordered = {
        path.relative_to(evidence).as_posix(): path.read_bytes()
        for path in evidence.rglob("*")
        if path.is_file()
    }
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = next(
                name.rpartition("/")[0]
                for name in archive.namelist()
                if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)
            )
            return bool(ordered) and all(
                # The size first: a member may be made to fill all memory.
                archive.getinfo(f"{info}/{name}").file_size == len(data)
                and archive.read(f"{info}/{name}") == data
                for name, data in ordered.items()
            )
    # RuntimeError: encrypted, or packed in a way that Python does not know.
    except (*_NO_ZIP, StopIteration, KeyError, RuntimeError):
        return False
