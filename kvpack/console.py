"""The face: steps with times on stderr, live or folded in CI logs; results on stdout."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TextIO

from kvpack.errors import KvpackError

if TYPE_CHECKING:
    from rich.status import Status

QUIET, NORMAL, VERBOSE = -1, 0, 1
_STYLES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
JSON_VERSION = 1
"""The version field of every ``--json`` answer."""


def wants_color(stream: TextIO, choice: str) -> bool:
    """``--color``, then NO_COLOR and FORCE_COLOR, then whether it is a terminal."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


@dataclass
class Console:
    """Draws narration and results. ``verbosity`` is -1, 0 or 1 (``-q``, ``-v``)."""

    verbosity: int = NORMAL
    color: str = "auto"
    as_json: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    # -- narration: the Reporter port --------------------------------------------------------

    def step(self, title: str) -> "_Step":
        return _Step(self, title)

    def note(self, text: str) -> None:
        self._say(text, least=NORMAL)

    def detail(self, text: str) -> None:
        self._say(self.paint(text, "dim"), least=VERBOSE)

    def warn(self, text: str) -> None:
        self._say(self.paint("warning: ", "yellow") + text, least=QUIET)

    def _say(self, text: str, *, least: int) -> None:
        if self.verbosity >= least:
            self.err.write(text + "\n")
            self.err.flush()

    def paint(self, text: str, style: str, stream: TextIO | None = None) -> str:
        if not wants_color(stream or self.err, self.color):
            return text
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    # -- results ------------------------------------------------------------------------------

    def print(self, text: str = "") -> None:
        """A line of the result, on stdout."""
        self.out.write(text + "\n")

    def answer(self, kind: str, content: dict[str, Any]) -> None:
        """The ``--json`` twin of a result: one object, with its kind and version."""
        document = {"version": JSON_VERSION, "kind": kind, **content}
        self.out.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their content; the last one wraps on a terminal (rich)."""
        colored = wants_color(self.out, self.color)
        if not colored and not self.out.isatty() and _is_plain(columns, rows):
            self.out.write(_plain_table(columns, rows))
            return
        from rich import box  # noqa: PLC0415  # late: only results that have tables pay for it
        from rich.console import Console as Rich  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        width = None if self.out.isatty() else 10_000
        rich = Rich(
            file=self.out,
            width=width,
            force_terminal=colored,  # else rich reads FORCE_COLOR on its own, against --color
            no_color=not colored,
            highlight=False,
        )
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        with rich.capture() as captured:
            rich.print(table)
        self.out.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")

    def error(self, error: KvpackError) -> None:
        """What failed, why, and what to do; as JSON on stdout with ``--json``."""
        if self.as_json:
            self.answer("error", error.as_json())
        lines = [self.paint("error: ", "red") + error.what]
        for fault in error.faults:
            lines.append(f"  {self.paint(fault.place, 'bold')}: {fault.message}")
            if fault.hint:
                lines.append(f"      {fault.hint}")
        if error.cause:
            lines.append(self.paint("cause: ", "bold") + error.cause)
        if error.hint:
            lines.append(self.paint("next:  ", "bold") + error.hint)
        self.err.write("\n".join(lines) + "\n")
        self.err.flush()


def _is_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether every cell of a table is one line, as wide as it is long."""
    return bool(re.fullmatch("[ -~…]*", "".join(cell for row in (columns, *rows) for cell in row)))


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The text that rich gives outside a terminal: ten thousand rows take it two seconds."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = ["   ".join(map(str.ljust, row, widths)).rstrip() for row in (columns, *rows)]
    lines.insert(1, "─" * (sum(widths) + 3 * (len(widths) - 1)))
    return "\n".join(lines) + "\n"


class _Step:
    """A step on the screen: a spinner on a terminal, a folded group in CI, else two lines."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.start = 0.0
        self.status: Status | None = None
        self.shown = ""
        self.folding = False

    def __enter__(self) -> Self:
        self.start = time.monotonic()
        console = self.console
        if console.verbosity < NORMAL:
            return self
        self.folding = bool(os.environ.get("GITHUB_ACTIONS") or os.environ.get("BUILDKITE"))
        if self.folding:
            mark = "::group::" if os.environ.get("GITHUB_ACTIONS") else "--- "
            console.err.write(f"{mark}{self.title}\n")
        elif (
            console.err.isatty()
            and console.verbosity == NORMAL
            and os.environ.get("TERM") != "dumb"
        ):
            from rich.console import Console as Rich  # noqa: PLC0415

            self.status = Rich(file=console.err).status(self.title)
            self.status.start()
        else:
            console.err.write(f"{self.title} ...\n")
        console.err.flush()
        return self

    def __exit__(self, *exc: object) -> None:
        seconds = time.monotonic() - self.start
        console = self.console
        if self.status:
            self.status.stop()
        if console.verbosity < NORMAL:
            return
        failed = exc[0] is not None
        mark = console.paint("failed", "red") if failed else console.paint("done", "green")
        if self.folding and os.environ.get("GITHUB_ACTIONS"):
            console.err.write("::endgroup::\n")
        console.err.write(f"{self.title}: {mark} in {seconds:.1f} s\n")
        console.err.flush()

    def progress(self, done: int, total: int, unit: str) -> None:
        if self.status:
            amount, whole = (
                (human_size(done), human_size(total)) if unit == "B" else (str(done), str(total))
            )
            self._update(f"{amount} of {whole}" if total else amount)

    def line(self, text: str) -> None:
        if self.folding or self.console.verbosity >= VERBOSE:
            self.console.err.write(f"  {text}\n")
        elif self.status and text.strip():
            self._update(text.strip())

    def _update(self, text: str) -> None:
        from rich.markup import escape  # noqa: PLC0415

        if self.status:
            took = f"{time.monotonic() - self.start:.0f} s"
            room = shutil.get_terminal_size().columns - len(self.title) - len(took) - 6
            shown = escape(text[: max(room, 0)])
            self.status.update(f"{escape(self.title)} [dim]{took}  {shown}[/]")


def human_size(count: int) -> str:
    """Bytes for people: ``344 kB``, ``41.9 MB`` (powers of 1000)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def human_time(seconds: float) -> str:
    """``0.2 s``, ``35.9 s``, ``2 min 5 s``."""
    if seconds < 100:  # noqa: PLR2004  # one decimal as long as it says something
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
