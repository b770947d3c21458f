"""Debian packages, toolkits and native libraries as layers over a builder root."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvpack.build.imagefolder import image_environment, write_folder
from kvpack.build.root import write_beside, write_layer
from kvpack.build.toolkit import toolkit_environment, toolkit_files, toolkit_key
from kvpack.cli.context import Context
from kvpack.cli.images import Hashing, Kept, kept, labels, laid_digest, store_mark
from kvpack.cli.supply import root_parts, toolkit_parts
from kvpack.errors import RootFailed
from kvpack.tools.engine import Engine
from kvpack.tools.files import CHUNK, canonical_json, sha256_of

if TYPE_CHECKING:
    from kvpack.build.model import BuiltLibrary
    from kvpack.lock.model import Inputs, LockedImage
    from kvpack.report import Step


def beside_image(context: Context, inputs: "Inputs", engine: Engine, image: str) -> tuple[str, str]:
    """An image with the Debian packages that are locked for it: id of the new image, and digest.

    :param image: its reference, as the engine knows it.
    :raises RootFailed: if the engine does not take it.
    """
    from kvpack.build.imagedebs import beside_environment, beside_key

    root, roots, arch = inputs.root, context.roots, inputs.target.arch
    digest = str(root.image)
    wanted = Kept(
        key=beside_key(root, roots),
        what=f"the Debian packages beside {root.id}",
        name=f"{root.id}-{root.arch}-debian",
        title=f"Laying {len(root.packages)} Debian packages beside {root.id}",
        parts=root_parts(inputs),
        below=digest,
    )

    def write(out: Hashing, step: "Step") -> None:
        write_beside(
            root.packages, (roots.image, roots.debian), context.store.check, out,  # type: ignore[arg-type]
            lambda done, total: step.progress(done, total, "packages"),
        )  # fmt: skip

    def gained(variables: dict[str, str]) -> dict[str, str]:
        return beside_environment(roots.image.prefix, arch, variables)

    return _laid(context, engine, (wanted, (image, digest)), gained, write)


def over_root(
    context: Context, inputs: "Inputs", engine: Engine, below: tuple[str, str]
) -> tuple[str, str]:
    """The root with the target's toolkit: id of its image, and digest.

    :param below: id and digest of the root's image.
    :raises RootFailed: if the engine does not take it, the wheels contradict each other, or the
        image has no such folder.
    """
    toolkits, target = context.roots.toolkits, inputs.target
    wanted = Kept(
        key=toolkit_key(inputs, below[1], toolkits),
        what=f"the {target.accelerator} toolkit over {inputs.root.id}",
        name=f"{inputs.root.id}-{inputs.root.arch}-{target.accelerator}",
        title=f"Laying the {target.accelerator} toolkit over {inputs.root.id}",
        parts=toolkit_parts(inputs),
        below=below[1],
    )

    def write(out: Hashing, step: "Step") -> None:
        if inputs.toolkit_image:
            _write_image(context, inputs.toolkit_image, out, step)
            return
        wheels = [(wheel, context.store.check(wheel.sha256)) for wheel in inputs.toolkit]
        files = toolkit_files(wheels, target.arch, toolkits)
        write_layer(files, out)  # type: ignore[arg-type]

    def gained(variables: dict[str, str]) -> dict[str, str]:
        if inputs.toolkit_image:
            return image_environment(inputs.toolkit_image, toolkits, variables)
        return toolkit_environment(variables)

    return _laid(context, engine, (wanted, below), gained, write)


def _write_image(context: Context, image: "LockedImage", out: Hashing, step: "Step") -> None:
    """The toolkit's folder of a locked image, whose manifest must name the locked layers.

    :raises RootFailed: if it names others, or has no such folder.
    """
    from kvpack.publish.imageparts import read

    named = [part.sha256 for part in read(context.store.read(image.image[-64:])).layers]
    if named != [layer.sha256 for layer in image.layers]:
        raise RootFailed(
            f"the lock names other layers of {image.image} than the image has",
            cause="the lock was edited by hand",
            hint=f"kvpack lock RECIPE --upgrade {image.accelerator}",
        )
    layers = [context.store.check(layer.sha256) for layer in image.layers]
    write_folder(
        image, layers, context.roots.toolkits, out,  # type: ignore[arg-type]
        lambda done, total: step.progress(done, total, "layers"),
    )  # fmt: skip


def library_over(
    context: Context, built: "BuiltLibrary", engine: Engine, below: tuple[str, str]
) -> tuple[str, str]:
    """A root with a native library at its prefix: id of its image, and digest.

    :raises RootFailed: if the engine does not take it.
    """
    from kvpack.build.prefix import library_environment

    plan, target = built.plan, built.plan.inputs.target
    prefix = plan.recipe.library.prefix if plan.recipe.library else ""
    wanted = Kept(
        key=library_layer_key(built, below[1]),
        what=f"{plan.title} over its root",
        name=f"{target.root}-{target.arch}-{target.accelerator}-{plan.recipe.name}",
        title=f"Laying {plan.title} over its root",
        parts=[],
        below=below[1],
    )

    def write(out: Hashing, step: "Step") -> None:
        del step
        with context.store.check(built.sha256).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                out.write(chunk)

    def gained(variables: dict[str, str]) -> dict[str, str]:
        return library_environment(prefix, variables)

    return _laid(context, engine, (wanted, below), gained, write)


def library_layer_key(built: "BuiltLibrary", root: str) -> str:
    """What decides the bytes of a root with a native library.

    :param root: digest of the root under it.
    """
    from kvpack.build.prefix import LAYER

    prefix = built.plan.recipe.library.prefix if built.plan.recipe.library else ""
    document = {"root": root, "layer": LAYER, "prefix": prefix, "library": built.sha256}
    return sha256_of(canonical_json(document))


def _laid(
    context: Context,
    engine: Engine,
    what: tuple[Kept, tuple[str, str]],
    gained: Callable[[dict[str, str]], dict[str, str]],
    write: Callable[[Hashing, "Step"], None],
) -> tuple[str, str]:
    """An image with one layer more, made if need be: its id and digest.

    :param gained: the variables that come with the layer, from those of the image below.
    """
    wanted, (base, digest) = what
    label = f"kvpack.layer={wanted.key}-{store_mark(context.store)}"

    def make(image: str, step: "Step") -> Hashing:
        variables = gained(engine.variables(base, context.console))
        changes = [f"ENV {name}={value}" for name, value in variables.items()]
        changes += labels(context.store, wanted.key)
        with engine.layering(base, image, changes, label, context.console) as pipe:
            stream = Hashing(pipe)
            write(stream, step)
        return stream

    image, layer = kept(context, engine, wanted, make)
    return image, laid_digest(digest, layer)
