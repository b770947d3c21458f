"""The builder root as an image of a working engine, made or obtained when it is missing."""

import hashlib
from typing import IO, TYPE_CHECKING

from kvpack.build.root import root_key, write_root
from kvpack.cli.context import Context
from kvpack.cli.supply import root_parts, supply
from kvpack.errors import OfflineMissing, RootFailed, ToolFailed
from kvpack.tools.engine import Engine, choose, oci_platform, reachable

if TYPE_CHECKING:
    from kvpack.lock.model import Inputs

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Hashing:
    """Passes a stream on and keeps its digest and size."""

    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.size, self.digest = out, 0, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        self.out.write(data)
        return len(data)


def ready_root(context: Context, inputs: "Inputs") -> tuple[Engine, str, str]:
    """An engine that runs the root, the image's name, and the root's digest or reference.

    :raises EngineMissing: if no engine works here.
    :raises RootFailed: if the root cannot be made or pulled.
    """
    engines = reachable(context.store, context.console)
    if inputs.root.image is not None:
        return _pulled(context, inputs, engines)
    key = root_key(inputs, context.roots.debian)
    image = f"localhost/kvpack/{inputs.root.id}-{inputs.root.arch}:{key[:16]}"
    if not engines[0].has_image(image, context.console):
        with context.store.lock(f"root-{key}"):
            if not engines[0].has_image(image, context.console):
                _make(context, inputs, engines[0], (image, key))
    record = context.store.read_record("roots", key) or {}
    engine = choose(
        [e for e in engines if e.name == engines[0].name], image, context.store, context.console
    )
    return engine, image, str(record.get("sha256", key))


def _make(context: Context, inputs: "Inputs", engine: Engine, named: tuple[str, str]) -> None:
    image, key = named
    supply(context, root_parts(inputs))
    store, console = context.store, context.console
    changes = [f"ENV PATH={PATH}", f"LABEL kvpack.root={key}", 'CMD ["/bin/bash"]']
    platform = oci_platform(inputs.root.arch)
    title = f"Assembling builder root {inputs.root.id} ({len(inputs.root.packages)} packages)"
    with console.step(title) as step:
        try:
            with engine.importing(image, changes, platform, console) as pipe:
                stream = _Hashing(pipe)
                write_root(
                    inputs, context.roots.debian, store.check, stream,  # type: ignore[arg-type]
                    lambda done, total: step.progress(done, total, "packages"),
                )  # fmt: skip
        except ToolFailed as error:
            raise RootFailed(
                f"{engine.name} did not take the builder root {inputs.root.id}",
                cause=f"{error.what}; {error.cause}",
                hint="check the engine's storage: a full disk, or a storage driver that does not "
                f"work here ({engine.name} info)",
            ) from error
    digest = {"sha256": stream.digest.hexdigest(), "size": stream.size, "image": image}
    store.write_record("roots", key, digest)
    console.detail(f"root {image}: sha256 {digest['sha256']}, {stream.size} bytes")


def _pulled(context: Context, inputs: "Inputs", engines: list[Engine]) -> tuple[Engine, str, str]:
    """A PyPA image, by digest: any registry that answers can only give those bytes."""
    image = str(inputs.root.image)
    engine = engines[0]
    if not engine.has_image(image, context.console):
        if context.options.offline:
            raise OfflineMissing(
                f"the builder image {image} is not on this machine",
                cause="--offline forbids pulling it",
                hint=f"with network: {engine.name} pull {image}",
            )
        with context.console.step(f"Pulling {image}"):
            result = engine.pull(image, oci_platform(inputs.root.arch), context.console)
        if result.code != 0:
            raise RootFailed(
                f"the builder image {image} cannot be pulled",
                cause=" ".join(result.tail(3)),
                hint="name a mirror of that registry in registries.conf, or set build.root to a "
                "debian root in the recipe",
            )
    engine = choose(
        [e for e in engines if e.name == engine.name], image, context.store, context.console
    )
    return engine, image, image
