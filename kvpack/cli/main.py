"""The ``kvpack`` program: the parser, the one place that turns errors into exit codes.

Command modules are light; what a command needs is imported when it runs, so that ``--help`` costs
little more than Python itself (``tests/unit/test_imports.py`` holds that).
"""

import argparse
import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kvpack import __version__
from kvpack.cli.context import Context, Options
from kvpack.console import Console
from kvpack.errors import DiskFull, Interrupted, KvpackError, UsageError
from kvpack.names import did_you_mean

COMMANDS = {
    "list": "the recipes of the catalogue",
    "show": "one recipe: versions, targets, options, inputs",
    "check": "validate recipes and their locks",
    "schema": "JSON Schema of a recipe, a lock or a configuration file",
    "lock": "pin every input of recipes by digest; --check tells drift",
    "diff": "what changed between two locks, and what it rebuilds",
    "fetch": "bring every locked input into the store, for --offline",
    "plan": "every target with its key: hit, or to be built and why",
    "why": "which inputs differ from the last build of a target",
    "build": "build, audit and deliver wheels",
    "audit": "facts and findings of any wheel",
    "store": "verify, clean or measure the store",
}

EPILOG = """\
examples:
  kvpack build dlslime --glibc 2.39     a wheel in dist/, audited
  kvpack plan dlslime                   what would be built, and why
  kvpack audit some-wheel.whl           what a wheel is and what it needs

kvpack COMMAND --help describes a command. Exit codes and file formats: docs/reference.md
"""


class Parser(argparse.ArgumentParser):
    """argparse, with kvpack's errors instead of its own exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", hint=f"{self.prog} --help")


def global_options(*, suppress: bool) -> argparse.ArgumentParser:
    """Options that may stand before or after the command."""
    default = argparse.SUPPRESS if suppress else None
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("global options")

    def add(*names: str, **kwargs: object) -> None:
        if suppress:
            kwargs["default"] = default
        group.add_argument(*names, **kwargs)  # type: ignore[arg-type]

    add("--root", type=Path, metavar="DIR", help="the catalogue (default: found upwards)")
    add("--store", type=Path, metavar="DIR",
        help="the store (default: $KVPACK_STORE or ~/.cache/kvpack)")  # fmt: skip
    add("--offline", action="store_true", help="never use the network")
    add("--json", action="store_true", help="results as JSON, with a version field")
    add("-v", "--verbose", dest="verbosity", action="store_const", const=1,
        help="every command that is run, and its output", **({} if suppress else {"default": 0}))  # fmt: skip
    add("-q", "--quiet", dest="verbosity", action="store_const", const=-1,
        help="no narration")  # fmt: skip
    add("--color", choices=("auto", "always", "never"), help="color of the output",
        **({} if suppress else {"default": "auto"}))  # fmt: skip
    return parser


def make_parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser; only the ``wanted`` command's own arguments are filled in."""
    parser = Parser(
        prog="kvpack",
        description="Recipes to locked, audited, reproducible manylinux wheels.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[global_options(suppress=False)],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kvpack {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    shared = global_options(suppress=True)
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"kvpack.cli.{name}") if name == wanted else None
        sub = commands.add_parser(
            name,
            help=summary,
            description=(module.__doc__ if module else summary),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[shared],
            allow_abbrev=False,
        )
        if module:
            module.add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (``kvpack/errors.py``)."""
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console(as_json="--json" in words)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return _run(words, console)
    except KvpackError as error:
        console.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        error = Interrupted(
            "interrupted", hint="run the same command again: it goes on where this one stopped"
        )
        console.error(error)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as failure:
        error = _os_error(failure)
        console.error(error)
        return error.exit_code
    except Exception as bug:  # noqa: BLE001  # the one boundary: a bug is reported, not thrown
        console.error(
            KvpackError(
                f"kvpack itself failed: {type(bug).__name__}: {bug}",
                cause="this is a bug in kvpack; nothing half-written is left",
                hint="report it with these lines:\n"
                + "".join(traceback.format_exception(bug)[-6:]),
            )
        )
        return KvpackError.exit_code


def _run(words: list[str], console: Console) -> int:
    command = next((word for word in words if word in COMMANDS), None)
    unknown = next((word for word in words if not word.startswith("-")), None)
    if command is None and unknown and not _is_value(words, unknown):
        raise UsageError(
            f"kvpack has no command {unknown!r}",
            cause=did_you_mean(unknown, COMMANDS),
            hint="kvpack --help lists the commands",
        )
    parser = make_parser(command)
    options = parser.parse_args(words, namespace=Options())
    console.verbosity, console.color, console.as_json = (
        options.verbosity or 0,
        options.color or "auto",
        bool(options.json),
    )
    if command is None:
        parser.print_help()
        return UsageError.exit_code
    module = importlib.import_module(f"kvpack.cli.{command}")
    code: int = module.run(options, Context(options, console))
    return code


def _is_value(words: list[str], word: str) -> bool:
    """Whether a word is the value of the option before it."""
    index = words.index(word)
    return index > 0 and words[index - 1] in {"--root", "--store", "--color"}


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C: containers are removed, scratch folders too."""
    raise KeyboardInterrupt


def _os_error(failure: OSError) -> KvpackError:
    place = failure.filename or "a file"
    if failure.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(
            f"no space left on the device that holds {place}",
            hint="free some space, or name another store with --store DIR; nothing was lost",
        )
    return UsageError(
        f"{place}: {failure.strerror or failure}",
        cause="kvpack cannot read or write there",
        hint="check the path and its permissions",
    )


if __name__ == "__main__":
    sys.exit(main())
