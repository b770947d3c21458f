"""Toolkits and native libraries as layers over a builder root, whatever the root is made of."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvpack.build.root import write_layer
from kvpack.build.toolkit import ENVIRONMENT, PROGRAMS, toolkit_files, toolkit_key
from kvpack.cli.context import Context
from kvpack.cli.images import Hashing, Kept, kept
from kvpack.cli.supply import toolkit_parts
from kvpack.tools.engine import Engine
from kvpack.tools.files import CHUNK, canonical_json, sha256_of

if TYPE_CHECKING:
    from kvpack.build.model import BuiltLibrary
    from kvpack.lock.model import Inputs
    from kvpack.report import Step


def over_root(
    context: Context, inputs: "Inputs", engine: Engine, below: tuple[str, str]
) -> tuple[str, str]:
    """The root with the target's toolkit at ``/usr/local/cuda``: id of its image, and digest.

    :param below: id and digest of the root's image.
    :raises RootFailed: if the engine does not take it, or the wheels contradict each other.
    """
    toolkits, target = context.roots.toolkits, inputs.target
    wanted = Kept(
        key=toolkit_key(inputs, below[1], toolkits),
        what=f"the {target.accelerator} toolkit over {inputs.root.id}",
        name=f"{inputs.root.id}-{inputs.root.arch}-{target.accelerator}",
        title=f"Laying the {target.accelerator} toolkit over {inputs.root.id}",
        parts=toolkit_parts(inputs),
    )

    def write(out: Hashing) -> None:
        wheels = [(wheel, context.store.check(wheel.sha256)) for wheel in inputs.toolkit]
        files = toolkit_files(wheels, target.arch, toolkits)
        write_layer(files, out)  # type: ignore[arg-type]

    def gained(variables: dict[str, str]) -> dict[str, str]:
        path = ":".join(filter(None, (PROGRAMS, variables.get("PATH", ""))))
        return {**ENVIRONMENT, "PATH": path}

    return _laid(context, engine, (wanted, below), gained, write)


def library_over(
    context: Context, built: "BuiltLibrary", engine: Engine, below: tuple[str, str]
) -> tuple[str, str]:
    """A root with a native library at its prefix: id of its image, and digest.

    :raises RootFailed: if the engine does not take it.
    """
    from kvpack.build.prefix import LAYER, library_environment

    plan, target = built.plan, built.plan.inputs.target
    prefix = plan.recipe.library.prefix if plan.recipe.library else ""
    document = {"root": below[1], "layer": LAYER, "prefix": prefix, "library": built.sha256}
    wanted = Kept(
        key=sha256_of(canonical_json(document)),
        what=f"{plan.title} over its root",
        name=f"{target.root}-{target.arch}-{target.accelerator}-{plan.recipe.name}",
        title=f"Laying {plan.title} over its root",
        parts=[],
    )

    def write(out: Hashing) -> None:
        with context.store.check(built.sha256).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                out.write(chunk)

    def gained(variables: dict[str, str]) -> dict[str, str]:
        return library_environment(prefix, variables)

    return _laid(context, engine, (wanted, below), gained, write)


def _laid(
    context: Context,
    engine: Engine,
    what: tuple[Kept, tuple[str, str]],
    gained: Callable[[dict[str, str]], dict[str, str]],
    write: Callable[[Hashing], None],
) -> tuple[str, str]:
    """An image with one layer more, made if need be: its id and digest.

    :param gained: the variables that come with the layer, from those of the image below.
    """
    wanted, (base, digest) = what
    label = f"kvpack.layer={wanted.key}-{sha256_of(str(context.store.root).encode())[:16]}"

    def make(image: str, step: "Step") -> Hashing:
        del step
        variables = gained(engine.variables(base, context.console))
        changes = [f"ENV {name}={value}" for name, value in variables.items()]
        changes.append(f"LABEL kvpack.root={wanted.key}")
        with engine.layering(base, image, changes, label, context.console) as pipe:
            stream = Hashing(pipe)
            write(stream)
        return stream

    image, layer = kept(context, engine, wanted, make)
    return image, sha256_of(f"{digest} {layer}".encode())
