"""The builder root as an image of a working engine, made or obtained when it is missing."""

from typing import TYPE_CHECKING

from kvpack.build.root import root_key, write_root
from kvpack.build.toolkit import toolkit_key
from kvpack.cli.context import Context
from kvpack.cli.images import Hashing, Kept, kept
from kvpack.cli.layer import library_over, over_root
from kvpack.cli.supply import root_parts
from kvpack.errors import (
    EngineMissing,
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
    key = inputs.root.image or root_key(inputs, context.roots.debian)
    if inputs.toolkit:
        key = toolkit_key(inputs, key, context.roots.toolkits)
    key = " ".join([key, *(one.sha256 for one in libraries)])
    if key not in context.ready_roots:
        context.ready_roots[key] = _probed(context, inputs, libraries)
    return context.ready_roots[key]


def _probed(
    context: Context, inputs: "Inputs", libraries: "Sequence[BuiltLibrary]"
) -> tuple[Engine, str, str]:
    engines = reachable(context.store, context.console)
    failures: list[KvpackError] = []
    for name in dict.fromkeys(engine.name for engine in engines):
        same = [engine for engine in engines if engine.name == name]
        try:
            if inputs.root.image is not None:
                image, digest = _pulled(context, inputs, same[0]), inputs.root.image
            else:
                image, digest = _assembled(context, inputs, same[0])
            if inputs.toolkit:
                image, digest = over_root(context, inputs, same[0], (image, digest))
            for library in libraries:
                image, digest = library_over(context, library, same[0], (image, digest))
            return choose(same, image, context.store, context.console), image, digest
        except (EngineMissing, RootFailed) as error:
            failures.append(error)
    if len(failures) > 1:
        for failure in failures[:-1]:
            context.console.warn(f"{failure.what}: {failure.cause}")
    raise failures[-1]


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
        changes = [f"ENV PATH={PATH}", f"LABEL kvpack.root={wanted.key}", 'CMD ["/bin/bash"]']
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
    from kvpack.cli.inputimages import mirrored_image

    image, platform = str(inputs.root.image), oci_platform(inputs.root.arch)
    if engine.has_image(image, context.console):
        return image
    if mirrored := mirrored_image(context, engine, image, platform):
        return mirrored
    if context.options.offline:
        raise OfflineMissing(
            f"the builder image {image} is not on this machine",
            cause="--offline forbids pulling it",
            hint=f"with network: {engine.name} pull {image}",
        )
    with context.console.step(f"Pulling {image}"):
        result = engine.pull(image, platform, context.console)
    if result.code != 0:
        raise RootFailed(
            f"the builder image {image} cannot be pulled",
            cause=" ".join(result.tail(3)),
            hint="name a mirror of that registry in registries.conf, or set build.root to a "
            "debian root in the recipe",
        )
    return image
