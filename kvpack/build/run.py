"""Runs the real cibuildwheel, one process for one target, and takes the one wheel it leaves."""

import lzma
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from kvpack.build.ignored import ignored, refused, unknown_options
from kvpack.build.model import BuildPlan, Workshop
from kvpack.build.project import INPUTS, PATCH_MARK, configuration, label, lay_out
from kvpack.build.stamp import escaped
from kvpack.build.steps import STEP_MARK, commands_of
from kvpack.errors import BuildFailed, KvpackError, PatchFailed
from kvpack.report import Reporter, Step
from kvpack.tools.engine import PASSED, Engine
from kvpack.tools.files import write_text
from kvpack.tools.process import TAIL, Command, stream

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
                code = stream(command, _follow(lines, step), log=kept)
        finally:
            # Nothing is there after a good end; whatever else ended it, its container goes.
            engine.remove_containers(label(plan, shop), reporter)
        if code != 0:
            raise _failure(plan, command, code, lines, log)
    if error := ignored(plan, lines, log) or refused(plan, lines, log):
        raise error
    return _one_wheel(plan, output, log)


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


def _follow(lines: list[str], step: Step) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        lines.append(plain)
        step.line(plain)

    return on_line


def _failure(
    plan: BuildPlan, command: Command, code: int, lines: list[str], log: Path
) -> KvpackError:
    # meson stops at an option that it does not know: the same failure as of one that goes unused.
    if unknown_options(lines) and (error := ignored(plan, lines, log)):
        return error
    for line in lines:
        if PATCH_MARK in line:
            name = line.rpartition(PATCH_MARK)[2].strip()
            rejects = [text for text in lines if "FAILED" in text or "can't find file" in text]
            return PatchFailed(
                f"patch {_patch_named(plan, name)} does not apply to {plan.inputs.source.file}",
                cause="; ".join(rejects[:5]) or "its context is not in the source",
                hint=f"make it anew for this version, or limit it with when = in "
                f"recipes/{plan.recipe.name}.toml; the log is {log}",
            )
    shown = "\n  ".join(line for line in lines[-TAIL:])
    return BuildFailed(
        f"building {plan.title} failed (cibuildwheel exited with code {code})",
        cause=f"{_failed_step(plan, lines)}{_guess(lines)}the last lines are:\n  {shown}",
        hint=f"the full log is {log}; the command was: {command.shown()}",
    )


def _failed_step(plan: BuildPlan, lines: list[str]) -> str:
    """Which step of the recipe failed, in words; empty: none."""
    for line in lines:
        number = line.rpartition(STEP_MARK)[2].strip() if STEP_MARK in line else ""
        commands = commands_of(plan)
        if number.isdecimal() and 0 < int(number) <= len(commands):
            command = " ".join(commands[int(number) - 1].split())
            shown = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}…"
            return f"step {number} of build.steps failed ({shown}); "
    return ""


_SHOWN = 80
"""Letters of a step in a message."""


def _patch_named(plan: BuildPlan, name: str) -> str:
    """A patch as people know it: its file, or its id and commit."""
    found = next((patch for patch in plan.inputs.patches if patch.name == name), None)
    if found is None or found.commit is None:
        return name
    return f"{found.id} (commit {found.commit[:12]})"


_GUESSES = {
    r"required library \"(\S+?)\" could not be located": "{0} is needed and not in the root "
    "(audit.host-libraries in the recipe, if the host has it); ",
    r"too-recent versioned symbols": "the binaries need a newer glibc than the floor; ",
    r"kvpack: rename failed: (\S+ has no \[project\] name)": "{0}: build.rename cannot change it; ",
    r"kvpack: (the source builds version \S+, not \S+)": "{0}: correct [versions]; ",
    r"(?:Missing|Unmet) dependencies[^\n]*:((?:\n[ \t]+\S[^\n]*)+)": "the build requirement {0} "
    "is not locked (build.requires in the recipe); ",
    r"fatal error: (\S+): No such file": "the header {0} is missing (build.debian in the recipe); ",
    r"cannot find -l([\w.+-]+)": "the library lib{0} is missing (build.debian in the recipe); ",
    r"required packages were not found:\s+- ([^\s<>=!]+)": "pkg-config found no {0} "
    "(build.debian in the recipe); ",
    r"(?m)^(?!--).*?(?:No package '|Package '?)([^\s',]+)'?(?: found|, required by| was not )": (
        "pkg-config found no {0} (build.debian in the recipe); "
    ),
    r"CMake Error[^\n]*\n\s+Could NOT find (\w+)": "CMake found no {0} "
    "(build.debian in the recipe); ",
    r"ModuleNotFoundError: No module named '([\w.]+)'": "the build imports {0}, which is "
    "not locked (build.requires in the recipe); ",
    r"Could ?n[o']t resolve (?:host|proxy):? '?([\w.-]+)": "the build tries to download from {0}, "
    "and builds have no network (build.debian, or an option that turns it off); ",
    r"No space left on device": "the disk that holds the containers is full; ",
}
"""Words of tools -> the likely cause, the surest first; a note about something optional is none."""


def _guess(lines: list[str]) -> str:
    text = "\n".join(lines)
    for pattern, words in _GUESSES.items():
        if found := list(re.finditer(pattern, text)):
            block = "\n".join(one for match in found for one in match.groups())
            # build tells of each requirement in two more lines: wanted, found.
            named = re.sub(r"(?m)^\s*(wanted|found): .*$", "", block).split("\n")
            named = [name.rpartition(" -> ")[2].strip() for name in named]
            return words.format(", ".join(list(dict.fromkeys(filter(None, named)))[:6]))
    return ""


def _one_wheel(plan: BuildPlan, output: Path, log: Path) -> Path:
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
