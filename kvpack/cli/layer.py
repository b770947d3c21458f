"""The accelerator's toolkit as one layer over a builder root, whatever the root is made of."""

from typing import TYPE_CHECKING

from kvpack.build.root import write_layer
from kvpack.build.toolkit import ENVIRONMENT, PROGRAMS, toolkit_files, toolkit_key
from kvpack.cli.context import Context
from kvpack.cli.images import Hashing, Kept, kept
from kvpack.cli.supply import toolkit_parts
from kvpack.tools.engine import Engine
from kvpack.tools.files import sha256_of

if TYPE_CHECKING:
    from kvpack.lock.model import Inputs
    from kvpack.report import Step


def over_root(
    context: Context, inputs: "Inputs", engine: Engine, below: tuple[str, str]
) -> tuple[str, str]:
    """The root with the target's toolkit at ``/usr/local/cuda``: id of its image, and digest.

    :param below: id and digest of the root's image.
    :raises RootFailed: if the engine does not take it, or the wheels contradict each other.
    """
    base, digest = below
    toolkits, target = context.roots.toolkits, inputs.target
    wanted = Kept(
        key=toolkit_key(inputs, digest, toolkits),
        what=f"the {target.accelerator} toolkit over {inputs.root.id}",
        name=f"{inputs.root.id}-{inputs.root.arch}-{target.accelerator}",
        title=f"Laying the {target.accelerator} toolkit over {inputs.root.id}",
        parts=toolkit_parts(inputs),
    )
    label = f"kvpack.layer={wanted.key}-{sha256_of(str(context.store.root).encode())[:16]}"

    def make(image: str, step: "Step") -> Hashing:
        del step
        path = engine.variables(base, context.console).get("PATH", "")
        variables = {**ENVIRONMENT, "PATH": ":".join(filter(None, (PROGRAMS, path)))}
        changes = [f"ENV {name}={value}" for name, value in variables.items()]
        changes.append(f"LABEL kvpack.root={wanted.key}")
        wheels = [(wheel, context.store.check(wheel.sha256)) for wheel in inputs.toolkit]
        with engine.layering(base, image, changes, label, context.console) as pipe:
            stream = Hashing(pipe)
            files = toolkit_files(wheels, target.arch, toolkits)
            write_layer(files, stream)  # type: ignore[arg-type]
        return stream

    image, layer = kept(context, engine, wanted, make)
    return image, sha256_of(f"{digest} {layer}".encode())
