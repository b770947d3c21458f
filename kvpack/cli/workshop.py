"""The builder root as an image of a working engine, made or obtained when it is missing."""

from typing import TYPE_CHECKING

from kvpack.build.imagedebs import beside_key
from kvpack.build.root import root_key, write_root
from kvpack.build.toolkit import toolkit_key
from kvpack.cli.context import Context
from kvpack.cli.images import Hashing, Kept, kept, labels
from kvpack.cli.layer import beside_image, library_over, over_root
from kvpack.cli.supply import root_parts
from kvpack.errors import (
    EngineMissing,
    Fault,
    KvpackError,
    OfflineMissing,
    RootFailed,
    TargetUnavailable,
)
from kvpack.tools.engine import Engine, choose, oci_platform, reachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvpack.build.model import BuildPlan, BuiltLibrary
    from kvpack.lock.model import Inputs
    from kvpack.report import Step

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_machine(context: Context, plan: "BuildPlan") -> None:
    """Fail before anything is fetched.

    :raises TargetUnavailable: if the target is for another architecture.
    """
    target = plan.inputs.target
    if target.arch != context.machine:
        raise TargetUnavailable(
            f"{plan.title} cannot be built here",
            cause=f"this machine is {context.machine}, the target is {target.arch}",
            hint=f"run the same command on an {target.arch} machine: the key is the same there "
            f"({plan.key[:12]})",
        )


def ready_root(
    context: Context, inputs: "Inputs", libraries: "Sequence[BuiltLibrary]" = ()
) -> tuple[Engine, str, str]:
    """An engine that runs the root, the image's immutable reference, and the root's digest.

    The root of an accelerator's target has the toolkit in it.

    :param libraries: native libraries to lay over it.
    Every engine that answers is tried until one has or takes the root and runs it.

    :raises EngineMissing: if no engine works here.
    :raises RootFailed: if the root cannot be made or pulled.
    """
    key = layers_key(context, inputs, libraries)
    if key not in context.ready_roots:
        context.ready_roots[key] = _probed(context, inputs, libraries)
    return context.ready_roots[key]


def layers_key(context: Context, inputs: "Inputs", libraries: "Sequence[BuiltLibrary]" = ()) -> str:
    """What tells one root with all that lies over it from others."""
    if inputs.root.image is None:
        key = str(root_key(inputs, context.roots.debian))
    else:
        key = beside_key(inputs.root, context.roots) if inputs.root.packages else inputs.root.image
    if inputs.has_toolkit:
        key = toolkit_key(inputs, key, context.roots.toolkits)
    return " ".join([key, *(one.sha256 for one in libraries)])


def _probed(
    context: Context, inputs: "Inputs", libraries: "Sequence[BuiltLibrary]"
) -> tuple[Engine, str, str]:
    engines = reachable(context.store, context.console)
    failures: list[KvpackError] = []
    for name in dict.fromkeys(engine.name for engine in engines):
        same = [engine for engine in engines if engine.name == name]
        try:
            image, digest = layered(context, inputs, same[0], libraries)
            return choose(same, image, context.store, context.console), image, digest
        except (EngineMissing, RootFailed) as error:
            failures.append(error)
    if len(failures) > 1:
        for failure in failures[:-1]:
            context.console.warn(f"{failure.what}: {failure.cause}")
    raise failures[-1]


def layered(
    context: Context, inputs: "Inputs", engine: Engine, libraries: "Sequence[BuiltLibrary]"
) -> tuple[str, str]:
    """A root with all that lies over it, made if need be: its image's reference, and digest.

    ``cli/imagegc.py`` walks it with a context that makes nothing, to learn what is still needed.
    """
    if inputs.root.image is not None:
        image, digest = _pulled(context, inputs, engine), inputs.root.image
        if inputs.root.packages:
            image, digest = beside_image(context, inputs, engine, image)
    else:
        image, digest = _assembled(context, inputs, engine)
    if inputs.has_toolkit:
        image, digest = over_root(context, inputs, engine, (image, digest))
    for library in libraries:
        image, digest = library_over(context, library, engine, (image, digest))
    return image, digest


def _assembled(context: Context, inputs: "Inputs", engine: Engine) -> tuple[str, str]:
    """The generated root, made if need be: id and digest of its image."""
    root, packages = inputs.root, len(inputs.root.packages)
    wanted = Kept(
        key=root_key(inputs, context.roots.debian),
        what=f"the builder root {root.id}",
        name=f"{root.id}-{root.arch}",
        title=f"Assembling builder root {root.id} ({packages} packages)",
        parts=root_parts(inputs),
    )

    def make(image: str, step: "Step") -> Hashing:
        changes = [f"ENV PATH={PATH}", *labels(context.store, wanted.key), 'CMD ["/bin/bash"]']
        platform = oci_platform(root.arch)
        with engine.importing(image, changes, platform, context.console) as pipe:
            stream = Hashing(pipe)
            write_root(
                inputs,
                context.roots.debian,
                context.store.check,
                stream,  # type: ignore[arg-type]
                lambda done, total: step.progress(done, total, "packages"),
            )
        return stream

    return kept(context, engine, wanted, make)


def _pulled(context: Context, inputs: "Inputs", engine: Engine) -> str:
    """A PyPA image, by digest: any registry that answers can only give those bytes."""
    from kvpack.cli.imageplaces import image_places
    from kvpack.cli.inputimages import mirrored_image

    image, platform = str(inputs.root.image), oci_platform(inputs.root.arch)
    if context.looked is not None:
        return image
    places = image_places(context, image)
    for place in places:
        if engine.has_image(place, context.console):
            return place
    if mirrored := mirrored_image(context, engine, image, platform):
        return mirrored
    if context.options.offline:
        raise OfflineMissing(
            f"the builder image {image} is not on this machine",
            cause="--offline forbids pulling it",
            hint=f"with network: {engine.name} pull {image}",
        )
    faults = []
    for place in places:
        try:
            _pull(context, engine, place, platform)
        except RootFailed as error:
            faults.append(Fault(place=place, message=error.what))
        else:
            return place
    raise RootFailed(
        f"the builder image {image} cannot be pulled",
        cause=faults[0].message if len(faults) == 1 else "none of its places gives it",
        hint="name a mirror of that registry in kvpack.toml ([registries.images.mirrors]) or in "
        "registries.conf, or choose a target of a Debian root (kvpack show)",
        faults=faults[:-1] and faults,
    )


def _pull(context: Context, engine: Engine, place: str, platform: str) -> None:
    """:raises RootFailed: with what the engine says, if the place does not give the image."""
    with context.console.step(f"Pulling {place}"):
        result = engine.pull(place, platform, context.console)
        if result.code != 0:
            raise RootFailed(" ".join(result.tail(3)))
