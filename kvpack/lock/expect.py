"""What a complete lock of a recipe holds. Pure: ``pin`` gathers it, ``check`` compares with it."""

from collections.abc import Iterable

from kvpack.lock.model import Closure, Lock, LockedSource
from kvpack.names import Arch
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import RootKind, Roots


def identity(closure: Closure) -> tuple[object, ...]:
    """What tells one closure of a lock from another."""
    return (closure.use, closure.version, closure.python, closure.root, closure.arch)


def incomplete(recipe: Recipe) -> tuple[str, ...]:
    """What a lock of this recipe cannot name yet: the toolkits of accelerators."""
    return tuple(
        f"accelerator {accelerator}: no toolkit is locked for it"
        for accelerator in recipe.targets.accelerator
        if accelerator != "cpu"
    )


def used_roots(recipe: Recipe, roots: Roots) -> list[tuple[RootKind, Arch]]:
    """The roots that some target of the recipe is built in, per architecture."""
    picked = {
        kind.id: kind
        for python in recipe.targets.python
        for glibc in recipe.targets.glibc
        if (kind := roots.pick(recipe.build.root, python, glibc))
    }
    return [(picked[name], arch) for name in sorted(picked) for arch in recipe.targets.arch]


def root_pythons(recipe: Recipe, kind: RootKind) -> list[str]:
    """The Pythons of a root that the recipe offers."""
    return [python for python in kind.python if python in recipe.targets.python]


def include_for(recipe: Recipe, roots: Roots, kind: RootKind) -> tuple[str, ...]:
    """The Debian packages to ask for: the base, the Pythons, the recipe's own."""
    pythons = [
        name.replace("X.Y", python)
        for python in root_pythons(recipe, kind)
        for name in roots.debian.python_packages
    ]
    own = recipe.build.debian
    return tuple(sorted({*roots.debian.packages, *kind.packages, *pythons, *own}))


def build_requires(recipe: Recipe, roots: Roots, source: LockedSource) -> tuple[str, ...]:
    """What the build environment must hold: the back end's wishes, the recipe's, the front end."""
    return tuple(sorted({*source.build_requires, *recipe.build.requires, *roots.tools.build}))


def expected_closures(
    recipe: Recipe, roots: Roots, sources: Iterable[LockedSource]
) -> list[Closure]:
    """Every closure that a complete lock holds, without its files."""
    found = [host_closure(roots)]
    for kind, arch in used_roots(recipe, roots):
        found += root_closures(recipe, roots, kind, arch)
    for source in sources:
        found += source_closures(recipe, roots, source)
    return found


def source_closures(recipe: Recipe, roots: Roots, source: LockedSource) -> list[Closure]:
    wanted = [("build", build_requires(recipe, roots, source))]
    if recipe.audit.imports or recipe.audit.run:
        wanted.append(("import", source.run_requires))
    return [
        Closure.model_validate(
            {
                "use": use,
                "requires": requires,
                "version": source.version,
                "python": python,
                "root": kind.id,
                "arch": arch,
                "files": (),
            }
        )
        for kind, arch in used_roots(recipe, roots)
        for python in root_pythons(recipe, kind)
        for use, requires in wanted
    ]


def host_closure(roots: Roots) -> Closure:
    """The driver on the host: one closure for every machine, so pure wheels only."""
    return Closure(use="host", requires=roots.tools.host, python=roots.tools.host_python, files=())


def root_closures(recipe: Recipe, roots: Roots, kind: RootKind, arch: Arch) -> list[Closure]:
    """The tools inside a generated root, per Python; an image brings its own."""
    if kind.family != "debian":
        return []
    return [
        Closure(
            use="root", requires=roots.tools.root, python=python, root=kind.id, arch=arch, files=()
        )
        for python in root_pythons(recipe, kind)
    ]


def is_complete(lock: Lock, accelerator: str) -> bool:
    """Whether the lock holds everything that a target of this accelerator needs."""
    return not any(reason.startswith(f"accelerator {accelerator}:") for reason in lock.incomplete)
