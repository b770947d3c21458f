"""The ``kvpack`` program: the parser, the one place that turns errors into exit codes.

Command modules are light; what a command needs is imported when it runs, so that ``--help`` costs
little more than Python itself (``tests/unit/test_imports.py`` holds that).
"""

import argparse
import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kvpack import __version__
from kvpack.cli.context import Context, Options
from kvpack.cli.faults import as_error
from kvpack.console import Console
from kvpack.errors import UsageError
from kvpack.names import did_you_mean

COMMANDS = {
    "new": "draft a recipe from an sdist or a repository",
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
    "patches": "what each patch still does: needed, upstream, conflicts; add and drop",
    "audit": "facts and findings of any wheel",
    "conflicts": "who owns each path of a set of wheels, before it is installed",
    "requirements": "one conflict-free set of wheels for an accelerator, as files",
    "doctor": "what is wrong in a live environment, and the commands that mend it",
    "publish": "write audited wheels and their index to object storage or a folder",
    "rollback": "make a channel list again what it listed at a release",
    "release": "list, show, compare, retire and restore releases",
    "verify": "where a wheel is from: hash, RECORD, action, statement, signature, lock, release",
    "get": "take published wheels by hash from the first place that answers right",
    "bundle": "one file for an air-gapped site: wheels, dependencies, locks, sources, evidence",
    "mirror": "compare storages by hash, repair mirrors by copying",
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

    def parse_known_args(  # type: ignore[override]  # the overloads of one function
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Tell unknown options where they stand: the command's own parser knows its options."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            is_option = rest[0].startswith("-")
            raise UsageError(
                f"{self.prog}: unrecognized arguments: {' '.join(rest)}",
                cause=did_you_mean(rest[0], self._option_string_actions) if is_option else "",
                hint=f"{self.prog} --help",
            )
        return found, rest


def global_options(*, suppress: bool) -> Parser:
    """Options that may stand before or after the command."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("global options")

    def add(*names: str, **kwargs: object) -> None:
        if suppress:
            kwargs["default"] = argparse.SUPPRESS
        group.add_argument(*names, **kwargs)  # type: ignore[arg-type]

    add("--root", type=Path, metavar="DIR", help="the catalogue (default: found upwards)")
    add("--store", type=Path, metavar="DIR", help="default: $KVPACK_STORE or ~/.cache/kvpack")
    add("--offline", action="store_true", help="never use the network")
    add("--json", action="store_true", help="results as JSON, with a version field")
    level = {"dest": "verbosity", "action": "store_const"}
    add("-v", "--verbose", const=1, help="every command that is run, and its output", **level)
    add("-q", "--quiet", const=-1, help="no narration", **level)
    add("--color", choices=("auto", "always", "never"), help="color of the output (default: auto)")
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
    # Commands make many values and end: looking for cycles among them took a fifth of a large plan.
    gc.set_threshold(100_000, 50, 50)
    words = list(sys.argv[1:] if argv is None else argv)
    console = Console(as_json="--json" in words)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = _run(words, console)
        sys.stdout.flush()
    except BrokenPipeError:
        # As a program that SIGPIPE ends: the reader left, so the command did not finish.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001  # the one boundary
        error = as_error(problem)
        console.error(error)
        return error.exit_code
    return code


def _run(words: list[str], console: Console) -> int:
    command = _command(words)
    if command not in {*COMMANDS, None}:
        raise UsageError(
            f"kvpack has no command {command!r}",
            cause=did_you_mean(str(command), COMMANDS),
            hint="kvpack --help lists the commands",
        )
    parser = make_parser(command)
    options = parser.parse_args(words, namespace=Options())
    console.verbosity = options.verbosity or 0
    console.color = options.color or "auto"
    console.as_json = bool(options.json)
    if command is None:
        if console.as_json:
            raise UsageError("kvpack was given no command", hint="kvpack --help lists the commands")
        parser.print_help()
        return UsageError.exit_code
    module = importlib.import_module(f"kvpack.cli.{command}")
    code: int = module.run(options, Context(options, console))
    return code


def _command(words: list[str]) -> str | None:
    """The first word that is neither an option nor the value of a global one."""
    before = ""
    for word in words:
        if not word.startswith("-") and before not in {"--root", "--store", "--color"}:
            return word
        before = word
    return None


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM unwinds like Ctrl-C: containers are removed, scratch folders too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
