"""What goes into a bundle: wheels from dist/ or a storage, recipes, sources, inputs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kvpack.cli.bundlesets import Sets
from kvpack.cli.context import Context
from kvpack.cli.copies import BundleArgs
from kvpack.cli.inputs import locked_inputs
from kvpack.errors import KvpackError, UsageError
from kvpack.fetch.mirrors import input_place
from kvpack.fetch.model import ChangeWanted, GitWanted, PartWanted
from kvpack.publish.bundle import README, evidence_path
from kvpack.publish.bundletext import WHEELS, readme, simple_pages
from kvpack.publish.model import Release, Stored, Wheel
from kvpack.tools.files import sha256_file

if TYPE_CHECKING:
    from kvpack.cli.supply import AnyWanted
    from kvpack.tools.stored import Data


@dataclass
class Gathered:
    """The members of a bundle, and what is known to be missing."""

    parts: "dict[str, Data]" = field(default_factory=dict)
    releases: tuple[str, ...] = ()
    title: str = ""
    left_out: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """The requirements that it holds; complete sets first."""


def gather_parts(args: BundleArgs, context: Context) -> Gathered:
    """Everything that the bundle is to hold."""
    releases, wheels, data = _of_dist(args, context) if args.recipes else _of_storage(args, context)
    found = Gathered(releases=tuple(sorted(one.id for one in releases)))
    found.title = "; ".join(sorted({one.title for one in releases}))
    for release in releases:
        found.parts[release.path] = release.text()
        found.parts |= {lock.path: data[lock.path] for lock in release.locks}
    for wheel in wheels:
        found.parts[f"{WHEELS}/{wheel.filename}"] = data[wheel.path]
        for kind, one in wheel.evidence.items():
            found.parts[evidence_path(wheel, kind)] = data[one.path]
    sets = Sets(context, wheels, args.indexes)
    for file in args.requirements:
        sets.add(file)
    found.parts |= sets.fetched()
    found.texts = [*sets.texts, *sets.own_texts]
    found.parts |= {name: text.encode() for name, text in (sets.texts | sets.own_texts).items()}
    if not args.requirements:
        found.left_out.append("dependencies of the wheels: none were named with --requirements")
    for release in releases:
        _sources(args, context, release, found)
    digests = {
        path.removeprefix(f"{WHEELS}/"): _sha256(one)
        for path, one in found.parts.items()
        if path.startswith(f"{WHEELS}/")
    }
    found.parts |= simple_pages(digests)
    found.parts[README] = readme(found.title, found.texts, found.left_out).encode()
    return found


def _sha256(data: "Data") -> str:
    from kvpack.tools.files import sha256_of

    return sha256_of(data) if isinstance(data, bytes) else sha256_file(data)


Material = tuple[list[Release], list[Wheel], "dict[str, Data]"]


def _of_dist(args: BundleArgs, context: Context) -> Material:
    """The wheels of recipes, as ``kvpack publish`` would take them."""
    from kvpack.cli.libraries import lock_texts
    from kvpack.cli.select import Selected, of_wheels, plans
    from kvpack.publish.gather import gather

    if args.places or args.release:
        raise UsageError(
            "RECIPE and --from or --release exclude each other",
            hint="recipes are taken from --dist, releases from a storage",
        )
    if not args.dist.is_dir():
        raise UsageError(
            f"--dist {args.dist}: no such folder",
            hint=f"kvpack build {' '.join(args.recipes)} --out {args.dist}",
        )
    known = {name: getattr(args, name) for name in ("version", "python", "glibc", "arch", "cuda",
             "rocm", "cpu")}  # fmt: skip
    found = plans(context, Selected(recipes=of_wheels(context, args.recipes), **known))
    locks = lock_texts(context, found)
    prepared = gather(found, args.dist, locks, allow_partial=args.allow_partial)
    return [prepared.release], list(prepared.release.wheels), prepared.data


def _of_storage(args: BundleArgs, context: Context) -> Material:
    """The wheels of a release, or of all that a channel lists, with their evidence."""
    from kvpack.cli.copies import open_source
    from kvpack.cli.get import chosen_wheels, wish_of

    reading = open_source(args, context)
    axes = [str(a) for a in _accelerators(args)]
    wish = wish_of(args, axes)
    offers = chosen_wheels([], args, reading, wish)
    names = sorted({one.releases[-1] for one in offers})
    releases = [reading.copies.release(name) for name in names]
    digests = {one.sha256 for one in offers}
    wheels = {w.filename: w for one in releases for w in one.wheels if w.sha256 in digests}
    objects: dict[str, Stored] = {}
    for wheel in wheels.values():
        objects |= {one.path: one for one in (wheel, *wheel.evidence.values())}
    for release in releases:
        objects |= {lock.path: lock for lock in release.locks}
    reading.fetch(list(objects.values()), context)
    data: dict[str, Data] = {path: context.store.check(one.sha256) for path, one in objects.items()}
    return releases, [wheels[name] for name in sorted(wheels)], data


def _accelerators(args: BundleArgs) -> tuple[str, ...]:
    from kvpack.cli.select import selection

    return tuple(selection(args).accelerator or ())


# -- what it was built from -----------------------------------------------------------------------


def _sources(args: BundleArgs, context: Context, release: Release, found: Gathered) -> None:
    """Recipes, patches and sources, where the catalogue has the very lock of the release."""
    for promise in release.promises:
        name = promise.recipe
        try:
            path = context.catalogue.lock_path(name)
            same = path.is_file() and sha256_file(path) == promise.lock.sha256
        except KvpackError:
            same = False
        if same:
            for one in _with_libraries(context, name, promise.version):
                _of_recipe(args, context, one, found)
        else:
            found.left_out.append(
                f"recipe, patches and sources of {name} {promise.version}: the catalogue at hand "
                "has another lock, or there is none"
            )


def _with_libraries(context: Context, name: str, version: str) -> list[tuple[str, str]]:
    """A recipe's version, and those of the native libraries below it."""
    from kvpack.recipe.load import load_recipe
    from kvpack.recipe.versions import applies

    found = [(name, version)]
    for recipe, used_by in found:  # it grows meanwhile
        for use in load_recipe(context.catalogue, recipe).build.libraries:
            if applies(use.when, used_by) and (use.name, use.version) not in found:
                found.append((use.name, use.version))
    return found


def _of_recipe(args: BundleArgs, context: Context, what: tuple[str, str], found: Gathered) -> None:
    from kvpack.cli.planning import read_checked_lock
    from kvpack.cli.supply import supply
    from kvpack.lock.source import LockedPatch
    from kvpack.recipe.load import load_recipe

    name, version = what
    catalogue = context.catalogue
    recipe = load_recipe(catalogue, name)
    lock = read_checked_lock(context, recipe)
    found.parts[f"recipes/{name}.toml"] = catalogue.recipe_path(name)
    path = catalogue.lock_path(name)  # a native library's is no promise of the release
    found.parts.setdefault(f"locks/{name}/{sha256_file(path)}.toml", path)
    for patch in lock.patches:
        if isinstance(patch, LockedPatch) and patch.file:
            found.parts[f"patches/{name}/{patch.file}"] = catalogue.patch_path(name, patch.file)
    of_version = lock.model_copy(
        update={
            "source": tuple(one for one in lock.source if one.version == version),
            "root": (),
            "toolkit": (),
            "wheels": (),
        }
    )
    sources = locked_inputs(recipe, of_version)
    everything = locked_inputs(recipe, lock) if args.inputs else []
    supply(context, [*sources, *everything])
    for one in sources:
        found.parts[f"sources/{name}/{_file_of(one)}"] = context.store.check(one.sha256)
    for one in everything:
        found.parts[input_place(one.sha256)] = context.store.check(one.sha256)
    if args.inputs:
        images = sorted({root.image for root in lock.root if root.image})
        found.left_out += [f"the image {image}" for image in images]


def _file_of(wanted: "AnyWanted") -> str:
    if isinstance(wanted, GitWanted):
        return f"git-{wanted.commit[:12]}.tar"
    if isinstance(wanted, ChangeWanted):
        return f"{wanted.commit}.patch"
    if isinstance(wanted, PartWanted):
        return wanted.sha256
    # Files of Go modules are called by their version alone; laid out so, they are a proxy of Go.
    return f"go/{wanted.place}" if wanted.registry == "go" else wanted.filename
