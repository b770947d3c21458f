"""Whether a set of wheels can live in one environment, proved before anything is installed.

A SPEC is a wheel (a file or an address, with #sha256=… if it is to be checked), name==version, a
requirements file whose lines pin versions, a pylock (PEP 751), a folder of wheels, or a simple
index (an address that ends in a slash): of these two, every project's newest wheel that fits.
RECORD says what a wheel writes and with which bytes; it is read by range requests. --installed adds
what an environment has. --libraries fetches the wheels that hold libraries, once, and proves their
graph: one CUDA major, every library provided, glibc floor, architecture, torch. The set is judged
as it is given: requirements of its members are not followed. Exits with 70 if anything forbids it.
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli import accelerators, words
from kvpack.cli.context import Context
from kvpack.console import human_size
from kvpack.errors import ConflictFound, UsageError
from kvpack.names import counted

if TYPE_CHECKING:
    from kvpack.cli.proof import Question
    from kvpack.resolve.model import Collision, ProofReport, SetFinding

_SHOWN = 20


class Args(accelerators.Told):
    specs: list[str]
    python: str | None = None
    glibc: str = "2.39"
    arch: str | None = None
    installed: Path | None = None
    index: list[str] | None = None
    libraries: bool = False
    torch: str | None = None
    host_library: list[str] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "specs",
        metavar="SPEC",
        nargs="*",
        help="name==version, a wheel, a file, a folder, an index",
    )
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
    parser.add_argument(
        "--index", action="append", metavar="URL_OR_FOLDER",
        help="where pins are looked up first; the first that has a project is the only one for it",
    )  # fmt: skip
    group = parser.add_argument_group("libraries")
    group.add_argument(
        "--libraries", action="store_true",
        help="prove the graph of ELF files too; implied by what follows",
    )  # fmt: skip
    major = group.add_mutually_exclusive_group()
    major.add_argument("--cuda", metavar="13", help="the CUDA major that all must link")
    major.add_argument("--rocm", metavar="7", help="the ROCm major that all must link")
    major.add_argument("--cpu", action="store_true", help="nothing may link CUDA or ROCm")
    group.add_argument("--torch", metavar="V", help="the version of the environment's own torch")
    group.add_argument(
        "--host-library", action="append", metavar="SONAME",
        help="a library (glob) that the host has, which kvpack does not know of (repeatable)",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Gather the wheels, prove the set, print what forbids it."""
    question = _check(args)
    from kvpack.cli.gather import Gatherer
    from kvpack.cli.indexes import Indexes
    from kvpack.cli.installed import installed
    from kvpack.cli.interpreter import ask
    from kvpack.cli.proof import Prover
    from kvpack.resolve.environment import Environment

    where = ask(args.installed, "--installed", context) if args.installed else None
    if where is None and not args.specs:
        raise UsageError("nothing to judge", hint="kvpack conflicts --help")
    python = args.python or (where.python if where else "3.12")
    environment = Environment(python, args.glibc, args.arch or context.machine)
    indexes = Indexes(context, environment, [_address(one) for one in args.index or ()])
    pins = Gatherer(indexes).all(args.specs)
    present = [] if where is None else installed(where, libraries=question.libraries)
    report = Prover(indexes, question).prove(pins, installed=present)
    if context.console.as_json:
        context.console.answer("conflicts", report.as_json())
    else:
        _show(report, context)
    return 0 if report.holds else ConflictFound.exit_code


def _check(args: Args) -> "Question":
    """What is asked beyond paths.

    :raises UsageError: if an option has a value that it does not take.
    """
    words.check_environment(args.python, args.glibc, args.torch)
    if args.arch is not None:
        words.arch_of(args.arch, hint="kvpack conflicts --help")
    accelerator = accelerators.told(args, hint="kvpack conflicts --help")
    from kvpack.cli.proof import Question

    libraries = args.libraries or accelerator is not None or args.torch is not None
    host = tuple(args.host_library or ())
    return Question(libraries=libraries, accelerator=accelerator, torch=args.torch, host=host)


def _address(index: str) -> str:
    """An index as a URL.

    :raises UsageError: if it is a folder that is not there.
    """
    if re.match(r"[a-z]+://", index):
        return index
    if not Path(index).is_dir():
        raise UsageError(
            f"--index {index} is neither an address nor a folder",
            hint="name a simple index by its URL, or a folder of wheels",
        )
    return Path(index).absolute().as_uri()


# -- what is shown --------------------------------------------------------------------------


def _show(report: "ProofReport", context: Context) -> None:
    console = context.console
    read = f"{human_size(report.bytes_read)} of {human_size(report.bytes_total)} read"
    fetched = f", {human_size(report.bytes_fetched)} fetched" if report.bytes_fetched else ""
    console.print(f"{counted(len(report.distributions), 'distribution')}, {read}{fetched}")
    if report.conflicts:
        console.print()
        console.table(["conflict", "path", "owners"], _rows(report.conflicts))
        if len(report.conflicts) > _SHOWN:
            console.print(f"… and {len(report.conflicts) - _SHOWN} more conflicts (--json has all)")
        console.print()
        for advice in dict.fromkeys(one.advice for one in report.conflicts):
            console.print(advice)
        _show_origins(report, context)
    if report.shared:
        console.print()
        console.print(
            f"{len(report.shared)} path{' has' if len(report.shared) == 1 else 's have'} several "
            "owners with the same bytes: no conflict, but uninstalling one removes it for all"
        )
    _show_findings(report, context)
    console.print()
    console.print(_verdict(report))


def _show_origins(report: "ProofReport", context: Context) -> None:
    """What brought the distributions in that conflict."""
    names = sorted({owner.distribution for one in report.conflicts for owner in one.owners})
    for name in names:
        if places := report.brought_by.get(name):
            context.console.print(f"{name} is in the set because of {' and '.join(places)}")


def _show_findings(report: "ProofReport", context: Context) -> None:
    console = context.console
    hidden = 0
    for one in report.findings:
        if one.severity == "note" and console.verbosity < 1:
            hidden += 1
        else:
            _show_finding(one, context)
    if hidden:
        console.print()
        console.print(f"{counted(hidden, 'note')} about libraries of the host: -v shows them")


def _show_finding(one: "SetFinding", context: Context) -> None:
    console = context.console
    color = {"error": "red", "warning": "yellow"}.get(one.severity, "dim")
    console.print()
    title = console.paint(f"{one.severity}: ", color, console.out)
    console.print(f"{title}{one.distribution} {one.version}: {one.message}")
    if one.brought_by and one.severity != "note":
        console.print(f"  because of {' and '.join(one.brought_by)}")
    if one.advice:
        console.print(f"  {one.advice}")


def _verdict(report: "ProofReport") -> str:
    conflicts, errors = len(report.conflicts), len(report.errors)
    parts = [counted(conflicts, "conflict")] if conflicts else ["no conflict"]
    if report.libraries:
        parts.append(counted(errors, "error") if errors else "no error of libraries")
    return ", ".join(parts)


def _rows(found: "tuple[Collision, ...]") -> list[list[str]]:
    return [
        [
            one.kind,
            one.path,
            ", ".join(
                f"{owner.distribution} {owner.version} ({(owner.sha256 or 'generated')[:10]})"
                for owner in one.owners
            ),
        ]
        for one in found[:_SHOWN]
    ]
