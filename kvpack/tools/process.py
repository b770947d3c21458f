"""The only place that starts programs: every command is shown, with the environment it needs."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from kvpack.errors import ToolFailed
from kvpack.report import Reporter

TAIL = 30
"""Lines of output that an error shows."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished program left."""

    command: tuple[str, ...]
    code: int
    output: str
    """Standard output (and standard error, where they were merged)."""
    errors: str = ""

    def tail(self, lines: int = TAIL) -> list[str]:
        text = self.errors.strip() or self.output
        return text.splitlines()[-lines:]


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run. ``environment`` is the whole environment; ``None`` means kvpack's own."""

    args: Sequence[str | Path]
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    stdin: bytes | None = None
    timeout: float | None = None
    """Seconds."""
    output_to: Path | None = None
    """A file that gets standard output as it is: bytes that are no text."""
    args_shown: Sequence[str] = field(default=())
    """What to print instead of ``args``, where those are long."""

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(str(arg) for arg in self.args)

    def shown(self) -> str:
        return shlex.join(self.args_shown or self.words)


class Runner(Protocol):
    """The port behind which programs run: ``run`` here, a fake in unit tests."""

    def __call__(self, command: Command, reporter: Reporter) -> Result: ...


def find(program: str) -> Path | None:
    """Where ``program`` is on PATH."""
    found = shutil.which(program)
    return Path(found) if found else None


def run(command: Command, reporter: Reporter) -> Result:
    """Run to the end and capture both streams. The exit code is the caller's to judge.

    :raises ToolFailed: if the program cannot be started, or ran past its time.
    """
    reporter.detail(f"+ {command.shown()}")
    target = command.output_to.open("wb") if command.output_to else contextlib.nullcontext()
    try:
        with target as stream:
            done = subprocess.run(
                command.words,
                env=command.environment,
                cwd=command.folder,
                input=command.stdin if command.stdin is not None else b"",
                stdout=stream or subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=command.timeout,
                check=False,
            )
    except OSError as error:
        raise _not_started(command, error) from error
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(
            f"{command.shown()} did not end within {command.timeout:g} s",
            cause="it hangs, or waits for something that does not answer",
        ) from error
    return Result(
        command=command.words,
        code=done.returncode,
        output=(done.stdout or b"").decode(errors="replace"),
        errors=done.stderr.decode(errors="replace"),
    )


def check(command: Command, reporter: Reporter, *, runner: Runner = run) -> Result:
    """Run, and fail unless the exit code is 0.

    :raises ToolFailed: with the command and its last lines.
    """
    result = runner(command, reporter)
    if result.code != 0:
        raise failed(result, command.shown())
    return result


def stream(command: Command, on_line: Callable[[str], None], *, log: IO[bytes]) -> int:
    """Run with both streams merged, each line handed on as it comes and kept in ``log``.

    The program gets its own process group; if this process is interrupted, the group is ended.

    :returns: the exit code.
    :raises ToolFailed: if the program cannot be started.
    """
    try:
        process = subprocess.Popen(
            command.words,
            env=command.environment,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(command, error) from error
    with process, _ends_with_us(process):
        if process.stdout is not None:
            for raw in process.stdout:
                log.write(raw)
                on_line(raw.decode(errors="replace").rstrip("\r\n"))
        return process.wait()


@contextlib.contextmanager
def feeding(command: Command, reporter: Reporter) -> Iterator[IO[bytes]]:
    """Run a program whose standard input is written by the caller inside the context.

    :raises ToolFailed: if it cannot be started or fails; if the caller fails, it is killed.
    """
    reporter.detail(f"+ {command.shown()}")
    try:
        process = subprocess.Popen(
            command.words,
            env=command.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise _not_started(command, error) from error
    with process:
        assert process.stdin is not None  # noqa: S101  # PIPE was asked for
        try:
            with contextlib.suppress(BrokenPipeError):  # its exit code tells more than the pipe
                yield process.stdin
        except BaseException:
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # what was not written yet
                process.stdin.close()
            raise
        output, _ = process.communicate()
    if process.returncode != 0:
        text = output.decode(errors="replace")
        raise failed(
            Result(command=command.words, code=process.returncode, output=text), command.shown()
        )


@contextlib.contextmanager
def _ends_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise


def missing(program: str) -> ToolFailed:
    return ToolFailed(
        f"{program} is not installed",
        cause=f"no program of that name is on PATH ({os.environ.get('PATH', '')})",
        hint=f"install it (Debian: apt-get install {program}) and run the same command again",
    )


def _not_started(command: Command, error: OSError) -> ToolFailed:
    program = command.words[0]
    if isinstance(error, FileNotFoundError) and (command.folder is None or command.folder.is_dir()):
        return missing(program)
    return ToolFailed(
        f"{program} cannot be started",
        cause=str(error),
        hint=f"try it by hand: {command.shown()}",
    )


def failed(result: Result, shown: str) -> ToolFailed:
    lines = "\n  ".join(result.tail())
    return ToolFailed(
        f"{shown} exited with code {result.code}",
        cause=f"its last lines:\n  {lines}" if lines else "it printed nothing",
    )
