"""A toolkit that is a folder of an image, as data and recipes name it. Pure values."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from kvpack.base import Glibc, Value
from kvpack.names import Arch
from kvpack.recipe.library import TAKEN

_REGISTRY = r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:\d+)?"
_IMAGE = re.compile(
    _REGISTRY + r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
)
_FOLDER = re.compile(r"/(opt|usr/local)(/[A-Za-z0-9_][A-Za-z0-9_+.-]*)+")


def _image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise ValueError(
            f"{text!r} is not registry/name:tag, with the registry in full: docker.io/rocm/dev:7; "
            "the lock names its digest"
        )
    return text


def _folder(text: str) -> str:
    if not _FOLDER.fullmatch(text):
        raise ValueError(f"{text!r} is no folder below /opt or /usr/local")
    if text.startswith("/opt/") and text.split("/")[2] in TAKEN:
        raise ValueError(f"{text!r}: builder roots have a folder there")
    return text


TaggedImage = Annotated[str, AfterValidator(_image)]
"""``registry/name:tag``, the registry in full (``docker.io/…``): engines differ in what they take a
short name for. The lock names the digest behind the tag."""
ImageFolder = Annotated[str, AfterValidator(_folder)]
"""Where an image has a tree of its own: below these, nothing of a builder root lies in the way."""


class ToolkitImage(Value):
    """An image, and the folder in it that is the toolkit."""

    image: TaggedImage
    folder: ImageFolder
    """It may be a link, or below one (``/opt/rocm`` -> ``/opt/rocm-7.2.1``): links are kept."""
    glibc: Glibc
    """That of the image's userland. Programs and libraries of the folder need it, so a builder root
    with an older one cannot run or link them."""
    arch: tuple[Arch, ...] = Field(default=(Arch.X86_64,), min_length=1)
    """The architectures that the image is for."""
