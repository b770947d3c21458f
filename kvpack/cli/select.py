"""The selectors that ``plan``, ``why``, ``build`` and ``fetch`` share, and the plans they give."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.errors import SourceUnreachable, UsageError
from kvpack.names import Accelerator, Arch, did_you_mean

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan
    from kvpack.cli.remote import Online
    from kvpack.lock.check import Slicer
    from kvpack.lock.model import Inputs, Lock
    from kvpack.recipe.model import Recipe, Selection, Target


class Selected(Options):
    """Recipes and axes, as the parser leaves them."""

    recipes: list[str]
    version: str | None = None
    python: str | None = None
    glibc: str | None = None
    arch: str | None = None
    cuda: str | None = None
    rocm: str | None = None
    cpu: bool = False
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


def selection(args: Selected) -> "Selection":
    """The words of the command line as a selection.

    :raises UsageError: if a word is not of its kind.
    """
    from pydantic import ValidationError

    from kvpack.recipe.model import Selection

    accelerators = [Accelerator.CPU] if args.cpu else []
    accelerators += _accelerators("cuda", args.cuda) + _accelerators("rocm", args.rocm)
    try:
        return Selection(
            python=_words("python", args.python),
            glibc=_words("glibc", args.glibc),
            arch=_arches(args.arch),
            accelerator=tuple(accelerators) or None,
        )
    except ValidationError as error:
        item = error.errors()[0]
        raise UsageError(
            f"--{item['loc'][0]} does not take {item['input']!r}",
            cause={
                "python": "a Python is written as 3.11",
                "glibc": "a floor is written as 2.39",
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
    found = []
    for word in _words("arch", text) or ():
        if word not in set(Arch):
            raise UsageError(
                f"--arch does not take {word!r}", cause=did_you_mean(word, Arch), hint=_HINT
            )
        found.append(Arch(word))
    return tuple(found) or None


def _accelerators(kind: str, text: str | None) -> list[Accelerator]:
    found = []
    for word in _words(kind, text) or ():
        name = f"{kind}{word.partition('.')[0]}"
        if name not in set(Accelerator):
            known = [str(a).removeprefix(kind) for a in Accelerator if a.startswith(kind)]
            raise UsageError(
                f"--{kind} does not take {word!r}",
                cause=f"known majors: {', '.join(known)}",
                hint=_HINT,
            )
        found.append(Accelerator(name))
    return found


def read_checked_lock(context: Context, recipe: "Recipe") -> "Lock":
    """The recipe's lock, which says what the recipe asks for.

    :raises LockDrift: if it does not; nothing is ever built from a stale lock.
    """
    from kvpack.lock.check import check
    from kvpack.lock.file import read_lock
    from kvpack.tools.files import sha256_file

    catalogue = context.catalogue
    path = catalogue.lock_path(recipe.name)
    place = catalogue.shown(path)
    lock = read_lock(path, place)
    check(
        recipe, context.roots, lock, place,
        lambda file: sha256_file(catalogue.patch_path(recipe.name, file)),
    )  # fmt: skip
    return lock


def plans(context: Context, args: Selected, *, ask: bool = False) -> "list[BuildPlan]":
    """One plan per selected target, in the order they were named.

    :param ask: whether a source that the lock could not name is asked for, so that whoever needs
        it hears why it cannot be had.
    """
    found = []
    use_sources(context, args)
    for recipe, slicer, targets in chosen_targets(context, args):
        for version in dict.fromkeys(target.version for target in targets):
            if ask and slicer.pending(version):
                ask_pending(context, recipe, version)
        planned = [plan_for(context, recipe, slicer, target) for target in targets]
        found += in_working_tree(context, planned) if args.dirty else planned
    return found


def chosen_targets(
    context: Context, args: Selected
) -> "Iterator[tuple[Recipe, Slicer, tuple[Target, ...]]]":
    """The selected targets of each recipe that was named, with its lock."""
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


def use_sources(context: Context, args: Selected) -> None:
    """Note where ``--source`` says that sources are.

    :raises UsageError: if one is not among the recipes, or ``--dirty`` has nothing to be about.
    """
    from kvpack.cli.sources import supplied

    context.supplied.update(supplied(list(args.sources), args.recipes))
    if args.dirty and not args.sources:
        raise UsageError("--dirty needs --source NAME=PATH", hint="it builds that working tree")


def ask_pending(context: Context, recipe: "Recipe", version: str) -> None:
    """Ask for a source that the lock could not name.

    :raises SourceUnreachable: with every place and why it failed.
    :raises FetchFailed: of an archive.
    """
    from kvpack.cli.remote import Online

    if context.options.offline:
        return
    remote, label = Online(context, recipe.name, recipe.build.package), f"{recipe.name} {version}"
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


def in_working_tree(context: Context, planned: "list[BuildPlan]") -> "list[BuildPlan]":
    """The plans of one recipe with the working tree of ``--source`` in place of the commit."""
    from kvpack.cli.sources import dirty_tree

    trees = {plan.inputs.target.version: plan.inputs for plan in planned}
    sources = {version: dirty_tree(context, inputs) for version, inputs in trees.items()}
    return [
        _plan(
            context,
            plan.recipe,
            plan.inputs.model_copy(update={"source": sources[plan.inputs.target.version]}),
        )
        for plan in planned
    ]


def plan_for(context: Context, recipe: "Recipe", slicer: "Slicer", target: "Target") -> "BuildPlan":
    """The plan of one target."""
    from kvpack.cli.sources import take_file

    inputs = slicer.inputs(target)
    take_file(context, inputs)
    return _plan(context, recipe, inputs)


def _plan(context: Context, recipe: "Recipe", inputs: "Inputs") -> "BuildPlan":
    from kvpack.build.key import action, action_key, local_version
    from kvpack.build.model import BuildPlan
    from kvpack.lock.source import DirtyTree

    target = inputs.target
    document = action(recipe, inputs, context.roots)
    key = action_key(document)
    return BuildPlan(
        recipe=recipe,
        inputs=inputs,
        action=document,
        key=key,
        distribution=recipe.distribution.name_for(target.accelerator) or recipe.name,
        version=local_version(target.version, key, dirty=isinstance(inputs.source, DirtyTree)),
    )
