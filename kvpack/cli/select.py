"""The selectors that ``plan``, ``why``, ``build`` and ``fetch`` share, and the plans they give."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvpack.cli import accelerators
from kvpack.cli.context import Context
from kvpack.cli.words import arch_of
from kvpack.errors import SourceUnreachable, UsageError
from kvpack.names import Accelerator, Arch

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan
    from kvpack.cli.remote import Online
    from kvpack.lock.check import Slicer
    from kvpack.recipe.model import Recipe, Selection, Target


class Selected(accelerators.Told):
    """Recipes and axes, as the parser leaves them."""

    recipes: list[str]
    version: str | None = None
    python: str | None = None
    glibc: str | None = None
    arch: str | None = None
    torch: str | None = None
    sources: Sequence[str] = ()
    dirty: bool = False


def add_selectors(parser: argparse.ArgumentParser, *, recipes: str = "+") -> None:
    """Add ``RECIPE…`` and the axis options."""
    parser.set_defaults(sources=[], dirty=False)
    parser.add_argument("recipes", metavar="RECIPE", nargs=recipes, help="name of a recipe")
    group = parser.add_argument_group(
        "selectors", "lists are separated by commas; what is not selected is the recipe's default"
    )
    group.add_argument("--version", metavar="V", help="version of the package")
    group.add_argument("--python", metavar="3.12,…", help="Python versions")
    group.add_argument("--glibc", metavar="2.35,…", help="glibc floors: the oldest to load on")
    group.add_argument("--arch", metavar="x86_64,…", help="architectures")
    group.add_argument("--cuda", metavar="12.9,13.0", help="CUDA versions; the major counts")
    group.add_argument("--rocm", metavar="7", help="ROCm versions; the major counts")
    group.add_argument("--cpu", action="store_true", help="the build without an accelerator")
    group.add_argument(
        "--torch",
        metavar="2.13,2.14",
        help="minor versions of torch that extensions are for, all in one wheel; or none",
    )


def selection(args: Selected) -> "Selection":
    """The words of the command line as a selection.

    :raises UsageError: if a word is not of its kind.
    """
    from pydantic import ValidationError

    from kvpack.recipe.model import Selection

    chosen = [Accelerator.CPU] if args.cpu else []
    chosen += _accelerators("cuda", args.cuda) + _accelerators("rocm", args.rocm)
    try:
        return Selection(
            python=_words("python", args.python),
            glibc=_words("glibc", args.glibc),
            arch=_arches(args.arch),
            accelerator=tuple(chosen) or None,
            torch=() if args.torch == "none" else _words("torch", args.torch),
        )
    except ValidationError as error:
        item = error.errors()[0]
        raise UsageError(
            f"--{item['loc'][0]} does not take {item['input']!r}",
            cause={
                "python": "a Python is written as 3.11",
                "glibc": "a floor is written as 2.39",
                "torch": "a minor version is written as 2.13; without extensions: none",
            }.get(str(item["loc"][0]), str(item["msg"])),
            hint=_HINT,
        ) from None


_HINT = "kvpack show RECIPE lists what a recipe offers"


def _words(axis: str, text: str | None) -> tuple[str, ...] | None:
    """The words of a list.

    :raises UsageError: if it has none: an empty variable of a script is no wish for the default.
    """
    if text is None:
        return None
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found:
        raise UsageError(
            f"--{axis} does not take {text!r}: it names nothing",
            cause="a variable in a script may be empty",
            hint="leave the option out for the recipe's default",
        )
    return found


def _arches(text: str | None) -> tuple[Arch, ...] | None:
    return tuple(arch_of(word, hint=_HINT) for word in _words("arch", text) or ()) or None


def _accelerators(kind: str, text: str | None) -> list[Accelerator]:
    cause = f"known majors: {', '.join(accelerators.majors(kind))}"
    return [
        accelerators.of_version(kind, word, cause=cause, hint=_HINT)
        for word in _words(kind, text) or ()
    ]


def plans(context: Context, args: Selected, *, ask: bool = False) -> "list[BuildPlan]":
    """One plan per selected target, in the order they were named.

    :param ask: whether a source that the lock could not name is asked for, so that whoever needs
        it hears why it cannot be had.
    """
    from kvpack.cli.planning import in_working_tree, plan_for

    found = []
    use_sources(context, args)
    for recipe, slicer, targets in chosen_targets(context, args):
        for target in targets:
            if ask:
                _ask_pending(context, slicer, target)
        planned = [plan_for(context, recipe, slicer, target) for target in targets]
        found += in_working_tree(context, planned) if args.dirty else planned
    return found


def chosen_targets(
    context: Context, args: Selected
) -> "Iterator[tuple[Recipe, Slicer, tuple[Target, ...]]]":
    """The selected targets of each recipe that was named, with its lock."""
    from kvpack.cli.planning import read_checked_lock
    from kvpack.lock.check import Slicer
    from kvpack.recipe.expand import expand
    from kvpack.recipe.load import load_recipe

    chosen = selection(args)
    for name in args.recipes:
        recipe = load_recipe(context.catalogue, name)
        targets = expand(
            recipe, context.roots, chosen, version=args.version, machine=context.machine
        )
        yield recipe, Slicer(recipe, read_checked_lock(context, recipe)), targets


def of_wheels(context: Context, named: list[str]) -> list[str]:
    """The recipes that were named, or all whose result is a wheel.

    :raises UsageError: if one that was named is a native library.
    """
    from kvpack.recipe.load import load_recipe

    found = []
    for name in context.recipe_names(named):
        if load_recipe(context.catalogue, name).library is None:
            found.append(name)
        elif named:
            raise UsageError(
                f"{name} is a native library: no wheel that could be published or bundled",
                cause="it goes along with what is built with it",
                hint=f"name the recipes whose build.libraries have {name}",
            )
    return found


def use_sources(context: Context, args: Selected) -> None:
    """Note where ``--source`` says that sources are.

    :raises UsageError: if one is not among the recipes, or ``--dirty`` has nothing to be about.
    """
    from kvpack.cli.planning import library_names
    from kvpack.cli.sources import supplied

    libraries = library_names(context, args.recipes) if args.sources else []
    context.supplied.update(supplied(list(args.sources), [*args.recipes, *libraries]))
    if args.dirty and not args.sources:
        raise UsageError("--dirty needs --source NAME=PATH", hint="it builds that working tree")
    if below := [name for name in libraries if args.dirty and name in context.supplied]:
        raise UsageError(
            f"--dirty builds the working tree of {', '.join(args.recipes)}, "
            f"and not that of the native library {below[0]}",
            cause="a library below a wheel is built from its locked commit",
            hint=f"kvpack build {below[0]} --source {below[0]}=PATH --dirty; or commit, then: "
            f"kvpack lock {below[0]} --source {below[0]}=PATH",
        )


def _ask_pending(context: Context, slicer: "Slicer", target: "Target") -> None:
    """Ask for the sources that the locks of a target and of its libraries could not name."""
    from kvpack.cli.planning import uses

    name, version = slicer.recipe.name, target.version
    if (name, version, target.accelerator) in context.asked:
        return
    first = not any(one[:2] == (name, version) for one in context.asked)
    # A library may be limited to one accelerator: its users are walked once for each.
    context.asked.add((name, version, target.accelerator))
    if first and slicer.pending(version):
        ask_pending(context, slicer.recipe, version)
    for below, wanted in uses(context, slicer.recipe, target):
        _ask_pending(context, below, wanted)


def ask_pending(context: Context, recipe: "Recipe", version: str) -> None:
    """Ask for a source that the lock could not name.

    :raises SourceUnreachable: with every place and why it failed.
    :raises FetchFailed: of an archive.
    """
    from kvpack.cli.remote import Online

    if context.options.offline:
        return
    remote = Online(context, recipe.name, recipe.build.read_package)
    label = f"{recipe.name} {version}"
    try:
        _ask(remote, recipe, version, label)
    except SourceUnreachable as error:
        raise SourceUnreachable(
            error.what,
            cause=f"{error.cause}; lock/{recipe.name}.toml could not name it either",
            hint=error.hint.replace("--source", f"kvpack lock {recipe.name} --source", 1),
            faults=error.faults,
        ) from error


def _ask(remote: "Online", recipe: "Recipe", version: str, label: str) -> None:
    from kvpack.recipe.source import ArchiveSource, GitSource

    source = recipe.versions[version].source
    if isinstance(source, ArchiveSource):
        remote.archive(label, source)
    elif isinstance(source, GitSource):
        commit = source.commit or remote.commit_of(label, source)
        if commit is not None:
            remote.git_tree(label, source, commit)
    for patch in recipe.patches_for(version):
        repository = recipe.git_for(patch)
        if patch.commit is not None and repository is not None:
            remote.change(f"patch {patch.id}", repository, patch.commit)
