"""The face: narration on stderr, results on stdout, the same facts for people and programs."""

import io
import json
import re

import pytest

from kvpack.console import (
    NORMAL,
    QUIET,
    VERBOSE,
    Console,
    human_size,
    human_time,
    wants_color,
)
from kvpack.errors import Fault, RecipeInvalid

ESCAPE = "\x1b["


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)


def console(verbosity: int = NORMAL, **more: object) -> Console:
    found = Console(verbosity=verbosity, out=io.StringIO(), err=io.StringIO())
    for name, value in more.items():
        setattr(found, name, value)
    return found


def said(one: Console) -> str:
    assert isinstance(one.err, io.StringIO)
    return one.err.getvalue()


def answered(one: Console) -> str:
    assert isinstance(one.out, io.StringIO)
    return one.out.getvalue()


def work(one: Console, *, fails: bool = False) -> str:
    """A step with a line of output and progress; returns what was said, times left out."""

    def step() -> None:
        with one.step("Building x") as running:
            running.line("compiling")
            running.progress(1, 2, "B")
            if fails:
                raise ValueError

    if fails:
        with pytest.raises(ValueError):  # noqa: PT011  # it has no text
            step()
    else:
        step()
    return re.sub(r"\d+\.\d s", "T", said(one))


# -- steps ---------------------------------------------------------------------------------


def test_a_plain_step_is_two_lines_and_keeps_the_tools_output_to_itself() -> None:
    assert work(console()) == "Building x ...\nBuilding x: done in T\n"


def test_a_failed_step_says_so() -> None:
    assert work(console(), fails=True) == "Building x ...\nBuilding x: failed in T\n"


def test_v_shows_the_tools_output() -> None:
    assert work(console(VERBOSE)) == "Building x ...\n  compiling\nBuilding x: done in T\n"


def test_q_shows_nothing_of_a_step() -> None:
    assert work(console(QUIET)) == ""
    assert work(console(QUIET), fails=True) == ""


def test_github_folds_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    expected = "::group::Building x\n  compiling\n::endgroup::\nBuilding x: {} in T\n"
    assert work(console()) == expected.format("done")
    assert work(console(), fails=True) == expected.format("failed")


def test_buildkite_folds_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKITE", "true")
    assert work(console()) == "--- Building x\n  compiling\nBuilding x: done in T\n"


def test_a_terminal_shows_a_live_line_with_amounts() -> None:
    one = console(err=Terminal())
    with one.step("Fetching [x]") as step:
        step.progress(1_500_000, 42_000_000, "B")
        step.progress(2_500_000, 0, "B")
        step.progress(3, 7, "packages")
        step.line("last [words]")
        step.line("   ")
    text = said(one)
    assert "Fetching [x]" in text
    assert re.search(r"Fetching \[x\]: \x1b\[32mdone\x1b\[0m in \d+\.\d s\n$", text)


def live(*events: tuple[int, int, str] | str) -> str:
    """What the live line of a terminal shows after these events."""
    one = console(err=Terminal())
    shown: list[str] = []
    with one.step("x") as step:
        assert step.status is not None
        for event in events:
            if isinstance(event, str):
                step.line(event)
            else:
                step.progress(*event)
            shown.append(str(step.status.status))
    return re.sub(r"\d+ s", "T", shown[-1])


def test_the_live_line_tells_how_far_it_is() -> None:
    assert live((1_500_000, 42_000_000, "B")) == "x [dim]T  1.5 MB of 42.0 MB[/]"
    assert live((3, 7, "packages")) == "x [dim]T  3 of 7[/]"
    assert live("last [b]words[/b]", "  ") == "x [dim]T  last \\[b]words\\[/b][/]"


def test_an_unknown_total_is_not_shown_as_zero() -> None:
    assert live((2_500_000, 0, "B")) == "x [dim]T  2.5 MB[/]"
    assert live((3, 0, "packages")) == "x [dim]T  3[/]"


@pytest.mark.parametrize(("verbosity", "term"), [(VERBOSE, "xterm"), (NORMAL, "dumb")])
def test_no_live_line_where_it_would_disturb(
    verbosity: int, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert work(console(verbosity, err=Terminal(), color="never")).startswith("Building x ...\n")


# -- levels --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [
        (QUIET, "warning: act\n"),
        (NORMAL, "note\nwarning: act\n"),
        (VERBOSE, "note\n+ cmd\nwarning: act\n"),
    ],
)
def test_levels_of_narration(verbosity: int, expected: str) -> None:
    one = console(verbosity)
    one.note("note")
    one.detail("+ cmd")
    one.warn("act")
    assert said(one) == expected
    assert answered(one) == ""


# -- colour --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_who_decides_about_colour(
    choice: str,
    environment: dict[str, str],
    *,
    terminal: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """https://no-color.org : the command line, then NO_COLOR if it is not empty."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert wants_color(stream, choice) is expected
    one = console(color=choice, err=stream, out=stream)
    one.warn("act")
    one.table(["name"], [["x"]])
    assert (ESCAPE in stream.getvalue()) is expected


def test_colour_is_chosen_for_each_stream() -> None:
    one = console(err=Terminal())
    assert one.paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert one.paint("x", "red", one.out) == "x"


# -- results -------------------------------------------------------------------------------


def test_results_go_to_stdout_alone() -> None:
    one = console(QUIET)
    one.print("a result")
    one.print()
    assert (answered(one), said(one)) == ("a result\n\n", "")


def test_an_answer_is_one_object_with_its_kind_and_version() -> None:
    one = console()
    one.answer("plan", {"targets": ["ä"]})
    assert json.loads(answered(one)) == {"version": 1, "kind": "plan", "targets": ["ä"]}
    assert "ä" in answered(one)


def test_columns_are_never_cut_when_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    one = console()
    one.table(["name", "digest"], [["x" * 300, "y" * 64], ["[bold]literal[/bold]", ""]])
    lines = answered(one).splitlines()
    assert lines[2].split() == ["x" * 300, "y" * 64]
    assert lines[3].startswith("[bold]literal[/bold]")
    assert lines[0].split() == ["name", "digest"]
    assert not [line for line in lines if line != line.rstrip()]
    assert ESCAPE not in answered(one)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [["a", "b", "c"]],
        [["", "x" * 70, ""], ["[red]", " two  ", "12ab…"], ["tail ", "", "  "]],
    ],
)
def test_a_plain_table_is_what_rich_draws(rows: list[list[str]]) -> None:
    columns, plain, rich = ["name", "last time", "digest"], console(), console()
    plain.table(columns, rows)
    rich.table(columns, [*rows, ["ä", "", ""]])  # a letter that only rich measures
    assert answered(rich) == answered(plain) + "ä\n"


def test_long_cells_wrap_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    one = console(out=Terminal(), color="never")
    one.table(["name", "digest"], [["x", "y" * 64]])
    lines = answered(one).splitlines()
    assert max(map(len, lines)) <= 40
    assert "".join(lines).count("y") == 64


# -- errors --------------------------------------------------------------------------------

ERROR = RecipeInvalid(
    "recipes/x.toml has 2 faults",
    cause="it was edited",
    hint="kvpack check x",
    faults=[
        Fault(place="recipes/x.toml: name", message="missing", hint="add it"),
        Fault(place="recipes/x.toml: build", message="unknown"),
    ],
)
TEXT = """\
error: recipes/x.toml has 2 faults
  recipes/x.toml: name: missing
      add it
  recipes/x.toml: build: unknown
cause: it was edited
next:  kvpack check x
"""


@pytest.mark.parametrize("verbosity", [QUIET, NORMAL])
def test_an_error_shows_every_fault_its_cause_and_the_next_step(verbosity: int) -> None:
    one = console(verbosity)
    one.error(ERROR)
    assert (said(one), answered(one)) == (TEXT, "")


def test_a_bare_error_is_one_line() -> None:
    one = console()
    one.error(RecipeInvalid("it failed"))
    assert said(one) == "error: it failed\n"


def test_an_error_has_a_json_twin() -> None:
    one = console(as_json=True)
    one.error(ERROR)
    assert said(one) == TEXT
    assert json.loads(answered(one)) == {
        "version": 1,
        "kind": "error",
        "error": "RecipeInvalid",
        "exit-code": 11,
        "what": "recipes/x.toml has 2 faults",
        "cause": "it was edited",
        "hint": "kvpack check x",
        "faults": [fault.as_json() for fault in ERROR.faults],
    }


# -- amounts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (344_000, "344.0 kB"),
        (41_900_000, "41.9 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (0.24, "0.2 s"), (99.0, "99.0 s"), (125.9, "2 min 5 s"), (3600, "60 min 0 s")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert human_time(seconds) == text
