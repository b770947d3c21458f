"""The script of a recipe's ``build.steps``: what runs before the back end. Pure."""

import re
import shlex

from kvpack.build.model import BuildPlan
from kvpack.lock.source import LockedGit

STEP_MARK = "kvpack: step failed:"
"""Printed with the step's number when it fails."""


def options_of(plan: BuildPlan, tool: str) -> list[str]:
    """The target's options of a build system (``cmake``, ``meson``) as its arguments."""
    target = plan.inputs.target
    options = plan.recipe.options_for(target.version, target.accelerator).values()
    return [
        f"-D{variable}={value}" for option, value in options if (variable := getattr(option, tool))
    ]


def commands_of(plan: BuildPlan) -> list[str]:
    """The recipe's steps for the target."""
    target = plan.inputs.target
    return plan.recipe.commands_for(target.version, target.accelerator)


def steps_script(plan: BuildPlan, source: str) -> str:
    """A bash script: each step in a shell of its own, in the source's root.

    What a step learns (PYTHON, JOBS …) is not for the back end; options that set an environment
    variable reach both.
    """
    variables = {
        "KVPACK_CMAKE_OPTIONS": " ".join(options_of(plan, "cmake")),
        "KVPACK_MESON_OPTIONS": " ".join(options_of(plan, "meson")),
        "PYTHON_VERSION": plan.inputs.target.python,
        "PLATFORM_TAG": plan.inputs.target.platform_tag,
    }
    lines = ["#!/bin/bash", "set -euo pipefail", f"cd {shlex.quote(source)}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines += ['PYTHON="$(command -v python)"', 'JOBS="$(nproc)"', "export PYTHON JOBS"]
    commands = commands_of(plan)
    for number, command in enumerate(commands, 1):
        shown = re.sub(r"\s+", " ", command)
        title = shlex.quote(f"kvpack: step {number} of {len(commands)}: {shown}")
        run = f"bash -euo pipefail -c {shlex.quote(command)}"
        lines += [f"echo {title}", f"{run} || {{ echo '{STEP_MARK} {number}'; exit 1; }}"]
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
