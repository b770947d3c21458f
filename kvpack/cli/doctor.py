"""What is wrong in a live environment on this machine, and the commands that mend it.

The environment is read from its files: nothing is installed into it and nothing of it is imported;
its Python is asked for its paths only. Hardware is looked at where there is any. --fix runs the
commands of pip or uv after asking, then looks again; what is the system's is left to you.
--record FILE writes what was read, without names of hosts, serial numbers or secrets; --replay FILE
judges such a file on any machine. Exits with 72 if something is to be mended.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli import accelerators, mooncake_config
from kvpack.cli.context import Context
from kvpack.errors import DoctorFound, UsageError

if TYPE_CHECKING:
    from kvpack.doctor.model import Diagnosis
    from kvpack.doctor.mooncake_model import WheelAbility
    from kvpack.doctor.patient import Patient


class Args(accelerators.Told, mooncake_config.MooncakeArgs):
    python: Path | None = None
    quick: bool = False
    fix: str | None = None
    yes: bool = False
    record: Path | None = None
    replay: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--python", type=Path, metavar="PATH",
        help="the environment's Python (default: the one of VIRTUAL_ENV, else python3 on PATH)",
    )  # fmt: skip
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--cuda", metavar="13", help="it is for this CUDA (default: torch's)")
    kinds.add_argument("--rocm", metavar="7", help="it is for this ROCm")
    kinds.add_argument("--cpu", action="store_true", help="it is for no accelerator")
    parser.add_argument(
        "--quick", action="store_true", help="compare sizes with RECORD, not contents"
    )
    parser.add_argument(
        "--fix", nargs="?", const="auto", choices=["auto", "pip", "uv"], metavar="pip|uv",
        help="run the mending commands after asking (default: the environment's pip, else uv)",
    )  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what was read")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="judge what was recorded")
    mooncake_config.add_arguments(parser)


def run(args: Args, context: Context) -> int:
    """Read, judge, show; with --fix mend and judge again."""
    from kvpack.cli import mending

    _check(args)
    patient, diagnosis = _judged(args, context)
    ran: list[str] = []
    planned = mending.plan(diagnosis, patient, args.fix) if args.fix else None
    if args.fix and planned is None and not diagnosis.healthy:
        context.console.note("there is nothing among it that pip or uv can mend")
    if planned is not None:
        if not context.console.as_json:
            mending.show(diagnosis, context.console)
        if mending.agreed(planned, context, yes=args.yes):
            ran = mending.carry_out(planned, context)
            patient, diagnosis = _judged(args, context)
    if context.console.as_json:
        context.console.answer("doctor", {**diagnosis.as_json(), "ran": ran})
    else:
        mending.show(diagnosis, context.console)
    return 0 if diagnosis.healthy else DoctorFound.exit_code


def _judged(args: Args, context: Context) -> "tuple[Patient, Diagnosis]":
    from kvpack.doctor.diagnose import diagnose

    if args.replay:
        patient, wheel = _replayed(args, args.replay), None
    else:
        patient, wheel = _live(args, context)
    return patient, diagnose(patient, mooncake_config.findings(args, patient, wheel))


def _check(args: Args) -> None:
    mooncake_config.check(args)
    if args.replay and (args.fix or args.record or args.python):
        raise UsageError(
            "--replay judges a file: it goes with none of --fix, --record and --python",
            hint="kvpack doctor --help",
        )
    if args.fix and args.offline:
        raise UsageError("--fix installs wheels, which --offline forbids", hint="leave one out")
    if args.yes and not args.fix:
        raise UsageError("--yes belongs to --fix", hint="kvpack doctor --fix --yes")


def _live(args: Args, context: Context) -> "tuple[Patient, WheelAbility | None]":
    from kvpack.cli.patient import Reader
    from kvpack.doctor.live import Live, Taped
    from kvpack.doctor.machine import facts_of
    from kvpack.doctor.patient import Patient
    from kvpack.doctor.rules import load_rules
    from kvpack.resolve.families import load_families

    rules, families = load_rules(), load_families()
    told = accelerators.told(args)
    environment, wheel = Reader(context, families, rules, args.quick).read(_python(args))
    machine = Taped(Live(rules.variables, context.console))
    facts = facts_of(machine)
    if args.record:
        from kvpack.cli.recording import write

        write(args.record, machine.recorded(), environment, facts)
        context.console.note(f"what was read is in {args.record}: look at it before you share it")
    return Patient(environment, facts, families, rules, told), wheel


def _replayed(args: Args, path: Path) -> "Patient":
    from kvpack.doctor.machine import facts_of
    from kvpack.doctor.patient import Patient
    from kvpack.doctor.recorded import Recorded, load
    from kvpack.doctor.rules import load_rules
    from kvpack.resolve.families import load_families

    recording = load(path)
    facts = facts_of(Recorded(recording.machine))
    return Patient(
        recording.environment, facts, load_families(), load_rules(), accelerators.told(args)
    )


def _python(args: Args) -> Path:
    """The environment's Python: named, of the active environment, or the first on PATH.

    :raises UsageError: if there is none.
    """
    import os

    from kvpack.tools.process import find

    if args.python is not None:
        path = args.python.absolute()
        if path.is_dir():
            path = next((p for p in (path / "bin/python", path / "python") if p.exists()), path)
        if not path.is_file():
            raise UsageError(
                f"--python {args.python} is no file", hint="name an environment's bin/python"
            )
        return path
    active = os.environ.get("VIRTUAL_ENV")
    found = Path(active, "bin", "python") if active else find("python3")
    if found is None or not found.exists():
        raise UsageError(
            "there is no Python to look at",
            cause="VIRTUAL_ENV is not set, and no python3 is on PATH",
            hint="kvpack doctor --python ENVIRONMENT/bin/python",
        )
    return found
