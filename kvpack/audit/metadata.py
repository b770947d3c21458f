"""The texts in ``*.dist-info``: WHEEL, METADATA, entry_points.txt (PEP 427, 566, 508, 440)."""

import configparser
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

_MAJOR = "1"
"""PEP 427: an installer must refuse a greater major Wheel-Version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelText:
    """WHEEL: how the archive was made."""

    tags: frozenset[str] = frozenset()
    purelib: bool = False
    build: str | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """METADATA: what the distribution says of itself."""

    name: str = ""
    version: str = ""
    requires_python: str | None = None
    requires: tuple[str, ...] = ()
    licence: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def _headers(data: bytes) -> Message:
    return BytesParser(policy=compat32).parsebytes(data, headersonly=True)


def _all(message: Message, key: str) -> tuple[str, ...]:
    return tuple(str(value).strip() for value in message.get_all(key, []))


def parse_wheel(data: bytes) -> WheelText:
    """Read WHEEL; what it lacks or says wrong is in ``faults``."""
    from packaging.tags import parse_tag  # noqa: PLC0415  - late: --help must not pay for it

    message = _headers(data)
    faults: list[str] = []
    versions = _all(message, "Wheel-Version")
    if len(versions) != 1:
        faults.append(f"Wheel-Version occurs {len(versions)} times, not once")
    elif versions[0].partition(".")[0] != _MAJOR:
        faults.append(f"Wheel-Version {versions[0]!r} is not 1.x: installers refuse it")
    pure = _all(message, "Root-Is-Purelib")
    if len(pure) != 1 or pure[0].lower() not in {"true", "false"}:
        faults.append(f"Root-Is-Purelib is {', '.join(pure) or 'missing'!r}, not true or false")
    tags = _all(message, "Tag")
    if not tags:
        faults.append("no Tag, so the archive does not say what it runs on")
    expanded: set[str] = set()
    for tag in tags:
        try:
            expanded |= {str(one) for one in parse_tag(tag)}
        except ValueError as error:
            faults.append(f"the tag {tag!r} is not python-abi-platform: {error}")
    return WheelText(
        tags=frozenset(expanded),
        purelib=pure[:1] != () and pure[0].lower() == "true",
        build=next(iter(_all(message, "Build")), None),
        faults=tuple(faults),
    )


def parse_metadata(data: bytes) -> Metadata:
    """Read the fields of METADATA that installers act on; faults as in :func:`parse_wheel`."""
    message = _headers(data)
    singles = {key: _all(message, key) for key in ("Metadata-Version", "Name", "Version")}
    faults = [
        f"{key} occurs {len(found)} times, not once"
        for key, found in singles.items()
        if len(found) != 1
    ]
    python = next(iter(_all(message, "Requires-Python")), None)
    requires = _all(message, "Requires-Dist")
    faults.extend(_bad_requirements(python, requires))
    return Metadata(
        name=(*singles["Name"], "")[0],
        version=(*singles["Version"], "")[0],
        requires_python=python,
        requires=requires,
        licence=_licence(message),
        faults=tuple(faults),
    )


def _licence(message: Message) -> tuple[str, ...]:
    if expression := _all(message, "License-Expression"):
        return expression
    classified = [one for one in _all(message, "Classifier") if one.startswith("License ::")]
    # License may hold the whole text.
    return tuple(one.splitlines()[0] for one in (*_all(message, "License"), *classified) if one)


def _bad_requirements(python: str | None, requires: tuple[str, ...]) -> Iterator[str]:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  - late
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415  - late

    try:
        SpecifierSet(python or "")
    except InvalidSpecifier as error:
        yield f"Requires-Python cannot be read: {error}"
    for line in requires:
        try:
            Requirement(line)
        except InvalidRequirement as error:
            yield f"Requires-Dist {line!r} cannot be read: {str(error).splitlines()[0]}"


def console_scripts(data: bytes) -> tuple[str, ...]:
    """Names of the programs that an installer makes, sorted.

    :raises ValueError: if the text is not the INI form of the entry points specification.
    """
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(data.decode())
    except configparser.Error as error:
        raise ValueError(str(error).splitlines()[0]) from error
    found = parser.options("console_scripts") if parser.has_section("console_scripts") else []
    return tuple(sorted(found))
