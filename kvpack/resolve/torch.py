"""Whether a set fits the environment's torch: requirements, and extensions per minor. Pure."""

import re
from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from kvpack.audit.model import Severity
from kvpack.names import normalize
from kvpack.resolve.families import Families
from kvpack.resolve.model import SetFinding, SetMember, SetTarget


def torch_findings(
    members: Sequence[SetMember], target: SetTarget, families: Families
) -> Iterator[SetFinding]:
    """What does not fit the torch that was named, or that belongs to the set itself."""
    of_set = (member.version for member in members if member.distribution == "torch")
    text = target.torch or next(of_set, None)
    try:
        torch = Version(text) if text else None
    except InvalidVersion:
        return  # whoever asked was told: it comes from an option or from a wheel's name
    if torch is not None:
        for member in members:
            yield from _requirements(member, torch)
            yield from _extensions(member, torch, families)


def _requirements(member: SetMember, torch: Version) -> Iterator[SetFinding]:
    for line in member.requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        admits = wanted.specifier.contains(torch, prereleases=True)
        if normalize(wanted.name) == "torch" and not admits:
            yield SetFinding(
                check="torch-requirement",
                severity=Severity.ERROR,
                distribution=member.distribution,
                version=member.version,
                message=f"it requires {line.partition(';')[0].strip()}, the environment's torch is "
                f"{torch}",
                brought_by=member.brought_by,
                advice=f"take a version of {member.distribution} that admits torch {torch}, or "
                "another torch",
            )


def minors(paths: Sequence[str], families: Families) -> dict[tuple[int, int], str]:
    """The minors of torch that a distribution has an extension for, each with one file."""
    found: dict[tuple[int, int], str] = {}
    for extension in families.torch_extension:
        expression = re.compile(extension.file)
        for path in paths:
            if match := expression.fullmatch(path):
                found.setdefault((int(match["major"]), int(match["minor"])), path)
    return found


def _extensions(member: SetMember, torch: Version, families: Families) -> Iterator[SetFinding]:
    found = minors(member.paths, families)
    if not found or (torch.major, torch.minor) in found:
        return
    have = ", ".join(f"{major}.{minor}" for major, minor in sorted(found))
    yield SetFinding(
        check="torch-extension",
        severity=Severity.ERROR,
        distribution=member.distribution,
        version=member.version,
        path=found[max(found)],
        message=f"it has no extension for torch {torch.major}.{torch.minor}, only for {have}",
        brought_by=member.brought_by,
        advice=f"take torch {have.replace(', ', ' or ')}, or a version of {member.distribution} "
        f"built for torch {torch.major}.{torch.minor}",
    )
