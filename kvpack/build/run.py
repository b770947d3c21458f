"""Runs the real cibuildwheel, one process for one target, and takes the one wheel it leaves."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from kvpack.build.key import local_version
from kvpack.build.model import BuildPlan, Workshop
from kvpack.build.project import LABEL, PATCH_MARK, configuration, lay_out
from kvpack.build.stamp import escaped
from kvpack.errors import BuildFailed, OptionIgnored, PatchFailed
from kvpack.report import Reporter, Step
from kvpack.tools.engine import PASSED, Engine
from kvpack.tools.files import write_text
from kvpack.tools.process import TAIL, Command, stream

_NOT_USED = "Manually-specified variables were not used by the project"
"""CMake's words for a -D that nothing read (cmCacheManager; all versions since 2.8)."""


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
            *("--config-file", config, "--output-dir", output, shop.source_folder),
        ],
        environment=_environment(engine, tools, plan),
        folder=shop.folder / "project",
    )
    reporter.detail(f"+ {command.shown()}")
    engine.remove_containers(f"{LABEL}={plan.key}", reporter)
    lines: list[str] = []
    with reporter.step(f"Building {plan.title}") as step:
        try:
            with log.open("wb") as kept:
                code = stream(command, _follow(lines, step), log=kept)
        finally:
            # Nothing is there after a good end; whatever else ended it, its container goes.
            engine.remove_containers(f"{LABEL}={plan.key}", reporter)
        if code != 0:
            raise _failure(plan, command, code, lines, log)
    _check_options(plan, lines, log)
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
) -> BuildFailed | PatchFailed:
    for line in lines:
        if PATCH_MARK in line:
            name = line.rpartition(PATCH_MARK)[2].strip()
            rejects = [text for text in lines if "FAILED" in text or "can't find file" in text]
            return PatchFailed(
                f"patch {name} does not apply to {plan.inputs.source.file}",
                cause="; ".join(rejects[:5]) or "its context is not in the source",
                hint=f"make it anew for this version, or limit it with when = in "
                f"recipes/{plan.recipe.name}.toml; the log is {log}",
            )
    shown = "\n  ".join(line for line in lines[-TAIL:])
    return BuildFailed(
        f"building {plan.title} failed (cibuildwheel exited with code {code})",
        cause=f"{_guess(lines)}the last lines are:\n  {shown}",
        hint=f"the full log is {log}; the command was: {command.shown()}",
    )


_GUESSES = {
    r"fatal error: (\S+): No such file": "a header is missing: {0} (build.debian in the recipe); ",
    r"Could NOT find (\w+)": "CMake found no {0} (build.debian in the recipe); ",
    r"Missing dependencies:": "a build requirement is not locked (build.requires in the recipe); ",
    r"cannot find -l(\w+)": "a library is missing: lib{0} (build.debian in the recipe); ",
    r"too-recent versioned symbols": "the binaries need a newer glibc than the floor; ",
    r"No space left on device": "the disk that holds the containers is full; ",
}


def _guess(lines: list[str]) -> str:
    text = "\n".join(lines)
    for pattern, words in _GUESSES.items():
        if found := re.search(pattern, text):
            return words.format(*found.groups())
    return ""


def _check_options(plan: BuildPlan, lines: list[str], log: Path) -> None:
    """An option that CMake did not read must not pass for one that was set (promise 7)."""
    start = next((n for n, line in enumerate(lines) if _NOT_USED in line), None)
    if start is None:
        return
    unused = {line.strip() for line in lines[start + 1 : start + 40]}
    target = plan.inputs.target
    mine = plan.recipe.options_for(target.version, target.accelerator)
    ignored = sorted(n for n, (o, _) in mine.items() if o.cmake and o.cmake in unused)
    if ignored:
        raise OptionIgnored(
            f"{plan.title}: CMake ignored the option{'s' if len(ignored) > 1 else ''} "
            + ", ".join(f"{name} ({mine[name][0].cmake})" for name in ignored),
            cause=f"version {target.version} has no such variable",
            hint=f"correct options.{ignored[0]} in recipes/{plan.recipe.name}.toml, or limit it "
            f"with when =; the log is {log}",
        )


def _one_wheel(plan: BuildPlan, output: Path, log: Path) -> Path:
    version = local_version(plan.inputs.target.version, plan.key)
    wheels = sorted(output.glob("*.whl"))
    expected = f"{escaped(plan.distribution)}-{version}-"
    if len(wheels) != 1 or not wheels[0].name.startswith(expected):
        raise BuildFailed(
            f"building {plan.title} left {[wheel.name for wheel in wheels]}, "
            f"not one {expected}*.whl",
            cause="the source builds another distribution or version than the recipe says",
            hint=f"the full log is {log}",
        )
    return wheels[0]
