"""Recipe + selection -> targets. Pure: the same words always give the same targets."""

from collections.abc import Iterable, Iterator

from kvpack.errors import TargetUnavailable
from kvpack.names import Accelerator, Arch, did_you_mean, version_key
from kvpack.recipe.fitting import fitting
from kvpack.recipe.model import Recipe, Selection, Target
from kvpack.recipe.roots import Roots
from kvpack.recipe.torch import ascending


def choose_version(recipe: Recipe, version: str | None) -> str:
    """The version to build: the one asked for, or the recipe's default.

    :raises TargetUnavailable: if the recipe does not have it.
    """
    if version is None:
        return recipe.default_version
    if version not in recipe.versions:
        raise TargetUnavailable(
            f"recipe {recipe.name} has no version {version!r}",
            cause=did_you_mean(version, recipe.versions),
            hint=f'kvpack show {recipe.name} lists them; add [versions."{version}"] to the recipe '
            f"and run: kvpack lock {recipe.name}",
        )
    return version


def expand(
    recipe: Recipe,
    roots: Roots,
    selection: Selection,
    *,
    version: str | None,
    machine: Arch,
    whole: bool = False,
) -> tuple[Target, ...]:
    """The targets of a selection; an axis that it leaves open is the recipe's default.

    The default Pythons are those that a builder root has at the floor; a Python that was
    selected by name but that no root has there is an error, never dropped (promise 7).

    :param machine: the architecture to build for when neither selection nor recipe says so.
    :param whole: leave out what no toolkit is for, instead of failing.
    :raises TargetUnavailable: if a selected value is not offered, or no target remains.
    """
    chosen = choose_version(recipe, version)
    targets, default = recipe.targets, recipe.targets.default
    floors = _axis(recipe, "glibc", selection.glibc, default.glibc or targets.glibc[-1:])
    arches = _axis(recipe, "arch", selection.arch, default.arch or _machine(recipe, machine))
    accelerators = _axis(
        recipe, "accelerator", selection.accelerator, default.accelerator or (Accelerator.CPU,)
    )
    pythons = _pythons(recipe, selection)
    minors = {
        (one, python): _torch_on(recipe, (Accelerator(one), python), selection)
        for one in accelerators
        for python in pythons
    }
    found = [
        _target(recipe, roots, chosen, (python, glibc, arch, accelerator), torch)
        for glibc in sorted(set(floors), key=version_key)
        for python in sorted(set(pythons), key=lambda text: version_key(text or "0"))
        if selection.python or roots.pick(recipe.build.roots, python, glibc)
        for arch in sorted(set(arches))
        for accelerator in sorted(set(accelerators))
        if (torch := minors[accelerator, python]) is not None
    ]
    if not found:
        raise _no_root(recipe, roots, "/".join(pythons), "/".join(floors))
    found = fitting(recipe, roots, found, None if whole else selection)
    return tuple(dict.fromkeys(found))  # floors of a library may share a root


def library_target(recipe: Recipe, roots: Roots, version: str, needed_by: Target) -> Target:
    """The target of a native library that a wheel's target is built with.

    :raises TargetUnavailable: if the library is not offered for the wheel's cell.
    """
    by = f"recipe {needed_by.recipe} builds with it"
    if recipe.library is None:
        raise TargetUnavailable(
            f"recipe {recipe.name} is no native library",
            cause=f"{by}, and only a recipe with [library] can be built with",
            hint=f"correct build.libraries in recipes/{needed_by.recipe}.toml",
        )
    offers = (needed_by.accelerator, Accelerator.CPU)
    accelerator = next((one for one in offers if one in recipe.targets.accelerator), None)
    cells = [
        target
        for target in matrix(recipe, roots, choose_version(recipe, version))
        if (target.arch, target.root) == (needed_by.arch, needed_by.root)
        and target.accelerator == accelerator
    ]
    if not cells:
        cell = f"{needed_by.root} {needed_by.arch} {needed_by.accelerator}"
        raise TargetUnavailable(
            f"native library {recipe.name} {version} is not offered for {cell}",
            cause=by,
            hint=f"add it to [targets] or build.root of recipes/{recipe.name}.toml "
            f"(kvpack show {recipe.name}), then: kvpack lock {recipe.name}",
        )
    return cells[0]


def _pythons(recipe: Recipe, selection: Selection) -> tuple[str, ...]:
    targets = recipe.targets
    if recipe.library is None:
        return _axis(recipe, "python", selection.python, targets.default.python or targets.python)
    if selection.python:
        raise TargetUnavailable(
            f"recipe {recipe.name} does not offer python {selection.python[0]!r}",
            cause="it is a native library: no Python is part of it",
            hint="leave --python out",
        )
    return ("",)


def check_offered(recipe: Recipe, selection: Selection) -> None:
    """For those who narrow the matrix: what was selected by name is never dropped (promise 7).

    :raises TargetUnavailable: if a selected value is not offered.
    """
    for axis in ("glibc", "arch", "accelerator"):
        _axis(recipe, axis, getattr(selection, axis), ())
    pythons = _pythons(recipe, selection)
    for accelerator in selection.accelerator or recipe.targets.accelerator:
        for python in pythons:
            _torch_on(recipe, (accelerator, python), selection)


def matrix(
    recipe: Recipe, roots: Roots, version: str, only: Selection | None = None
) -> tuple[Target, ...]:
    """Every target that the recipe offers in a version.

    :param only: which accelerators, and the minor versions of torch that extensions are for;
        default: all, and the recipe's.
    """
    targets, only = recipe.targets, only or Selection()
    every = Selection(
        glibc=targets.glibc,
        arch=targets.arch,
        accelerator=only.accelerator or targets.accelerator,
        torch=only.torch,
    )
    default = Selection(python=targets.python, torch=targets.default.torch)
    widened = recipe.model_copy(update={"targets": targets.model_copy(update={"default": default})})
    return expand(widened, roots, every, version=version, machine=Arch.X86_64, whole=True)


def matrices(
    recipe: Recipe, roots: Roots, versions: Iterable[str], only: Selection | None = None
) -> Iterator[Target]:
    """The matrix of each version: they differ in nothing else.

    :param only: as of ``matrix``.
    """
    cells: tuple[Target, ...] | None = None
    for version in versions:
        cells = cells or matrix(recipe, roots, version, only)
        chosen = choose_version(recipe, version)
        yield from (target.model_copy(update={"version": chosen}) for target in cells)


def _machine(recipe: Recipe, machine: Arch) -> tuple[Arch, ...]:
    return (machine,) if machine in recipe.targets.arch else recipe.targets.arch[:1]


def _axis(
    recipe: Recipe, axis: str, selected: tuple[str, ...] | None, default: Iterable[str]
) -> tuple[str, ...]:
    if selected is None:
        return tuple(default)
    offered = [str(value) for value in getattr(recipe.targets, axis)]
    for value in selected:
        if str(value) not in offered:
            cause = did_you_mean(str(value), offered)
            if axis == "glibc":
                made = "a wheel" if recipe.library is None else "what is built"
                cause = _floor_advice(str(value), offered, made)
            raise TargetUnavailable(
                f"recipe {recipe.name} does not offer {axis} {str(value)!r}",
                cause=cause,
                hint=f"choose one of {', '.join(offered)}, or add it to targets.{axis} in "
                f"recipes/{recipe.name}.toml and run: kvpack lock {recipe.name}",
            )
    return tuple(selected)


def _floor_advice(value: str, offered: list[str], made: str) -> str:
    try:
        below = [floor for floor in offered if version_key(floor) <= version_key(value)]
    except ValueError:
        return 'a glibc floor is written as "2.39"'
    if not below:
        return f"the lowest floor it offers is {min(offered, key=version_key)}"
    best = max(below, key=version_key)
    return f"{made} for --glibc {best} also loads on glibc {value}"


def _torch(
    recipe: Recipe, accelerator: Accelerator, selected: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The minor versions of torch that one accelerator's wheels get extensions for.

    :raises TargetUnavailable: if one that was selected by name is not offered (promise 7).
    """
    offered = recipe.targets.torch.get(accelerator, ())
    if selected is None:
        return ascending(tuple(x for x in recipe.targets.default.torch or () if x in offered))
    for minor in selected:
        if minor not in offered:
            raise TargetUnavailable(
                f"recipe {recipe.name} does not offer torch {minor!r} for {accelerator}",
                cause=did_you_mean(minor, offered) if offered else "it offers none there",
                hint=_torch_hint(recipe),
            )
    return ascending(selected)


def _torch_on(
    recipe: Recipe, cell: tuple[Accelerator, str], selection: Selection
) -> tuple[str, ...] | None:
    """What a wheel for one accelerator and Python gets extensions for.

    :returns: ``None`` if torch has no wheels of a selected version for that Python.
    :raises TargetUnavailable: if that Python was selected by name as well (promise 7).
    """
    (accelerator, python), has_torch = cell, recipe.targets.has_torch
    minors = _torch(recipe, accelerator, selection.torch)
    missing = [minor for minor in minors if not has_torch(minor, python)]
    if selection.torch is None:
        return tuple(minor for minor in minors if minor not in missing)
    if missing and selection.python:
        having = ", ".join(recipe.targets.torch_python[missing[0]])
        raise TargetUnavailable(
            f"recipe {recipe.name} does not offer torch {missing[0]!r} for Python {python}",
            cause=f"that torch is for Python {having}",
            hint=f"choose one of them, or another version of torch; the table is "
            f"targets.torch-python in recipes/{recipe.name}.toml",
        )
    return None if missing else minors


def _torch_hint(recipe: Recipe) -> str:
    offers = recipe.targets.torch.items()
    told = "; ".join(f"{accelerator}: {', '.join(minors)}" for accelerator, minors in offers)
    where = f"targets.torch in recipes/{recipe.name}.toml"
    if not told:
        return f"leave --torch out: there is no {where}"
    return f"choose of {told}; or add it to {where} and run: kvpack lock {recipe.name}"


def _target(
    recipe: Recipe,
    roots: Roots,
    version: str,
    cell: tuple[str, str, str, str],
    torch: tuple[str, ...],
) -> Target:
    python, glibc, arch, accelerator = cell
    root = roots.pick(recipe.build.roots, python, glibc)
    if root is None:
        raise _no_root(recipe, roots, python, glibc)
    return Target(
        recipe=recipe.name,
        version=version,
        python=python,
        # A library is for a root, whatever the floors of the wheels that are built with it.
        glibc=glibc if python else root.glibc,
        arch=Arch(arch),
        accelerator=Accelerator(accelerator),
        torch=torch,
        root=root.id,
    )


def _no_root(recipe: Recipe, roots: Roots, python: str, glibc: str) -> TargetUnavailable:
    kinds = roots.matching(*recipe.build.roots)
    offers = "; ".join(f"{k.id}: glibc {k.glibc}, Python {', '.join(k.python)}" for k in kinds)
    return TargetUnavailable(
        f"no builder root has {f'Python {python}' if python else 'a userland'} at or below "
        f"glibc {glibc}",
        cause=f"the roots of {' and '.join(map(repr, recipe.build.roots))} are: {offers}",
        hint="choose a Python and a floor that one root has, "
        f"or another build.root in recipes/{recipe.name}.toml",
    )
