"""Who owns each path of a set of distributions, proved before anything is installed.

A SPEC is a wheel file, a requirements file whose lines pin versions, a pylock (PEP 751), or
name==version, read from the index by range requests: RECORD says what a wheel writes and with
which bytes. --installed adds what an environment has. The set is judged as it is given:
requirements of its members are not followed. Exits with 70 if two distributions write one path with
other bytes.
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import ConflictFound, UsageError
from kvpack.names import GLIBC_PATTERN, PYTHON_PATTERN, Arch, did_you_mean

if TYPE_CHECKING:
    from kvpack.resolve.model import Collision, ConflictReport

_SHOWN = 20


class Args(Options):
    specs: list[str]
    python: str | None = None
    glibc: str = "2.39"
    arch: str | None = None
    installed: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("specs", metavar="SPEC", nargs="*", help="name==version, a file, a wheel")
    parser.add_argument(
        "--python", metavar="3.12",
        help="the environment's Python (default: that of --installed, else 3.12)",
    )  # fmt: skip
    parser.add_argument("--glibc", default="2.39", metavar="F", help="the environment's glibc")
    parser.add_argument("--arch", metavar="A", help="default: this machine's")
    parser.add_argument(
        "--installed", type=Path, metavar="PYTHON",
        help="the Python of an environment whose distributions belong to the set",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Gather the claims of all distributions, judge them, print the collisions."""
    from kvpack.cli.gather import Gatherer, ask
    from kvpack.cli.pins import Environment
    from kvpack.resolve.families import load_families
    from kvpack.resolve.ownership import judge

    _check(args)
    installed = None if args.installed is None else ask(args.installed, context)
    python = args.python or (installed or {}).get("python", "3.12")
    environment = Environment(python, args.glibc, args.arch or context.machine)
    sets = Gatherer(context, environment).all(args.specs, installed)
    report = judge(sets, load_families())
    if context.console.as_json:
        context.console.answer("conflicts", report.as_json())
    else:
        _show(report, context)
    return ConflictFound.exit_code if report.conflicts else 0


def _check(args: Args) -> None:
    for option, value, pattern in (
        ("--python", args.python, PYTHON_PATTERN),
        ("--glibc", args.glibc, GLIBC_PATTERN),
    ):
        if value is not None and not re.fullmatch(pattern, value):
            raise UsageError(f"{option} does not take {value!r}", hint="such as 3.12 or 2.39")
    if args.arch is not None and args.arch not in list(Arch):
        raise UsageError(
            f"--arch does not take {args.arch!r}",
            cause=did_you_mean(args.arch, Arch),
            hint="kvpack conflicts --help",
        )


def _show(report: "ConflictReport", context: Context) -> None:
    console = context.console
    read = f"{human_size(report.bytes_read)} of {human_size(report.bytes_total)} read"
    console.print(f"{len(report.distributions)} distributions, {read}")
    if report.conflicts:
        console.print()
        console.table(["conflict", "path", "owners", "advice"], _rows(report.conflicts))
    if len(report.conflicts) > _SHOWN:
        console.print(f"… and {len(report.conflicts) - _SHOWN} more conflicts (--json has all)")
    if report.shared:
        console.print()
        console.print(
            f"{len(report.shared)} path{' has' if len(report.shared) == 1 else 's have'} several "
            "owners with the same bytes: no conflict, but uninstalling one removes it for all"
        )
    console.print()
    count = len(report.conflicts)
    console.print(f"{count} conflict{'' if count == 1 else 's'}" if count else "no conflict")


def _rows(found: "tuple[Collision, ...]") -> list[list[str]]:
    return [
        [
            one.kind,
            one.path,
            ", ".join(
                f"{owner.distribution} {owner.version} ({(owner.sha256 or 'generated')[:10]})"
                for owner in one.owners
            ),
            one.advice,
        ]
        for one in found[:_SHOWN]
    ]
