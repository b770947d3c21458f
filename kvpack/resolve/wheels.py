"""Which wheel of a version fits an environment. Pure: file names in, a file name out."""

from collections.abc import Iterable

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from kvpack.names import python_tag, version_key

_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Names of glibc 2.x floors before PEP 600; all but the first are of x86 only."""


def tags_of(python: str, glibc: str, arch: str) -> list[Tag]:
    """The tags that an environment accepts, best first (PEP 425, 600)."""
    major, minor = version_key(glibc)
    platforms = [f"linux_{arch}"]
    for level in range(minor, 4 if arch == "x86_64" else 16, -1):
        platforms.append(f"manylinux_{major}_{level}_{arch}")
        if level in _LEGACY:
            platforms.append(f"{_LEGACY[level]}_{arch}")
    version, interpreter = version_key(python), python_tag(python)
    return [  # the ABI is named, or packaging takes that of the Python that runs kvpack
        *cpython_tags(version, abis=[interpreter], platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    ]


def best(names: Iterable[str], version: str, accepted: list[Tag]) -> str | None:
    """The wheel of a version that installers take in an environment with these tags.

    A version without a local part is satisfied by one with it, which is then the higher one
    (version specifiers, "version matching").
    """
    rank = {tag: index for index, tag in enumerate(accepted)}
    pinned = Version(version)
    found = []
    for name in names:
        try:
            _, parsed, build, tags = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        fits = [rank[tag] for tag in tags if tag in rank]
        same = parsed == pinned or (pinned.local is None and Version(parsed.public) == pinned)
        if same and fits:
            # Of equal tags, installers take the highest build number.
            found.append((parsed, -min(fits), build, name))
    return max(found)[3] if found else None


def newest(names: Iterable[str], accepted: list[Tag]) -> dict[str, str]:
    """Project -> its wheel of the highest version that fits; final releases before others."""
    rank = {tag: index for index, tag in enumerate(accepted)}
    found: dict[str, list[tuple[bool, Version, int, BuildTag, str]]] = {}
    for name in names:
        try:
            project, version, build, tags = parse_wheel_filename(name)
        except InvalidWheelFilename:
            continue
        if fits := [rank[tag] for tag in tags if tag in rank]:
            row = (not version.is_prerelease, version, -min(fits), build, name)
            found.setdefault(project, []).append(row)
    return {project: max(found[project])[-1] for project in sorted(found)}
