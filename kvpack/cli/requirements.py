"""One conflict-free set of wheels for an accelerator, as files that work without kvpack.

INTENT is a file in requirements syntax that says what is wanted, without variants:
lmcache>=0.3.9, nixl==1.4.1, mooncake-transfer-engine>=0.3.12. kvpack chooses the member of every
family that fits the accelerator, drops the others also where they come in transitively, proves
that no path has two owners and every library one provider, and writes
requirements/kv_connectors_cu13.txt (complete, hashed, for --no-deps) and
pylock.kv-connectors-cu13.toml (PEP 751). torch stays the environment's own unless INTENT names it.

Sources are asked in the order in which they are given, the machine's own index last; a project
comes from the first that has it, whatever others offer. If anything cannot be proved, nothing is
written. --check writes nothing and exits with 71 if the files are not what INTENT gives now.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli import accelerators, words
from kvpack.cli.context import Context
from kvpack.errors import RequirementsStale, UsageError
from kvpack.names import Accelerator, Arch

if TYPE_CHECKING:
    from kvpack.cli.outcome import Outcome, Wanted

DEFAULT_INTENT = Path("requirements/kv_connectors.in")
SUFFIX = {"cuda12": "cu12", "cuda13": "cu13", "rocm7": "rocm", "cpu": "cpu"}
"""How vLLM names the files of an accelerator (requirements/kv_connectors_cu13.txt)."""


class Args(accelerators.Told):
    intent: Path | None = None
    python: str = "3.12"
    glibc: str = "2.35"
    arch: str | None = None
    universal: bool = False
    torch: str | None = None
    sources: list[tuple[str, str]] | None = None
    name: str = "kv_connectors"
    out: Path | None = None
    check: bool = False
    uv_stanza: bool = False
    refresh: bool = False
    host_library: list[str] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "intent", metavar="INTENT", nargs="?", type=Path,
        help=f"what is wanted (default: {DEFAULT_INTENT})",
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--cuda", metavar="13", help="CUDA major: 12 or 13 (12.9 means 12)")
    which.add_argument("--rocm", metavar="7", help="ROCm major: 7")
    which.add_argument("--cpu", action="store_true", help="no accelerator")
    parser.add_argument("--python", default="3.12", metavar="3.12", help="default: 3.12")
    parser.add_argument("--glibc", default="2.35", metavar="F", help="floor (default: 2.35)")
    parser.add_argument("--arch", metavar="A", help="default: this machine's")
    parser.add_argument(
        "--universal", action="store_true", help="x86_64 and aarch64 in one file, with markers"
    )
    parser.add_argument(
        "--torch", metavar="V", help="the environment's torch, which extensions must fit"
    )
    parser.add_argument(
        "--index", dest="sources", action="append", metavar="URL",
        type=lambda text: ("index", text), help="a simple index to ask first (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--find-links", dest="sources", action="append", metavar="FOLDER",
        type=lambda text: ("folder", text), help="a folder of wheels to ask first (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--host-library", action="append", metavar="SONAME",
        help="a library (glob) that the host has, which kvpack does not know of (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--name", default="kv_connectors", metavar="STEM", help="of the files (kv_connectors)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="PLACE",
        help="folder for both files, or a .txt file (default: requirements/, pylock beside it)",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 71 if the files are stale"
    )
    parser.add_argument(
        "--refresh", action="store_true", help="ask the indexes, also right after the last time"
    )
    parser.add_argument(
        "--uv-stanza", action="store_true", help="also print [tool.uv] settings for a project"
    )


def run(args: Args, context: Context) -> int:
    """Choose, prove, then write or compare."""
    from kvpack.cli.outcome import Wanted

    accelerator = accelerators.told(args) or Accelerator.CPU  # the parser asks for one of three
    _check(args)
    arches = tuple(Arch) if args.universal else (Arch(args.arch or context.machine),)
    intent = args.intent or DEFAULT_INTENT
    texts = _read(intent)
    targets = _targets(args, accelerator)
    wanted = Wanted(
        intent=str(intent),
        texts=texts,
        accelerator=accelerator,
        python=args.python,
        glibc=args.glibc,
        arches=arches,
        torch=args.torch,
        sources=tuple(args.sources or ()),
        folder=targets[1].parent,
        text_folder=targets[0].parent,
        command=_command(args, intent, arches),
        host=tuple(args.host_library or ()),
    )
    outcome = _outcome(args, context, wanted)
    files = outcome.files(targets)
    stale = _stale(files)
    if not args.check:
        _write(files, stale)
    if context.console.as_json:
        context.console.answer("requirements", _json(args, outcome, files, stale))
    else:
        _show(args, context, (outcome, files), stale)
    return RequirementsStale.exit_code if args.check and stale else 0


def _outcome(args: Args, context: Context, wanted: "Wanted") -> "Outcome":
    """Chosen and proved now, or within the time in which index pages count as fresh."""
    from kvpack.cli.choosing import Chooser
    from kvpack.cli.recent import keep, key_of, recalled

    chooser = Chooser(context, wanted)
    key = key_of(wanted, chooser.index)
    known = None if args.refresh else recalled(context.store, key)
    if known is not None:
        context.console.detail("the same question was answered within ten minutes: --refresh asks")
        return known
    outcome = chooser.outcome()
    keep(context.store, key, outcome)
    return outcome


# -- words ----------------------------------------------------------------------------------------


def _check(args: Args) -> None:
    words.check_environment(args.python, args.glibc, args.torch)
    words.check("--name", args.name, r"[A-Za-z0-9][A-Za-z0-9_-]*", "kv_connectors")
    if args.arch is not None:
        words.arch_of(args.arch, hint="--universal is for both in one file")
    if args.arch is not None and args.universal:
        raise UsageError("--arch and --universal exclude each other", hint="leave one out")


def _read(intent: Path) -> dict[str, str]:
    """The intent and all that it includes, by the names that they give each other."""
    from kvpack.resolve.intent import included

    texts: dict[str, str] = {}
    waiting = [str(intent)]
    while waiting:
        name = waiting.pop()
        try:
            texts[name] = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if name == str(intent):
                reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
                raise UsageError(
                    f"the intent {intent} cannot be read: {reason}",
                    cause="it says what is wanted, a requirement a line, such as nixl>=1.3",
                    hint="name the file: kvpack requirements FILE --cuda 13",
                ) from None
            continue  # told with the line that includes it
        waiting += [one for one in included(texts[name]) if one not in texts]
    return texts


def _targets(args: Args, accelerator: Accelerator) -> tuple[Path, Path]:
    suffix = SUFFIX[accelerator]
    text = f"{args.name}_{suffix}.txt"
    lock = f"pylock.{args.name.replace('_', '-')}-{suffix}.toml"
    if args.out is None:
        return Path("requirements", text), Path(lock)
    if args.out.suffix == ".txt":
        return args.out, args.out.parent / lock
    return args.out / text, args.out / lock


def _command(args: Args, intent: Path, arches: tuple[Arch, ...]) -> str:
    words = ["kvpack requirements", intent.as_posix()]
    words += [
        f"--cuda {args.cuda}" if args.cuda else f"--rocm {args.rocm}" if args.rocm else "--cpu"
    ]
    words += [f"--python {args.python}", f"--glibc {args.glibc}"]
    words += ["--universal" if args.universal else f"--arch {arches[0]}"]
    words += [f"--torch {args.torch}"] if args.torch else []
    words += [f"--host-library {one}" for one in args.host_library or ()]
    for kind, place in args.sources or ():
        from kvpack.tools.web import redact

        words += [f"--{'index' if kind == 'index' else 'find-links'} {redact(place)}"]
    return " ".join(words)


# -- files ----------------------------------------------------------------------------------------


def _stale(files: dict[Path, str]) -> list[Path]:
    """The files that do not hold what they should."""
    return [path for path, text in files.items() if _held(path) != text]


def _held(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(files: dict[Path, str], stale: list[Path]) -> None:
    from kvpack.tools.files import write_text

    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
    for path in stale:
        write_text(path, files[path])


# -- what a user sees -----------------------------------------------------------------------------


def _show(
    args: Args, context: Context, made: "tuple[Outcome, dict[Path, str]]", stale: list[Path]
) -> None:
    import difflib

    (outcome, files), console = made, context.console
    console.table(["distribution", "version", "wheel", "from", "why"], outcome.rows)
    console.print()
    for note in outcome.notes:
        console.print(note)
    console.print()
    for path, text in files.items():
        if not args.check:
            console.print(f"{'written' if path in stale else 'unchanged'}: {path}")
        elif path in stale:
            console.print(f"stale: {path}" if path.exists() else f"missing: {path}")
            old = (_held(path) or "").splitlines()
            lines = list(difflib.unified_diff(old, text.splitlines(), lineterm="", n=0))[2:]
            for line in [one for one in lines if not one.startswith("@@")][:20]:
                console.print(f"  {line}")
        else:
            console.print(f"up to date: {path}")
    if args.uv_stanza:
        console.print()
        console.print(outcome.stanza.rstrip())


def _json(
    args: Args, outcome: "Outcome", files: dict[Path, str], stale: list[Path]
) -> dict[str, object]:
    return {
        **outcome.as_json(),
        "files": [
            {"path": str(path), "state": "stale" if args.check and path in stale else
             "up-to-date" if path not in stale else "written"}
            for path in files
        ],
    }  # fmt: skip
