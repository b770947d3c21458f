"""The images that a container engine keeps: what they are, what lies on what, and removing one."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kvpack.report import Reporter
from kvpack.tools.engine import Engine
from kvpack.tools.process import Result, failed

OURS = "kvpack.root"
"""The label of every image that kvpack makes: the key of what decides its bytes."""
STORE = "kvpack.store"
"""The label that says which store made it; images of older kvpacks have none."""
NAMED = "localhost/kvpack/"
"""How names of images begin that kvpack makes."""
TRIES, PAUSE = 8, 0.1
"""How often, and seconds between: others make and remove images meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image, as the engine describes it."""

    id: str
    names: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    size: int = 0
    """Bytes, of all its layers."""
    layers: tuple[str, ...] = ()
    """Digests, the lowest first."""

    def lies_on(self, other: "Image") -> bool:
        """Whether it has all layers of another one, and more."""
        count = len(other.layers)
        return 0 < count < len(self.layers) and self.layers[:count] == other.layers


def images(engine: Engine, reporter: Reporter) -> list[Image]:
    """All images; what goes meanwhile is passed over.

    :raises ToolFailed: if the engine does not tell.
    """
    result = _inspected(engine, reporter)
    for _ in range(TRIES - 1):
        if result.code == 0:
            break
        time.sleep(PAUSE)
        result = _inspected(engine, reporter)
    try:  # of one that went meanwhile, inspect complains, and tells of the others
        text = result.output if result.code else result.output or "[]"
        return [_image(one) for one in json.loads(text)]
    except ValueError:
        raise failed(result, " ".join(result.command[:3])) from None


def _inspected(engine: Engine, reporter: Reporter) -> Result:
    """Every image as JSON; podman lists none at all if one goes while it reads them."""
    listed = engine.run(["image", "ls", "--all", "--quiet", "--no-trunc"], reporter)
    ids = list(dict.fromkeys(listed.output.split()))
    if listed.code != 0 or not ids:
        return listed
    return engine.run(["image", "inspect", *ids], reporter)


def _image(told: dict[str, Any]) -> Image:
    config = told.get("Config") or {}
    return Image(
        id=str(told["Id"]),
        names=tuple(told.get("RepoTags") or ()),
        labels=dict(config.get("Labels") or told.get("Labels") or {}),
        size=int(told.get("Size") or 0),
        layers=tuple((told.get("RootFS") or {}).get("Layers") or ()),
    )


def own_size(image: Image, others: Sequence[Image]) -> int:
    """Bytes that go with it: of its layers beyond the nearest image that it lies on.

    None, if another image has them all: the same root that another store made.
    """
    if any(one.layers[: len(image.layers)] == image.layers for one in others):
        return 0
    below = [one.size for one in others if image.lies_on(one)]
    return image.size - max(below, default=0)


def remove(engine: Engine, image: Image, reporter: Reporter) -> bool:
    """Remove an image under all its names, unless a container uses it; whether it is gone."""
    engine.run(["image", "rm", *(image.names or (image.id,))], reporter, timeout=None)
    return engine.image_id(image.id, reporter) is None
