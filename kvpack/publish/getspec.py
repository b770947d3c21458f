"""What ``kvpack get`` is asked for, and which published wheels that is. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from kvpack.base import Name, Sha256, Text, Value
from kvpack.errors import Fault, ReleaseUnknown
from kvpack.names import Accelerator, did_you_mean, normalize, platform_tag, python_tag
from kvpack.publish.channel import superseded
from kvpack.publish.model import Listing, Release

_SHOWN = 6


class Offer(Value):
    """A wheel that a channel or a release has."""

    filename: Text
    path: Text
    sha256: Sha256
    size: int
    project: Name
    version: Text
    accelerator: Accelerator
    target: Text
    releases: tuple[str, ...] = ()
    """Ids of the releases that hold it."""
    superseded: bool = False
    """Whether a later build of the same version took its place: then only its own name finds it."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The selectors: empty ones admit everything."""

    accelerators: Sequence[str] = ()
    pythons: Sequence[str] = ()
    floors: Sequence[str] = ()
    arches: Sequence[str] = ()

    def admits(self, offer: Offer) -> bool:
        """Whether a wheel is for what is selected."""
        target = offer.target
        return (
            (not self.accelerators or offer.accelerator in self.accelerators)
            and _any(self.pythons, lambda one: target.startswith(f"{python_tag(one)}-"))
            and _any(self.floors, lambda one: f"-{platform_tag(one, '')}" in target)
            and _any(self.arches, lambda one: f"_{one}-" in target)
        )


def _any(wanted: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return not wanted or any(holds(one) for one in wanted)


def of_release(release: Release) -> list[Offer]:
    """The wheels of a release."""
    return [
        Offer(
            filename=wheel.filename, path=wheel.path, sha256=wheel.sha256, size=wheel.size,
            project=wheel.project, version=wheel.version, accelerator=wheel.accelerator,
            target=wheel.target, releases=(release.id,),
        )
        for wheel in release.wheels
    ]  # fmt: skip


def of_listings(listings: Iterable[Listing]) -> list[Offer]:
    """The wheels that a channel lists."""
    found = []
    for listing in listings:
        old = superseded(listing)
        found += [
            Offer(
                filename=entry.filename, path=entry.path, sha256=entry.sha256, size=entry.size,
                project=listing.project, version=entry.version, accelerator=listing.accelerator,
                target=entry.target, releases=entry.releases, superseded=entry.filename in old,
            )
            for entry in listing.entries
        ]  # fmt: skip
    return found


def chosen(specs: Sequence[str], offers: Sequence[Offer], wish: Wish, where: str) -> list[Offer]:
    """The wheels that are asked for; without a spec: the newest version of every project.

    :param where: what was searched, for messages.
    :raises ReleaseUnknown: with every spec that nothing answers.
    """
    found: dict[str, Offer] = {}
    faults = []
    for spec in specs or sorted({offer.project for offer in offers}):
        named = _named(spec, offers)
        answers = [o for o in named if _is_exact(spec) or wish.admits(o)]
        if not answers and specs:
            faults.append(_fault(spec, offers, named))
        found |= {offer.filename: offer for offer in answers}
    if faults or not found:
        raise ReleaseUnknown(
            f"{where} has not what is asked for",
            cause="" if faults else "nothing of it fits the selectors",
            hint="kvpack get --list shows what it has; --release ID looks in a release that is no "
            "longer listed",
            faults=faults,
        )
    return sorted(found.values(), key=lambda offer: offer.filename)


def _is_exact(spec: str) -> bool:
    """Whether a spec names bytes or a file: selectors then say nothing."""
    return spec.startswith("sha256:") or spec.endswith(".whl")


def _named(spec: str, offers: Sequence[Offer]) -> list[Offer]:
    if spec.startswith("sha256:"):
        return [offer for offer in offers if offer.sha256 == spec.removeprefix("sha256:").lower()]
    if spec.endswith(".whl"):
        return [offer for offer in offers if offer.filename == spec]
    try:
        wanted = Requirement(spec)
    except InvalidRequirement:
        return []
    current = [
        offer
        for offer in offers
        if offer.project == normalize(wanted.name)
        and not offer.superseded
        and wanted.specifier.contains(offer.version, prereleases=True)
    ]
    newest = max((Version(offer.version).public for offer in current), key=Version, default="")
    return [offer for offer in current if Version(offer.version).public == newest]


def _fault(spec: str, offers: Sequence[Offer], named: Sequence[Offer]) -> Fault:
    if named:
        targets = sorted({offer.target for offer in named})
        more = f" and {len(targets) - _SHOWN} more" if len(targets) > _SHOWN else ""
        message = f"no wheel for what is selected; there are {', '.join(targets[:_SHOWN])}{more}"
        return Fault(place=spec, message=message)
    if _is_exact(spec):
        digits = re.fullmatch(r"sha256:[0-9a-fA-F]{64}", spec) or spec.endswith(".whl")
        message = "is not listed" if digits else "is no sha256: 64 hexadecimal digits"
        return Fault(place=spec, message=message)
    name = normalize(re.split(r"[<>=!~ ;\[]", spec)[0])
    versions = sorted({Version(o.version) for o in offers if o.project == name})
    if versions:
        shown = ", ".join(str(version) for version in versions[-_SHOWN:])
        return Fault(place=spec, message=f"no such version; there are {shown}")
    projects = {offer.project for offer in offers}
    return Fault(place=spec, message="no such project", hint=did_you_mean(name, projects))
