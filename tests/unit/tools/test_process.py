"""Programs: their whole environment, their exit codes, their ends."""

import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from kvpack.errors import ToolFailed
from kvpack.report import Reporter, Silent
from kvpack.tools.process import Command, Result, check, feeding, find, run, stream
from tests.unit.build.made import Heard, script

SH = "/bin/sh"


def shell(text: str, **more: object) -> Command:
    return Command(args=[SH, "-c", text], **more)  # type: ignore[arg-type]  # named by each test


def piped(text: str, write: Callable[[IO[bytes]], object], heard: Reporter | None = None) -> None:
    with feeding(shell(text), heard or Silent()) as pipe:
        write(pipe)


def streamed(command: Command, on_line: Callable[[str], None] | None = None) -> tuple[int, bytes]:
    log = io.BytesIO()
    return stream(command, on_line or (lambda _: None), log=log), log.getvalue()


def ways(command: Command) -> list[Callable[[], object]]:
    """Every way to start a program."""

    def fed() -> None:
        with feeding(command, Silent()):
            pass

    return [lambda: run(command, Silent()), lambda: streamed(command), fed]


# -- run ---------------------------------------------------------------------------------------


def test_both_streams_and_the_code_are_captured() -> None:
    heard = Heard()
    result = run(shell("echo out; echo err >&2; exit 3"), heard)
    assert (result.code, result.output, result.errors) == (3, "out\n", "err\n")
    assert result.tail() == ["err"]
    assert heard.details == ["+ /bin/sh -c 'echo out; echo err >&2; exit 3'"]


def test_long_arguments_can_be_shown_otherwise() -> None:
    heard = Heard()
    run(Command(args=[SH, "-c", ":"], args_shown=["sh", "..."]), heard)
    assert heard.details == ["+ sh ..."]


def test_a_signal_is_a_negative_code() -> None:
    assert run(shell("kill -SEGV $$"), Silent()).code == -signal.SIGSEGV


def test_stdin_is_what_was_given_or_nothing() -> None:
    assert run(shell("/bin/cat", stdin=b"given"), Silent()).output == "given"
    assert run(shell("/bin/cat"), Silent()).output == ""


def test_output_that_is_no_text_is_kept_readable() -> None:
    assert run(shell("printf '\\377'"), Silent()).output == "\ufffd"


def test_the_environment_and_the_folder_are_exactly_the_given_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    command = Command(args=["/usr/bin/env"], environment={"A": "1", "B": "x y"}, folder=tmp_path)
    assert sorted(run(command, Silent()).output.splitlines()) == ["A=1", "B=x y"]
    assert sorted(streamed(command)[1].decode().splitlines()) == ["A=1", "B=x y"]
    assert "SECRET=x" in run(Command(args=["/usr/bin/env"]), Silent()).output
    pwd = Command(args=["/bin/pwd"], environment={}, folder=tmp_path)
    assert run(pwd, Silent()).output == streamed(pwd)[1].decode() == f"{tmp_path}\n"


def test_a_fed_program_gets_exactly_its_environment(tmp_path: Path) -> None:
    command = shell(f"/usr/bin/env > {tmp_path}/seen", environment={"A": "1"})
    with feeding(command, Silent()):
        pass
    assert "A=1" in (tmp_path / "seen").read_text(encoding="utf-8").splitlines()
    assert "HOME=" not in (tmp_path / "seen").read_text(encoding="utf-8")


def test_a_program_that_hangs_is_ended_at_its_time() -> None:
    start = time.monotonic()
    with pytest.raises(ToolFailed, match=r"sleep 600 did not end within 0\.1 s") as caught:
        run(Command(args=["/bin/sleep", "600"], timeout=0.1), Silent())
    assert "hangs" in caught.value.cause
    assert time.monotonic() - start < 300


# -- programs that cannot be started -----------------------------------------------------------


def test_a_missing_program_says_how_to_get_it() -> None:
    for attempt in ways(Command(args=["no-such-program", "x"])):
        with pytest.raises(ToolFailed, match="no-such-program is not installed") as caught:
            attempt()
        assert os.environ["PATH"] in caught.value.cause
        assert "apt-get install no-such-program" in caught.value.hint


def test_a_program_that_the_system_refuses_says_why(tmp_path: Path) -> None:
    for name, mode, reason in (("data", 0o644, "Permission denied"), ("odd", 0o755, "Exec format")):
        path = tmp_path / name
        path.write_bytes(b"\x00 no program")
        path.chmod(mode)
        for attempt in ways(Command(args=[path])):
            with pytest.raises(ToolFailed, match=f"{path} cannot be started") as caught:
                attempt()
            assert reason in caught.value.cause


def test_a_missing_folder_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    command = Command(args=[SH, "-c", ":"], folder=tmp_path / "absent")
    for attempt in ways(command)[:2]:
        with pytest.raises(ToolFailed, match="cannot be started") as caught:
            attempt()
        assert "absent" in caught.value.cause


def test_find_looks_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = script(tmp_path / "bin" / "tool", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find("tool") == program
    assert find("other") is None


# -- check -------------------------------------------------------------------------------------


def test_check_shows_the_command_and_its_last_lines() -> None:
    assert check(shell("echo fine"), Silent()).output == "fine\n"
    text = "for n in 1 2 3; do echo line $n >&2; done; exit 7"
    with pytest.raises(ToolFailed, match="exited with code 7") as caught:
        check(shell(text), Silent())
    assert caught.value.cause == "its last lines:\n  line 1\n  line 2\n  line 3"
    assert caught.value.what.startswith("/bin/sh -c ")


def test_check_says_so_when_a_program_fails_without_a_word() -> None:
    with pytest.raises(ToolFailed) as caught:
        check(shell("exit 1"), Silent())
    assert caught.value.cause == "it printed nothing"


def test_check_takes_a_runner() -> None:
    def fake(command: Command, reporter: Reporter) -> Result:  # noqa: ARG001
        return Result(command=command.words, code=9, output="only standard output")

    with pytest.raises(ToolFailed, match="code 9") as caught:
        check(Command(args=["x"]), Silent(), runner=fake)
    assert "only standard output" in caught.value.cause


# -- stream ------------------------------------------------------------------------------------


def test_lines_come_as_they_are_said_and_all_go_to_the_log() -> None:
    lines: list[str] = []
    code, log = streamed(
        shell("echo out; echo err >&2; printf 'a\\r\\nlast'; exit 4"), lines.append
    )
    assert (code, lines) == (4, ["out", "err", "a", "last"])
    assert log == b"out\nerr\na\r\nlast"


def test_a_streamed_program_reads_nothing() -> None:
    assert streamed(shell("/bin/cat; echo end")) == (0, b"end\n")


def test_the_whole_group_ends_with_the_caller(tmp_path: Path) -> None:
    """cibuildwheel's own children, an engine's client among them, must not go on."""

    def stop(line: str) -> None:
        raise KeyboardInterrupt(line)

    text = f"/bin/sleep 600 & echo $! > {tmp_path}/pid; echo ready; wait"
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="ready"):
        streamed(shell(text), stop)
    assert time.monotonic() - start < 300
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    assert ended(pid)


def ended(pid: int) -> bool:
    """Whether a process is gone, or only its exit code is left (no one asks for an orphan's)."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state[0] == "Z":
            return True
        time.sleep(0.02)
    return False


# -- feeding -----------------------------------------------------------------------------------


def test_what_is_written_arrives(tmp_path: Path) -> None:
    heard = Heard()
    piped(f"/bin/cat > {tmp_path}/got", lambda pipe: pipe.write(b"x" * 200_000), heard)
    assert (tmp_path / "got").read_bytes() == b"x" * 200_000
    assert heard.details[0].startswith("+ /bin/sh -c")


def test_a_failure_after_all_was_read_shows_its_output() -> None:
    with pytest.raises(ToolFailed, match="exited with code 5") as caught:
        piped("/bin/cat > /dev/null; echo no space; exit 5", lambda pipe: pipe.write(b"x"))
    assert "no space" in caught.value.cause


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_program_that_stops_reading_reports_its_own_error(size: int) -> None:
    """Its words tell more than a broken pipe."""

    def write(pipe: IO[bytes]) -> None:
        time.sleep(0.1)
        pipe.write(b"x" * size)

    with pytest.raises(ToolFailed, match="exited with code 6") as caught:
        piped("echo refused: not a tar; exit 6", write)
    assert "refused: not a tar" in caught.value.cause


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_caller_that_fails_ends_the_program_and_keeps_its_own_error(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def write(pipe: IO[bytes]) -> None:
        pipe.write(b"not flushed yet")
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        raise error("mine")

    text = f"exec 0<&-; echo $$ > {tmp_path}/new; /bin/mv {tmp_path}/new {tmp_path}/pid; "
    text += "exec /bin/sleep 600"
    with pytest.raises(error, match="mine"):
        piped(text, write)
    assert ended(int((tmp_path / "pid").read_text(encoding="utf-8")))
