"""Builds wheels: audited, stamped with their key, delivered with their evidence.

A target whose key is in the store is not built again. What is not selected comes from the recipe's
defaults. --rebuild builds again, in another folder, and compares byte for byte.
--source takes a git source from a clone or mirror, if it has the locked commit; with --dirty it is
the clone's working tree that is built, and the wheel's version ends with .dirty.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.cli.faults import as_error
from kvpack.cli.select import Selected, add_selectors
from kvpack.cli.sharing import Sharing, add_shared, use_shared
from kvpack.cli.signing import Signing, add_signing, builder_of, sign_wheels, signer_of
from kvpack.cli.sources import add_source_options
from kvpack.console import human_size, human_time
from kvpack.errors import Fault, KvpackError, NotReproducible, UsageError

if TYPE_CHECKING:
    from kvpack.build.compare import Difference
    from kvpack.build.model import BuildPlan
    from kvpack.cli.make import Delivered

    Failure = tuple[BuildPlan, KvpackError]


class Args(Selected, Sharing, Signing):
    out: Path
    rebuild: bool = False
    compiler_cache: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selectors(parser)
    add_source_options(parser, dirty=True)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("dist"),
        metavar="DIR",
        help="output folder (default: dist)",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="build again and compare byte for byte"
    )
    parser.add_argument(
        "--compiler-cache", type=Path, metavar="DIR",
        help="a ccache folder to use; it never decides a byte and is not part of the key",
    )  # fmt: skip
    add_shared(parser, writes=True)
    add_signing(parser)


def run(args: Args, context: Context) -> int:
    """Build every selected target; one that fails does not stop the others."""
    from kvpack.cli.make import make
    from kvpack.cli.select import plans

    done: list[Delivered] = []
    failed: list[Failure] = []
    compared: dict[str, dict[str, Any]] = {}
    _check_folder("--out", args.out)
    cache = args.compiler_cache.absolute() if args.compiler_cache else None
    if cache:
        _check_folder("--compiler-cache", cache)
        cache.mkdir(parents=True, exist_ok=True)
    signs = signer_of(args, context) is not None  # a wrong key is told before minutes are spent
    context.builder_id = builder_of(args, context)
    context.shared = use_shared(args, context)
    start = time.monotonic()
    for plan in plans(context, args, ask=True):
        try:
            done.append(make(context, plan, args.out, cache))
            if args.rebuild:
                compared[plan.key] = rebuild(context, plan, done[-1])
        except (KvpackError, OSError) as problem:
            error = as_error(problem)
            failed.append((plan, error))
            if not context.console.as_json:
                context.console.error(error)
    wheels = [one.plan for one in done if one.audit is not None]
    if signs and wheels:
        sign_wheels(context, args, (wheels, args.out), lambda *_: None)
    _answer(context, (done, failed, compared), time.monotonic() - start)
    return failed[0][1].exit_code if failed else 0


def _check_folder(option: str, path: Path) -> None:
    """A path that cannot be a folder is told before minutes are spent."""
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(
                f"{option} {path}: {place} is a file",
                cause="wheels and their evidence are written into a folder",
                hint=f"name a folder: {option} DIR",
            )


def rebuild(context: Context, plan: "BuildPlan", delivered: "Delivered") -> dict[str, Any]:
    """Build the same key again, elsewhere and later, without any cache.

    :raises NotReproducible: with every difference and its kind.
    """
    from kvpack.build.compare import compare_libraries, compare_wheels
    from kvpack.cli.libraries import library_in
    from kvpack.cli.make import cibuildwheel_in

    is_library = plan.recipe.library is not None
    build_in = library_in if is_library else cibuildwheel_in
    compare = compare_libraries if is_library else compare_wheels
    start = time.monotonic()

    def differences(source_folder: str) -> "list[Difference]":
        with context.store.scratch("rebuild") as folder:
            again, _ = build_in(context, plan, (folder, source_folder), None)
            return compare(context.store.check(delivered.built.sha256), again)

    # Another process with this key would take this build's container for a leftover.
    with context.store.lock(f"action-{plan.key}"):
        found = differences("rebuilt-elsewhere")
        cause = _cause(differences) if found else ""
    if found:
        raise NotReproducible(
            f"{plan.title} gave other bytes when it was built again",
            cause=cause,
            hint="a patch or build.environment in the recipe can mend the kinds named above",
            faults=[Fault(place=d.member, message=f"{d.kind}: {d.detail}") for d in found],
        )
    return {"identical": True, "seconds": round(time.monotonic() - start, 3)}


def _cause(differences: "Callable[[str], list[Difference]]") -> str:
    """What a third build, in the folder of the first, says of the second, which was elsewhere."""
    from kvpack.build.model import SOURCE

    try:
        same_place = differences(SOURCE)
    except KvpackError as error:
        return f"the source or its build records where or when it is built (a third build: {error})"
    if not same_place:
        return (
            f"it records where it is built: a third build, in /project/{SOURCE} as the first, "
            "gave the same bytes"
        )
    members = ", ".join(one.member for one in same_place if one.kind != "record")
    return (
        "it records when it is built, or something random: a third build, in the folder of the "
        f"first, differs, too: {members}"
    )


def _answer(
    context: Context,
    results: "tuple[list[Delivered], list[Failure], dict[str, dict[str, Any]]]",
    seconds: float,
) -> None:
    done, failed, compared = results
    console = context.console
    if console.as_json:
        rows = [item.as_json() | {"rebuild": compared.get(item.plan.key)} for item in done]
        rows += [{"target": plan.title, "key": plan.key, **e.as_json()} for plan, e in failed]
        console.answer("build", {"targets": rows, "seconds": round(seconds, 3)})
        return
    rows_shown = []
    for item in done:
        how = "DIRTY, " if item.plan.dirty else ""
        how += _how(item)
        if item.plan.key in compared:
            how += ", rebuilt: identical"
        rows_shown.append(
            [
                str(item.path),
                human_size(item.built.size),
                item.built.sha256[:16],
                item.plan.key[:12],
                _passed(item),
                how,
            ]
        )
    if rows_shown:
        libraries = any(item.audit is None for item in done)
        console.table(
            ["file" if libraries else "wheel", "size", "sha256", "key", "audit", "how"], rows_shown
        )
    for plan, error in failed:
        console.print(f"failed: {plan.title} ({type(error).__name__})")


def _passed(item: "Delivered") -> str:
    if item.audit is None:
        return "none (native library)"
    warnings = item.audit["counts"]["warning"]
    return f"passed, {warnings} warning{'s' if warnings > 1 else ''}" if warnings else "passed"


def _how(item: "Delivered") -> str:
    if item.shared:
        return "from shared results"
    return "in the store" if item.built.hit else f"built in {human_time(item.built.seconds)}"
