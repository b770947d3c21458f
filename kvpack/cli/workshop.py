"""The builder root as an image of a working engine, made or obtained when it is missing."""

import hashlib
import secrets
from typing import IO, TYPE_CHECKING

from kvpack.build.root import root_key, write_root
from kvpack.cli.context import Context
from kvpack.cli.supply import root_parts, supply
from kvpack.errors import EngineMissing, KvpackError, OfflineMissing, RootFailed, ToolFailed
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
    """An engine that runs the root, the image's immutable reference, and the root's digest.

    Every engine that answers is tried until one has or takes the root and runs it.

    :raises EngineMissing: if no engine works here.
    :raises RootFailed: if the root cannot be made or pulled.
    """
    key = inputs.root.image or root_key(inputs, context.roots.debian)
    if key not in context.ready_roots:
        context.ready_roots[key] = _probed(context, inputs)
    return context.ready_roots[key]


def _probed(context: Context, inputs: "Inputs") -> tuple[Engine, str, str]:
    engines = reachable(context.store, context.console)
    failures: list[KvpackError] = []
    for name in dict.fromkeys(engine.name for engine in engines):
        same = [engine for engine in engines if engine.name == name]
        try:
            if inputs.root.image is not None:
                image = digest = _pulled(context, inputs, same[0])
            else:
                image, digest = _assembled(context, inputs, same[0])
            return choose(same, image, context.store, context.console), image, digest
        except (EngineMissing, RootFailed) as error:
            failures.append(error)
    if len(failures) > 1:
        for failure in failures[:-1]:
            context.console.warn(f"{failure.what}: {failure.cause}")
    raise failures[-1]


def _assembled(context: Context, inputs: "Inputs", engine: Engine) -> tuple[str, str]:
    """The id of the image that this store's record vouches for, made if need be.

    A name can be moved to another image, and an import that was killed can leave a cut one under
    it; so a name is only trusted to lead to the id that was recorded after a whole import.
    """
    key = root_key(inputs, context.roots.debian)
    record = f"{key}-{engine.name}"
    known = _recorded(context, record, engine)
    if known is None:
        with context.store.lock(f"root-{record}"):
            known = _recorded(context, record, engine)
            if known is None:
                _make(context, inputs, engine, (key, record))
                known = _recorded(context, record, engine)
    if known is None:
        raise RootFailed(
            f"{engine.name} does not keep the builder root {inputs.root.id}",
            cause="its image was gone right after it was imported",
            hint=f"is something pruning images? {engine.name} image ls",
        )
    return known


def _recorded(context: Context, record: str, engine: Engine) -> tuple[str, str] | None:
    """Image id and digest of a root that was made here and is still the same image."""
    made = context.store.read_record("roots", record)
    if made is None or "id" not in made:
        return None
    if engine.image_id(str(made["image"]), context.console) != made["id"]:
        return None
    return str(made["id"]), str(made["sha256"])


def _make(context: Context, inputs: "Inputs", engine: Engine, named: tuple[str, str]) -> None:
    key, record = named
    supply(context, root_parts(inputs))
    store, console = context.store, context.console
    # A name of its own: a killed import leaves a cut image under a name that no record knows.
    unique = secrets.token_hex(4)
    image = f"localhost/kvpack/{inputs.root.id}-{inputs.root.arch}:{key[:16]}-{unique}"
    changes = [f"ENV PATH={PATH}", f"LABEL kvpack.root={key}", 'CMD ["/bin/bash"]']
    platform = oci_platform(inputs.root.arch)
    title = f"Assembling builder root {inputs.root.id} ({len(inputs.root.packages)} packages)"
    with console.step(title) as step:
        try:
            with engine.importing(image, changes, platform, console) as pipe:
                stream = _Hashing(pipe)
                write_root(
                    inputs,
                    context.roots.debian,
                    store.check,
                    stream,  # type: ignore[arg-type]
                    lambda done, total: step.progress(done, total, "packages"),
                )
        except ToolFailed as error:
            raise RootFailed(
                f"{engine.name} did not take the builder root {inputs.root.id}",
                cause=f"{error.what}; {error.cause}",
                hint="check the engine's storage: a full disk, or a storage driver that does not "
                f"work here ({engine.name} info)",
            ) from error
    digest = {
        "sha256": stream.digest.hexdigest(),
        "size": stream.size,
        "image": image,
        "id": engine.image_id(image, console),
    }
    store.write_record("roots", record, digest)
    console.detail(f"root {image}: sha256 {digest['sha256']}, {stream.size} bytes")


def _pulled(context: Context, inputs: "Inputs", engine: Engine) -> str:
    """A PyPA image, by digest: any registry that answers can only give those bytes."""
    image = str(inputs.root.image)
    if engine.has_image(image, context.console):
        return image
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
    return image
