"""A wheel's RECORD and entry points as claims on an environment. Pure: text in, claims out."""

import base64
import configparser
import csv
import email.parser
import io
import posixpath
from collections.abc import Iterator

from kvpack.resolve.model import Claim

_SCHEMES = {
    "purelib": "site-packages",
    "platlib": "site-packages",
    "scripts": "bin",
    "data": "",
}
"""Folders of ``*.data`` -> where installers put them in a virtual environment on Linux."""


def of_wheel(record: str, entry_points: str, distribution: str) -> tuple[Claim, ...]:
    """What a wheel writes (binary distribution format, "installing a wheel").

    Headers go to a folder of the distribution's own (pip, uv: ``include/site/python3.12/<name>``).

    RECORD itself and what installers add (INSTALLER, REQUESTED, direct_url.json) lie in the
    distribution's own ``.dist-info`` and never collide.

    :raises ValueError: if RECORD is none.
    """
    found = {}
    for path, digest, size in _rows(record):
        place = _placed(path, distribution)
        if place is None or path.endswith(".dist-info/RECORD"):
            continue
        found[place] = Claim(path=place, sha256=_hex(digest), size=_number(size))
    for name, target in _scripts(entry_points):
        found[f"bin/{name}"] = Claim(path=f"bin/{name}", made_from=target)
    return tuple(found[path] for path in sorted(found))


def of_environment(record: str, site: str, entry_points: str = "") -> tuple[Claim, ...]:
    """What an installed distribution's RECORD owns.

    A generated script is known by its entry point, as in a wheel that is not installed yet.

    :param site: the folder of its ``.dist-info`` below the environment:
        ``lib/python3.12/site-packages``.
    :raises ValueError: if RECORD is none.
    """
    made = {f"bin/{name}": target for name, target in _scripts(entry_points)}
    found = {}
    for path, digest, size in _rows(record):
        if path.endswith((".pyc", ".dist-info/RECORD")):
            continue
        place = posixpath.normpath(posixpath.join(site, path))
        if place.startswith(f"{site}/"):
            place = "site-packages/" + place.removeprefix(f"{site}/")
        if place in made:
            found[place] = Claim(path=place, made_from=made[place])
        elif not place.startswith(("../", "/")):
            found[place] = Claim(path=place, sha256=_hex(digest), size=_number(size))
    return tuple(found[path] for path in sorted(found))


def requires_of(metadata: str) -> tuple[str, ...]:
    """``Requires-Dist`` of METADATA, as written (core metadata specification)."""
    message = email.parser.HeaderParser().parsestr(metadata)
    return tuple(" ".join(text.split()) for text in message.get_all("Requires-Dist", ()))


def _rows(record: str) -> Iterator[tuple[str, str, str]]:
    """Path, digest and size of every file; lines of folders are passed over."""
    try:
        for number, row in enumerate(csv.reader(io.StringIO(record)), 1):
            if row and len(row) != 3:  # noqa: PLR2004  # path, digest, size
                raise ValueError(f"RECORD, line {number}: not a path, a digest and a size")
            if row and not row[0].endswith("/"):
                yield row[0], row[1], row[2]
    except csv.Error as error:
        raise ValueError(f"RECORD: {error}") from error


def _placed(path: str, distribution: str) -> str | None:
    """Where a member comes to lie; ``None`` for a scheme that installers do not know."""
    path = posixpath.normpath(path)
    head, _, rest = path.partition("/")
    if not head.endswith(".data"):
        return f"site-packages/{path}"
    scheme, _, inner = rest.partition("/")
    if scheme == "headers":
        return f"include/site/{distribution}/{inner}"
    if scheme not in _SCHEMES:
        return None
    return posixpath.join(_SCHEMES[scheme], inner)


def _hex(digest: str) -> str | None:
    """``sha256=<urlsafe base64>`` of RECORD as hexadecimal digits."""
    name, _, value = digest.partition("=")
    if name != "sha256" or not value:
        return None
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _scripts(entry_points: str) -> Iterator[tuple[str, str]]:
    """Names and targets of console and GUI scripts (entry points specification)."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(entry_points)
    except configparser.Error:
        return
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            for name, target in parser.items(section):
                yield name.strip(), target.partition("[")[0].replace(" ", "")
