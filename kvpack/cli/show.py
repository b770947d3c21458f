"""Shows one recipe: versions, targets with their builder roots, options, patches, locked inputs."""

import argparse
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.errors import KvpackError, TargetUnavailable
from kvpack.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvpack.recipe.model import Recipe, Target


class Args(Options):
    recipe: str
    requirements: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="name of a recipe")
    parser.add_argument(
        "--requirements",
        metavar="NAME",
        help="print the lines of [requirements.NAME] alone, for an intent file",
    )


def run(args: Args, context: Context) -> int:
    """Print one recipe."""
    from kvpack.recipe.expand import matrix
    from kvpack.recipe.load import load_recipe

    recipe = load_recipe(context.catalogue, args.recipe)
    if args.requirements is not None:
        return _requirements(context, recipe, args.requirements)
    targets = matrix(recipe, context.roots, recipe.default_version)
    locked = _locked(context, recipe)
    console = context.console
    if console.as_json:
        console.answer(
            "show",
            {
                "recipe": recipe.as_json(),
                "targets": [{"id": t.id, **t.as_json()} for t in targets],
                "lock": locked,
            },
        )
        return 0
    _head(context, recipe)
    console.print()
    first = 0 if recipe.library is None else 1  # a native library has no Python
    console.table(
        ["python", "glibc", "arch", "accelerator", "builder root"][first:],
        [row[first:] for row in _targets(context, recipe, targets)],
    )
    if recipe.options:
        console.print()
        console.table(["option", "sets", "default", "what"], _options(recipe))
    if recipe.prove:
        from kvpack.recipe.page import expected

        console.print()
        console.table(
            ["proof", "what it means", "a wheel built here"],
            [[one.id, one.summary, expected(one).replace("`", "")] for one in recipe.prove],
        )
    for patch in recipe.patches:
        console.print(f"patch {patch.id} ({patch.when or 'all versions'}): {patch.why}")
    _around(context, recipe)
    console.print()
    console.print("lock: " + locked["state"])
    for line in locked.get("incomplete", []):
        console.print(f"  incomplete: {line}")
    return 0


def _head(context: Context, recipe: "Recipe") -> None:
    """What it is, and the native libraries that it is built with."""
    console = context.console
    console.print(f"{recipe.name} {recipe.default_version}: {recipe.summary} ({recipe.license})")
    others = [version for version in recipe.versions if version != recipe.default_version]
    if others:
        console.print(f"other versions: {', '.join(others)}")
    if recipe.homepage:
        console.print(recipe.homepage)
    if recipe.library is not None:
        console.print(f"a native library, at {recipe.library.prefix} of the roots that need it")
    for use in recipe.build.libraries:
        when = f" ({use.when})" if use.when else ""
        console.print(f"built with the native library {use.name} {use.version}{when}")
    if go := recipe.build.go:
        folders = ", ".join(go.modules)
        console.print(f"Go modules of {folders} are locked, for {go.toolchain} {go.where}".rstrip())
    if recipe.build.debian:
        console.print(_packages(context, recipe))
    images = {accelerator: image for accelerator, _, image in context.roots.toolkits.images(recipe)}
    for accelerator, image in images.items():
        console.print(
            f"toolkit for {accelerator}: {image.folder} of {image.image}, "
            f"for {' and '.join(image.arch)} on glibc {image.glibc} or newer"
        )
    limits = recipe.targets.torch_python.items()
    told = "; ".join(f"{minor}: Python {', '.join(pythons)}" for minor, pythons in limits)
    for accelerator, minors in recipe.targets.torch.items():
        console.print(
            f"extensions of torch for {accelerator}: --torch {','.join(minors)}"
            + (f" ({told})" if told else "")
        )


def _packages(context: Context, recipe: "Recipe") -> str:
    """The Debian packages of its roots, and of which suite they lie beside images."""
    from kvpack.lock.roots import picked_roots

    named = [
        f"{kind.id}: those of {kind.suite}"
        for kind in picked_roots(recipe, context.roots)
        if kind.family != "debian" and kind.takes_packages
    ]
    listed = f"Debian packages: {', '.join(recipe.build.debian)}"
    return f"{listed} (beside {'; '.join(named)})" if named else listed


def _requirements(context: Context, recipe: "Recipe", name: str) -> int:
    """Print what one use of the package needs beside it, as lines of an intent.

    :raises TargetUnavailable: if the recipe names no such use.
    """
    if name not in recipe.requirements:
        raise TargetUnavailable(
            f"recipe {recipe.name} has no requirements {name!r}",
            cause=did_you_mean(name, recipe.requirements)
            if recipe.requirements
            else "it has no [requirements]",
            hint=f"kvpack show {recipe.name}; or add [requirements.{name}] to its recipe",
        )
    group, console = recipe.requirements[name], context.console
    if console.as_json:
        found = {"recipe": recipe.name, "name": name, **group.as_json()}
        console.answer("show-requirements", found)
        return 0
    console.print(f"# {recipe.name} {name}: {group.summary}")
    for line in group.requires:
        console.print(line)
    return 0


def _targets(context: Context, recipe: "Recipe", targets: "Iterable[Target]") -> list[list[str]]:
    """A row for each Python and floor, with what is offered there on the other axes."""
    from kvpack.lock.roots import supplies

    cells: dict[tuple[str, str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for one in targets:
        arches, accelerators = cells.setdefault((one.python, one.glibc, one.root), ({}, {}))
        arches[one.arch] = accelerators[one.accelerator] = None
    return [
        [
            *(python, glibc, " ".join(arches), " ".join(accelerators)),
            root + ("" if supplies(recipe, context.roots.get(root)) else " (incomplete)"),
        ]
        for (python, glibc, root), (arches, accelerators) in cells.items()
    ]


def _options(recipe: "Recipe") -> list[list[str]]:
    rows = []
    for name, option in sorted(recipe.options.items()):
        values = [f"{a}: {_value(v)}" for a, v in option.per_accelerator.items()]
        values += [] if option.with_torch is None else [f"--torch: {_value(option.with_torch)}"]
        default = ", ".join([_value(option.default), *values])
        name_there = option.cmake or option.meson or option.env or f"--{option.configure}"
        when = f" ({option.when})" if option.when else ""
        rows.append([name, name_there + when, default, option.summary])
    return rows


def _value(value: bool | str) -> str:  # noqa: FBT001
    return str(value).lower() if isinstance(value, bool) else value or '""'


def _around(context: Context, recipe: "Recipe") -> None:
    """What the wheel needs of its host and of its environment."""
    console = context.console
    for name, variable in sorted(recipe.runtime.environment.items()):
        limits = [*([variable.when] if variable.when else ()), *(variable.accelerator or ())]
        where = f" ({', '.join(limits)})" if limits else ""
        console.print(f"set where it runs: {name}={variable.value}{where}: {variable.why}")
    for name, group in sorted(recipe.requirements.items()):
        console.print(f"requirements {name}: {' '.join(group.requires)} - {group.summary}")
    for name, stack in sorted(recipe.host.items()):
        console.print()
        channel = f", channel {stack.channel}" if stack.channel else ""
        console.print(f"host {name}: {stack.summary}")
        console.print(
            f"  {' '.join(stack.packages)}, from {stack.repository} {stack.suite}{channel}"
        )
        for note in stack.notes:
            console.print(f"  {note}")
        if stack.channels:
            rows = [
                [
                    one.channel,
                    one.libraries or "?",
                    " ".join(one.dkms) or "?",
                    "?" if one.abi is None else str(one.abi),
                    one.source,
                ]
                for one in stack.channels
            ]
            console.table(["channel", "libraries", "kernel module", "ABI", "from"], rows)


def _locked(context: Context, recipe: "Recipe") -> dict[str, Any]:
    from kvpack.cli.planning import read_checked_lock

    try:
        lock = read_checked_lock(context, recipe)
    except KvpackError as error:
        return {"state": f"{error.what} ({error.hint})"}
    debs = sum(len(root.packages) for root in lock.root)
    state = f"{len(lock.source)} source(s), {len(lock.wheels)} wheels, {debs} Debian packages"
    return {"state": state, "digest": lock.digest, "incomplete": list(lock.incomplete)}
