"""Pins every input of recipes by digest: lock/RECIPE.toml.

What is locked stays locked: only what the recipe newly asks for, or what --upgrade names, moves.
--check writes nothing, needs no network, and exits with 21 if recipe and lock differ.
A git source, the registry of an image or a proxy of Go modules that cannot be reached does not stop
a lock: what is missing is told as "incomplete", and --strict makes that an error.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.cli.sources import add_source_options, supplied
from kvpack.errors import KvpackError, LockMissing, UsageError

if TYPE_CHECKING:
    from kvpack.lock.diff import Change
    from kvpack.lock.model import Lock


class Args(Options):
    recipes: list[str]
    check: bool = False
    upgrade: str | None = None
    sources: Sequence[str] = ()
    strict: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipes", metavar="RECIPE", nargs="*", help="default: all recipes")
    parser.add_argument("--check", action="store_true", help="only compare, offline")
    parser.add_argument(
        "--upgrade", metavar="INPUT",
        help="let this input move: a project (cibuildwheel), a root (debian-bookworm), a toolkit "
        "that is an image (rocm7), or source",
    )  # fmt: skip
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail (20) if a lock is incomplete, whatever is missing",
    )
    add_source_options(parser)


def run(args: Args, context: Context) -> int:
    """Lock or check each recipe."""
    if args.check and args.upgrade:
        raise UsageError("--check and --upgrade exclude each other", hint="kvpack lock --help")
    names = context.recipe_names(args.recipes)
    if args.check:
        return _check(names, context, strict=args.strict)
    if args.offline:
        raise UsageError(
            "kvpack lock asks registries, which --offline forbids",
            hint="kvpack lock --check works offline",
        )
    context.supplied.update(supplied(list(args.sources), names))
    results = [_lock(name, args.upgrade, context) for name in names]
    if context.console.as_json:
        context.console.answer("lock", {"recipes": results})
    short = [str(result["recipe"]) for result in results if result["incomplete"]]
    return _told_strictly(short, context) if args.strict and short else 0


def _told_strictly(names: list[str], context: Context) -> int:
    """Tell that locks are incomplete, where that is an error."""
    error = LockMissing(
        f"incomplete: the lock{'s' if len(names) > 1 else ''} of {', '.join(names)}",
        cause="an upstream was not reached when it was locked, or kvpack cannot lock an input yet",
        hint="kvpack lock where upstream can be reached, or with --source NAME=PATH_OR_URL; where "
        "kvpack cannot: leave those targets out",
    )
    if not context.console.as_json:
        context.console.error(error)
    return error.exit_code


def _check(names: list[str], context: Context, *, strict: bool) -> int:
    from kvpack.cli.planning import read_checked_lock
    from kvpack.recipe.load import load_recipe

    results, first = [], None
    for name in names:
        try:
            lock = read_checked_lock(context, load_recipe(context.catalogue, name))
        except KvpackError as error:
            first = first or error
            results.append({"recipe": name, "current": False, **error.as_json()})
            if not context.console.as_json:
                context.console.error(error)
            continue
        results.append(
            {"recipe": name, "current": True, "digest": lock.digest, "incomplete": lock.incomplete}
        )
        if not context.console.as_json:
            context.console.print(f"lock/{name}.toml is current")
            for reason in lock.incomplete:
                context.console.print(f"  incomplete: {reason}")
    if context.console.as_json:
        context.console.answer("lock-check", {"recipes": results})
    short = [str(result["recipe"]) for result in results if result.get("incomplete")]
    if first is None and strict and short:
        return _told_strictly(short, context)
    return first.exit_code if first else 0


def _lock(name: str, upgrade: str | None, context: Context) -> dict[str, object]:
    from kvpack.cli.remote import Online
    from kvpack.lock.diff import differences
    from kvpack.lock.file import read_lock, write_lock
    from kvpack.lock.pin import pin
    from kvpack.recipe.load import load_recipe
    from kvpack.tools.files import sha256_file

    catalogue, console = context.catalogue, context.console
    recipe = load_recipe(catalogue, name)
    path = catalogue.lock_path(name)
    place = catalogue.shown(path)
    try:
        old = read_lock(path, place)
    except LockMissing:
        old = None
    new = pin(
        recipe, context.roots,
        Online(context, name, recipe.build.read_package, wraps=bool(recipe.build.wraps)),
        old=old, upgrade=upgrade, reporter=console,
        patches=lambda file: sha256_file(catalogue.patch_path(name, file)),
    )  # fmt: skip
    changes = differences(old, new)
    written = write_lock(path, new)
    if not console.as_json:
        console.print(f"{place} {'written' if written else 'is current'}")
        for line in _change_lines(name, old, changes):
            console.print(f"  {line}")
        for reason in new.incomplete:
            console.print(f"  incomplete: {reason}")
    return {
        "recipe": name,
        "written": written,
        "digest": new.digest,
        "changes": [change.as_json() for change in changes],
        "incomplete": list(new.incomplete),
    }


def _change_lines(name: str, old: "Lock | None", changes: "Sequence[Change]") -> Iterator[str]:
    """What changed; of a first lock only how much of each kind: all of it is new."""
    if old is None:
        kinds = Counter(change.kind for change in changes)
        yield "new: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        return
    for change in changes[:40]:
        yield change.line()
    if len(changes) > 40:  # noqa: PLR2004  # what fits a screen
        yield f"… and {len(changes) - 40} more (kvpack diff {name})"
