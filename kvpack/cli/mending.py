"""Shows a diagnosis, and runs the commands that mend: asked for, in order, each once."""

import shlex
import shutil
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.errors import ToolFailed, UsageError
from kvpack.names import counted

if TYPE_CHECKING:
    from kvpack.console import Console
    from kvpack.doctor.model import Diagnosis, Finding
    from kvpack.doctor.patient import Patient

_COLORS = {"error": "red", "warning": "yellow", "note": "dim"}
_TOOLS = {
    "pip": "pip",
    "uv": "uv",
    "system": "system",
    "environment": "variable",
    "file": "file",
    "kernel": "kernel",
}


@dataclass(frozen=True)
class Planned:
    """The commands that mend what pip or uv can mend."""

    tool: str
    commands: tuple[str, ...]


def plan(diagnosis: "Diagnosis", patient: "Patient", choice: str) -> Planned | None:
    """The commands of one tool, errors first.

    A finding about a distribution that an earlier one already changes is left for the next look:
    its commands were made for the environment as it is now.
    """
    with_pip = patient.environment.named("pip") is not None
    tool = choice if choice != "auto" else "pip" if with_pip else "uv"
    commands: list[str] = []
    touched: set[str] = set()
    for finding in diagnosis.findings:
        if finding.severity == "note":
            continue
        mine = [mend.command for mend in finding.mend if mend.tool == tool]
        names = {name for command in mine for name in _names(command, patient)}
        if mine and not names & touched:
            commands += mine
            touched |= names
    return Planned(tool, tuple(commands)) if commands else None


def _names(command: str, patient: "Patient") -> set[str]:
    """The distributions that a command names."""
    from kvpack.doctor.mends import name_of
    from kvpack.names import normalize

    words = [name_of(word) for word in shlex.split(command)]
    known = {one.name for one in patient.environment.distributions}
    named = [word for word in words[1:] if "/" not in word and not word.startswith("-")]
    return {normalize(word) for word in named} & known or set(named[-1:])


def agreed(planned: Planned, context: Context, *, yes: bool) -> bool:
    """Ask, on a terminal.

    :raises UsageError: if nobody can be asked.
    """
    console = context.console
    console.note("")
    for command in planned.commands:
        console.note(f"  {command}")
    if yes:
        return True
    if not sys.stdin.isatty() or console.as_json:
        raise UsageError(
            "--fix asks before it changes anything, and nobody can answer here",
            cause="standard input is no terminal, or --json is given",
            hint="kvpack doctor --fix --yes runs them without asking",
        )
    console.err.write(f"Run these {len(planned.commands)} commands? [y/N] ")
    console.err.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def carry_out(planned: Planned, context: Context) -> list[str]:
    """Run the commands one after the other.

    :raises ToolFailed: at the first that fails; those before it have been run.
    """
    from kvpack.tools import uv
    from kvpack.tools.process import Command, check

    for number, shown in enumerate(planned.commands):
        words = shlex.split(shown)
        if words[0] == "uv":
            words[0] = uv.program()
        try:
            with context.console.step(shown):
                check(Command(args=words, args_shown=shlex.split(shown)), context.console)
        except ToolFailed as failure:
            left = "\n       ".join(planned.commands[number:])
            raise ToolFailed(
                failure.what,
                cause=failure.cause,
                hint=f"mend that, then run what is left:\n       {left}",
            ) from failure
    return list(planned.commands)


# -- showing ------------------------------------------------------------------------------------


def show(diagnosis: "Diagnosis", console: "Console") -> None:
    """What was looked at, what is wrong, how to mend it, what could not be looked at."""
    for line in diagnosis.looked_at:
        console.print(line)
    console.print()
    for number, finding in enumerate(diagnosis.findings, 1):
        _finding(number, finding, console)
    for line in diagnosis.not_checked:
        console.print(console.paint(f"not checked: {line}", "dim", console.out))
    if diagnosis.not_checked:
        console.print()
    counts = ", ".join(
        counted(count, severity) for severity, count in diagnosis.counts.items() if count
    )
    console.print(counts or "nothing to mend")


def _wrapped(text: str, console: "Console") -> list[str]:
    """Lines that fit a terminal; one line for a file or a pipe. Commands are never wrapped."""
    if not console.out.isatty():
        return [text] if text else []
    width = max(40, shutil.get_terminal_size().columns - 3)
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _finding(number: int, finding: "Finding", console: "Console") -> None:
    mark = console.paint(finding.severity, _COLORS[finding.severity], console.out)
    place = console.paint(finding.place, "bold", console.out)
    console.print(f"{number}. {mark} {finding.check}: {place}")
    for line in _wrapped(finding.message, console):
        console.print(f"   {line}")
    for line in _wrapped(finding.why, console):
        console.print(console.paint(f"   {line}", "dim", console.out))
    before = ""
    for mend in finding.mend:
        label = "" if mend.tool == before else f"{_TOOLS[mend.tool]}:"
        console.print(f"   {label:<10}{mend.command}")
        before = mend.tool
    console.print()
