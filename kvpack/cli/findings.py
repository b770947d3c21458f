"""What ``kvpack new`` finds out about a source: joins its archive, its index and the tables."""

from packaging.version import InvalidVersion, Version

from kvpack.cli.context import Context
from kvpack.cli.origins import Origin, import_names
from kvpack.cli.sources import content_of
from kvpack.errors import ResolutionFailed, TargetUnavailable
from kvpack.lock.sdist import Sdist, read_build_system
from kvpack.names import normalize
from kvpack.recipe.about import About, read_about
from kvpack.recipe.draft import quoted
from kvpack.recipe.facts import Facts, Offer, offer_for
from kvpack.recipe.hints import Hints
from kvpack.recipe.source import GitSource
from kvpack.recipe.survey import Survey, survey, wanted
from kvpack.tools.archive import unpack

LARGEST = 4 << 20
"""Bytes of a source file that is read: larger ones are generated."""


def facts_of(
    name: str, origin: Origin, git: GitSource | None, context: Context, hints: Hints
) -> Facts:
    """Read a source that is in the store, and ask the index about its published wheel.

    :raises ResolutionFailed: if it is no Python project, or does not tell its version.
    :raises TargetUnavailable: if no builder root has a Python for it.
    """
    size = context.store.blob_path(origin.sha256).stat().st_size
    content = content_of(context, (origin.file, origin.sha256, size), 0)
    backend, requires = read_build_system(content)
    about = read_about(content.pyproject, content.pkg_info, hints)
    names, found = _surveyed(origin, context, hints)
    version = origin.version or about.version or _of_tag(git)
    try:
        version = str(Version(version))
    except InvalidVersion:
        raise ResolutionFailed(
            f"{origin.file} does not tell its version (found {version!r})",
            cause="pyproject.toml leaves it to the build, and the tag is no version",
            hint="--sdist PROJECT==VERSION beside --git tells it",
        ) from None
    published, programs, wheel = import_names(context, origin)
    project = origin.project or normalize(about.project or name)
    owns, owns_from = _owned(published, wheel, about, names, project)
    return Facts(
        name=name,
        project=project,
        version=version,
        source=_source(git, project),
        from_git=git is not None,
        origin=origin.file,
        about=about,
        survey=found,
        backend=backend,
        build_requires=requires,
        owns=owns,
        owns_from=owns_from,
        programs=programs or about.scripts,
        notes=(*_place_notes(content, origin, git, context), *_pure_notes(origin, found)),
        offer=_offer(about.requires_python, origin, context, hints),
    )


def _surveyed(origin: Origin, context: Context, hints: Hints) -> tuple[list[str], Survey]:
    """Unpack the source, safely, and read it.

    :raises ResolutionFailed: if it is no Python project.
    """
    with context.console.step(f"Reading {origin.file}"), context.store.scratch("new") as folder:
        tree = folder / "tree"
        unpack(context.store.check(origin.sha256), tree, name=origin.file)
        tops = list(tree.iterdir())
        top = tops[0] if len(tops) == 1 and tops[0].is_dir() else tree
        files = {
            path.relative_to(top).as_posix(): path
            for path in sorted(top.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        if not {"pyproject.toml", "setup.py"} & set(files):
            held = ", ".join(sorted(path.name for path in top.iterdir())[:12])
            raise ResolutionFailed(
                f"{origin.file} has neither pyproject.toml nor setup.py at its top",
                cause="it is no Python project, or its Python part lies in a folder of its own",
                hint=f"its top holds: {held}",
            )
        texts = {
            name: path.read_text(encoding="utf-8", errors="replace")
            for name, path in files.items()
            if wanted(name) and path.stat().st_size <= LARGEST
        }
        return list(files), survey(files, texts, hints)


def _owned(
    published: tuple[str, ...], wheel: str, about: About, names: list[str], project: str
) -> tuple[tuple[str, ...], str]:
    if published:
        return published, f"read from RECORD of {wheel}"
    if about.packages:
        return about.packages, "read from pyproject.toml"
    likely = project.replace("-", "_")
    for folder in ("", "src/", "python/"):
        found = sorted(
            {
                name.removeprefix(folder).split("/")[0]
                for name in names
                if name.startswith(folder) and name.removeprefix(folder).endswith("/__init__.py")
                and name.removeprefix(folder).count("/") == 1
            }
        )  # fmt: skip
        kept = tuple(one for one in found if one not in {"tests", "test", "docs", "examples"})
        if kept:
            return kept, f"guess: packages in {folder or 'the top folder'}"
    return (likely,), "guess: the project's name; nothing says more"


def _offer(requires_python: str, origin: Origin, context: Context, hints: Hints) -> Offer:
    offer = offer_for(requires_python, context.roots, hints)
    if offer is None:
        kinds = context.roots.root
        raise TargetUnavailable(
            f"no builder root has a Python that {origin.file} takes: {requires_python}",
            cause="; ".join(f"{kind.id}: {', '.join(kind.python)}" for kind in kinds),
            hint="choose another version of it: --sdist PROJECT==VERSION",
        )
    return offer


def _of_tag(git: GitSource | None) -> str:
    return (git.tag or "").rpartition("/")[2].lstrip("v") if git else ""


def _source(git: GitSource | None, project: str) -> str:
    if git is None:
        return f"{{ sdist = {quoted(project)} }}"
    return f"{{ git = {quoted(git.git)}, tag = {quoted(git.tag or '')} }}"


def _place_notes(
    content: Sdist, origin: Origin, git: GitSource | None, context: Context
) -> list[str]:
    found = []
    if content.pyproject is None:
        found.append("it has no pyproject.toml: it is built by setuptools (PEP 517), which you may "
                     "have to help with build.requires")  # fmt: skip
    listed = {link.filename for link in origin.links}
    if git is None and origin.file not in listed and not context.options.offline:
        found.append(
            f"{origin.file} is not on this machine's index, where kvpack lock looks for it; an "
            f'archive has source = {{ archive = "https://…", sha256 = "{origin.sha256}" }}'
        )
    return found


def _pure_notes(origin: Origin, found: Survey) -> list[str]:
    """kvpack builds wheels that hold binaries; cibuildwheel refuses others."""
    wheels = [link.filename for link in origin.wheels]
    if wheels and all(name.endswith("-none-any.whl") for name in wheels):
        return ["its published wheel is pure Python: it needs no recipe, and no build will make it"]
    if not wheels and not found.compiled:
        return ["nothing to compile was found: if it is pure Python, it needs no recipe"]
    return []
