"""The script of a recipe's ``build.steps``: what runs before the back end. Pure."""

import re
import shlex

from kvpack.build.model import BuildPlan
from kvpack.lock.source import LockedGit
from kvpack.recipe.steps import OPTIONS

STEP_MARK = "kvpack: step failed:"
"""Printed with the step's number and its list (``build.steps``) when it fails."""


def options_of(plan: BuildPlan, tool: str) -> list[str]:
    """The target's options of a build system (``cmake``, ``configure`` …) as its arguments."""
    target = plan.inputs.target
    options = plan.recipe.options_of(target).values()
    head = "--" if tool == "configure" else "-D"
    return [f"{head}{name}={value}" for option, value in options if (name := getattr(option, tool))]


def commands_of(plan: BuildPlan) -> list[str]:
    """The recipe's steps for the target."""
    target = plan.inputs.target
    return plan.recipe.commands_for(target.version, target.accelerator)


def repairs_of(plan: BuildPlan) -> list[str]:
    """What changes the repaired wheel."""
    target = plan.inputs.target
    return plan.recipe.repairs_for(target.version, target.accelerator)


def steps_script(plan: BuildPlan, source: str) -> str:
    """A bash script: each step in a shell of its own, in the source's root.

    What a step learns (PYTHON, JOBS …) is not for the back end; options that set an environment
    variable reach both.
    """
    target, library = plan.inputs.target, plan.recipe.library
    variables = {name: " ".join(options_of(plan, tool)) for tool, name in OPTIONS.items()}
    if library is None:
        variables |= {"PYTHON_VERSION": target.python, "PLATFORM_TAG": target.platform_tag}
    else:
        variables["PREFIX"] = library.prefix
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if library is None:
        lines += ['PYTHON="$(command -v python)"', "export PYTHON"]
    lines += ['JOBS="$(nproc)"', "export JOBS"]
    return _script(source, lines, commands_of(plan))


def repaired_script(plan: BuildPlan, source: str) -> str:
    """A bash script that gets the wheel's path, for ``build.repaired``."""
    lines = ['WHEEL="$1"', 'PYTHON="$(command -v python)"', "export WHEEL PYTHON"]
    return _script(source, lines, repairs_of(plan), "build.repaired")


def _script(source: str, lines: list[str], commands: list[str], key: str = "build.steps") -> str:
    lines = ["#!/bin/bash", "set -euo pipefail", f"cd {shlex.quote(source)}", *lines]
    for number, command in enumerate(commands, 1):
        shown = re.sub(r"\s+", " ", command)
        title = shlex.quote(f"kvpack: step {number} of {len(commands)}: {shown}")
        run = f"bash -euo pipefail -c {shlex.quote(command)}"
        mark = f"{STEP_MARK} {number} of {key}"
        lines += [f"echo {title}", f"{run} || {{ echo '{mark}'; exit 1; }}"]
    return "\n".join(lines) + "\n"


def git_head(plan: BuildPlan, source: str) -> list[str]:
    """Shell lines that give the source a ``.git`` of one file, so that git can name its commit.

    An exported tree has none, and some sources ask ``git rev-parse HEAD`` who they are. There are
    no objects: git can tell nothing else.
    """
    locked = plan.inputs.source
    if not plan.recipe.build.git_head or not isinstance(locked, LockedGit):
        return []
    folder = shlex.quote(f"{source}/.git")
    return [
        f"mkdir -p {folder}/objects {folder}/refs",
        f"echo {locked.commit} > {folder}/HEAD",
    ]
