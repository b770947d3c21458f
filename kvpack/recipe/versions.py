"""Versions and version ranges (PEP 440) as recipes write them. Pure values."""

from functools import cache
from typing import Annotated

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator


@cache
def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        raise ValueError(f"{text!r} is not a version (PEP 440), such as 0.3.14") from None


def _specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"{text!r} is not a version range (PEP 440), such as <0.3.11") from None
    return text


WheelVersion = Annotated[str, AfterValidator(_version)]
VersionRange = Annotated[str, AfterValidator(_specifier)]


@cache
def applies(when: str | None, version: str) -> bool:
    """Whether a version range holds for ``version``; pre-releases count (PEP 440)."""
    return when is None or SpecifierSet(when).contains(version, prereleases=True)


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{text!r} is not a requirement (PEP 508): {first}") from None
    return text


RequirementText = Annotated[str, AfterValidator(_requirement)]
"""A requirement (PEP 508)."""
