"""What a failed build's log says of the cause, for people. Pure."""

import re
from collections.abc import Callable
from pathlib import Path

from kvpack.build.ignored import ignored, unknown_options
from kvpack.build.model import BuildPlan
from kvpack.build.project import PATCH_MARK
from kvpack.build.steps import STEP_MARK, commands_of, repairs_of
from kvpack.errors import BuildFailed, KvpackError, PatchFailed
from kvpack.report import Step
from kvpack.tools.process import TAIL, Command


def follow(lines: list[str], step: Step) -> Callable[[str], None]:
    """Keep the lines of a build's output, without colours, and show the last one."""

    def on_line(line: str) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        lines.append(plain)
        step.line(plain)

    return on_line


def failure(
    plan: BuildPlan, command: Command | None, ended: tuple[str, int], lines: list[str], log: Path
) -> KvpackError:
    """The error of a build that failed: what failed, as far as the words of tools tell.

    :param command: what could be tried by hand; ``None``: its container is gone.
    :param ended: the program that ran the build, and its exit code.
    """
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
        f"building {plan.title} failed ({ended[0]} exited with code {ended[1]})",
        cause=f"{_failed_step(plan, lines)}{_guess(lines)}the last lines are:\n  {shown}",
        hint=f"the full log is {log}"
        + (f"; the command was: {command.shown()}" if command else ""),
    )


def _failed_step(plan: BuildPlan, lines: list[str]) -> str:
    """Which step of the recipe failed, in words; empty: none."""
    lists = {"build.steps": commands_of(plan), "build.repaired": repairs_of(plan)}
    for line in lines:
        told = re.search(rf"{re.escape(STEP_MARK)} (\d+) of (\S+)$", line)
        commands = lists.get(told[2], []) if told else []
        if told and 0 < int(told[1]) <= len(commands):
            command = " ".join(commands[int(told[1]) - 1].split())
            shown = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}…"
            return f"step {told[1]} of {told[2]} failed ({shown}); "
    return ""


_SHOWN = 80
"""Letters of a step in a message."""


def _patch_named(plan: BuildPlan, name: str) -> str:
    """A patch as people know it: its file, or its id and commit."""
    found = next((patch for patch in plan.inputs.patches if patch.name == name), None)
    if found is None or found.commit is None:
        return name
    return f"{found.id} (commit {found.commit[:12]})"


_GO_LACKS = (
    "Go asks for {0}, which is not locked: name the folder of its go.mod and go.sum in "
    "build.go.modules, lock again; "
)
_GO_SUM_LACKS = "the go.sum of the source does not name {0} (go mod tidy completes it); "
_GUESSES = {
    r"required library \"(\S+?)\" could not be located": "{0} is needed and not in the root "
    "(audit.host-libraries in the recipe, if the host has it); ",
    r"too-recent versioned symbols": "the binaries need a newer glibc than the floor; ",
    r"kvpack: rename failed: (\S+ has no \[project\] name)": "{0}: build.rename cannot change it; ",
    r"kvpack: merge failed: (.+)": "the builds for several versions of torch differ in more than "
    "build.torch-adds names: {0}; ",
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
    r"(?:could not get|WrapDB connection failed to) (https?://\S+?);? (?:is the|with)": "meson "
    "downloads {0}, and builds have no network: name its subproject in build.wraps, lock again; ",
    r"(\S+@v[0-9][\w.+-]*): (?:reading file:|Get \"https?:)": _GO_LACKS,
    r"(?:cannot find|no required) module (?:providing|provides) package ([^\s:;]+)": _GO_LACKS,
    r"missing go\.sum entry for module providing package ([^\s;]+)": _GO_SUM_LACKS,
    r"(\S+@v[0-9][\w.+-]*): missing go\.sum entry": _GO_SUM_LACKS,
    r"go: (go\.mod requires go >= \S+) \(running go": "{0}: widen build.go.toolchain; ",
    r"\b(go): (?:command )?not found": "{0} is not in the root (build.go in the recipe); ",
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
