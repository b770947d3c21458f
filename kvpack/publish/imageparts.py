"""What an image consists of, by digest: a manifest names a configuration and layers. Pure.

Rules: OCI Image Format 1.1 (``manifest.md``, ``image-index.md``), Docker's Image Manifest V2,
Schema 2, which has the same shape.
"""

import re
from dataclasses import dataclass
from typing import Any

from kvpack.publish.envelope import strict_object


@dataclass(frozen=True, slots=True)
class Part:
    """A blob, or a manifest that a list names."""

    sha256: str
    size: int
    """Bytes."""
    platform: str = ""
    """``linux/amd64``, of a manifest in a list."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's blobs, or the manifests that a list names: one of both is empty."""

    blobs: tuple[Part, ...] = ()
    """The configuration, then the layers; each once."""
    listed: tuple[Part, ...] = ()
    layers: tuple[Part, ...] = ()
    """As the manifest lists them, the lowest first: a layer may be in it twice."""

    def for_platform(self, platform: str) -> Part:
        """The manifest for a platform.

        :raises ValueError: if the list has none.
        """
        for one in self.listed:
            if one.platform == platform:
                return one
        known = ", ".join(sorted({one.platform for one in self.listed}))
        raise ValueError(f"it has no image for {platform}, only for {known}")


def digest_of(image: str) -> str:
    """``quay.io/pypa/x@sha256:DIGEST`` -> DIGEST.

    :raises ValueError: if it is not named by one.
    """
    found = re.fullmatch(r"[^@\s]+@sha256:([0-9a-f]{64})", image)
    if found is None:
        raise ValueError(f"{image!r} is not named by a sha256")
    return found[1]


def read(text: bytes) -> Manifest:
    """Read a manifest or a list of them.

    :raises ValueError: with the reason, in words for people.
    """
    found = strict_object(text, "the image's manifest")
    if found.get("schemaVersion") != 2:  # noqa: PLR2004  # the one that has digests of blobs
        raise ValueError(f"the image's manifest has schemaVersion {found.get('schemaVersion')!r}")
    if "manifests" in found:
        return Manifest(listed=_parts(found["manifests"]))
    if "config" not in found or "layers" not in found:
        raise ValueError("the image's manifest names no configuration and layers")
    if not isinstance(found["layers"], list):
        raise ValueError("the image's manifest has no list of layers")  # noqa: TRY004
    layers = tuple(map(_part, found["layers"]))
    return Manifest(blobs=_parts([found["config"], *found["layers"]]), layers=layers)


def _parts(given: Any) -> tuple[Part, ...]:  # noqa: ANN401  # of JSON
    if not isinstance(given, list) or not given:
        raise ValueError("the image's manifest lists nothing")
    return tuple({part.sha256: part for part in map(_part, given)}.values())


def _part(given: Any) -> Part:  # noqa: ANN401
    if not isinstance(given, dict):
        raise ValueError("the image's manifest names a part that is no object")  # noqa: TRY004
    digest, size = given.get("digest"), given.get("size")
    sha256 = re.fullmatch(r"sha256:([0-9a-f]{64})", str(digest))
    if sha256 is None or not isinstance(size, int) or size < 0:
        raise ValueError(f"the image's manifest names {digest!r} with {size!r} bytes")
    platform = given.get("platform")
    shown = ""
    if isinstance(platform, dict):
        # arm64 has one variant that anybody builds (v8), named or not.
        shown = f"{platform.get('os')}/{platform.get('architecture')}"
    return Part(sha256[1], size, shown)
