"""What a complete lock of a recipe holds. Pure: ``pin`` gathers it, ``check`` compares with it."""

from collections.abc import Iterable

from kvpack.lock.gomodules import environments, folders_for, pending_modules
from kvpack.lock.model import Closure, Lock, LockedImage
from kvpack.lock.roots import picked_roots, root_pythons, supplies, used_roots
from kvpack.lock.source import (
    AnyPatch,
    AnySource,
    CompleteSource,
    LockedArchive,
    LockedGit,
    LockedSource,
    PendingArchive,
    PendingGit,
    PendingPatch,
)
from kvpack.lock.toolkit import missing
from kvpack.names import Accelerator, Arch
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import RootKind, Roots
from kvpack.recipe.source import ArchiveSource, GitSource, SdistSource, Source
from kvpack.recipe.torch import ascending, torch_requirement


def identity(closure: Closure) -> tuple[object, ...]:
    """What tells one closure of a lock from another."""
    where = (closure.python, closure.root, closure.arch, closure.accelerator)
    return (closure.use, closure.version, *where, closure.torch)


def incomplete(
    recipe: Recipe,
    roots: Roots,
    sources: Iterable[AnySource] = (),
    patches: Iterable[AnyPatch] = (),
    toolkits: Iterable[LockedImage] = (),
) -> tuple[str, ...]:
    """What a lock of this recipe cannot name yet, each with its reason."""
    unlocked = missing(recipe, roots, toolkits)
    unread = (pending_source(recipe.name, source) for source in sources)
    undone = (pending_patch(patch) for patch in patches)
    unfetched = (pending_modules(recipe.name, source) for source in sources)
    bare = (
        f"root {kind.id}: no suite of Debian's mirrors is as old as its glibc ({kind.glibc}), so "
        "nothing locks what build.debian names"
        for kind in picked_roots(recipe, roots)
        if not supplies(recipe, kind)
    )
    return (*unlocked, *bare, *filter(None, (*unread, *unfetched, *undone)))


def pending_source(recipe: str, source: AnySource) -> str:
    """Why the bytes of a source are unknown; empty: they are known."""
    named = f"source of {recipe} {source.version}"
    match source:
        case PendingGit(commit=None):
            return f"{named}: the commit of tag {source.tag} is not known (upstream unreachable)"
        case PendingGit():
            return f"{named}: commit known, tree not fetched (upstream unreachable)"
        case PendingArchive():
            return f"{named}: sha256 known, archive not fetched (upstream unreachable)"
        case _:
            return ""


def source_difference(locked: AnySource, wanted: Source) -> str:
    """In what a locked source is not the one that the recipe names; empty: it is the same."""
    match wanted, locked:
        case SdistSource(), LockedSource():
            if locked.project == wanted.sdist:
                return ""
            before, now = f"the sdist of {locked.project!r}", repr(wanted.sdist)
        case ArchiveSource(), LockedArchive() | PendingArchive():
            before, now = (
                f"{url} with sha256 {digest[:12]}…"
                for url, digest in (
                    (locked.archive, locked.sha256),
                    (wanted.archive, wanted.sha256),
                )
            )
        case GitSource(), LockedGit() | PendingGit():
            commit = wanted.commit or locked.commit
            before, now = (
                _git_words(*words)
                for words in (
                    (locked.git, locked.tag, locked.commit, locked.submodules),
                    (wanted.git, wanted.tag, commit, wanted.submodules),
                )
            )
        case _:
            before, now = "a source of another kind", "another one"
    return "" if before == now else f"{before}, the recipe names {now}"


def reading_difference(locked: AnySource, recipe: Recipe) -> str:
    """In what a locked source was read otherwise than ``[build]`` says; empty: in nothing."""
    package, wraps = recipe.build.read_package, recipe.build.wraps
    if isinstance(locked, PendingGit | PendingArchive):
        return ""
    if locked.package != package:
        return f"{locked.package or '.'}/pyproject.toml was read, build.package is {package or '.'}"
    if locked.wraps != wraps:
        return f"the subprojects {list(locked.wraps)} are locked, build.wraps is {list(wraps)}"
    if locked.go != (folders := folders_for(recipe, locked.version)):
        return f"Go modules of {list(locked.go)} are locked, build.go asks for {list(folders)}"
    return ""


def _git_words(git: str, tag: str | None, commit: str | None, submodules: bool) -> str:  # noqa: FBT001
    words = [git, *([f"tag {tag}"] if tag else []), *([f"commit {commit}"] if commit else [])]
    return " ".join(words) + (" with submodules" if submodules else "")


def pending_patch(patch: AnyPatch) -> str:
    """Why the bytes of a patch are unknown; empty: they are known."""
    if isinstance(patch, PendingPatch):
        return f"patch {patch.id}: commit known, change not fetched (upstream unreachable)"
    return ""


def build_requires(recipe: Recipe, roots: Roots, source: CompleteSource) -> tuple[str, ...]:
    """What the build environment must hold: the back end's wishes, the recipe's, the front end."""
    return tuple(sorted({*source.build_requires, *recipe.build.requires, *roots.tools.build}))


def expected_closures(recipe: Recipe, roots: Roots, sources: Iterable[AnySource]) -> list[Closure]:
    """Every closure that a complete lock holds, without its files."""
    found = [host_closure(roots)]
    for kind, arch in used_roots(recipe, roots):
        found += root_closures(recipe, roots, kind, arch)
    cells = _cells(recipe, roots)
    for source in sources:
        found += source_closures(recipe, roots, source, cells)
        found += torch_closures(recipe, roots, source)
    return found + toolkit_closures(recipe, roots)


def _cells(recipe: Recipe, roots: Roots) -> list[tuple[str, Arch, str]]:
    """Root, architecture and Python of every build environment."""
    used = used_roots(recipe, roots)
    return [(kind.id, arch, python) for kind, arch in used for python in root_pythons(recipe, kind)]


def source_closures(
    recipe: Recipe,
    roots: Roots,
    source: AnySource,
    cells: Iterable[tuple[str, Arch, str]] | None = None,
) -> list[Closure]:
    """What the source's own requirements ask for; what an unread source asks for is unknown.

    :param cells: where it is built, if that is known already: it is the same for every source.
    """
    if isinstance(source, PendingGit | PendingArchive):
        return []
    requires = build_requires(recipe, roots, source)
    wanted: list[tuple[str, Accelerator | None, tuple[str, ...]]] = [
        ("build", accelerator, tuple(sorted({*requires, *more})))
        for accelerator, more in environments(recipe, source.version)
    ]
    if recipe.audit.imports or recipe.audit.run:
        wanted.append(("import", None, source.run_requires))
    return [
        Closure.model_validate(
            {
                "use": use,
                "requires": needed,
                "version": source.version,
                "python": python,
                "root": root,
                "arch": arch,
                "accelerator": accelerator,
                "files": (),
            }
        )
        for root, arch, python in cells or _cells(recipe, roots)
        for use, accelerator, needed in wanted
    ]


def torch_closures(recipe: Recipe, roots: Roots, source: AnySource) -> list[Closure]:
    """The build environments with torch, resolved as a whole: torch limits what is beside it."""
    if not recipe.targets.torch or isinstance(source, PendingGit | PendingArchive):
        return []
    requires = build_requires(recipe, roots, source)
    return [
        Closure(
            use="build",
            requires=tuple(
                sorted({*requires, *_go(recipe, source, accelerator), torch_requirement(minor)})
            ),
            version=source.version,
            python=python,
            root=kind.id,
            arch=arch,
            accelerator=accelerator,
            torch=minor,
            files=(),
        )
        for kind, arch in used_roots(recipe, roots)
        for python in root_pythons(recipe, kind)
        for accelerator, minors in recipe.targets.torch.items()
        for minor in ascending(minors)
        if recipe.targets.has_torch(minor, python)
    ]


def _go(recipe: Recipe, source: CompleteSource, accelerator: Accelerator) -> tuple[str, ...]:
    """The toolchain of Go, where a build with torch takes one."""
    go = recipe.go_for(source.version, accelerator, torch=True)
    return (go.toolchain,) if go else ()


def host_closure(roots: Roots) -> Closure:
    """The driver on the host: one closure for every machine, so pure wheels only.

    The locks of native libraries hold it too: cibuildwheel pins the digests of images.
    """
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


def toolkit_closures(recipe: Recipe, roots: Roots) -> list[Closure]:
    """The toolkits of the recipe's accelerators, per architecture."""
    return [
        Closure(use="toolkit", requires=(wanted,), arch=arch, accelerator=accelerator, files=())
        for accelerator in recipe.targets.accelerator
        if (wanted := roots.toolkits.requirement(recipe, accelerator))
        for arch in recipe.targets.arch
    ]


def is_complete(lock: Lock, accelerator: str, root: str = "") -> bool:
    """Whether the lock holds everything that a target of this accelerator needs, in this root."""
    lacks = (f"accelerator {accelerator}:", f"root {root}:")
    return not any(reason.startswith(lacks) for reason in lock.incomplete)
