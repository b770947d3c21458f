"""Where a wheel's members come to lie, and what that gives it: import names, search paths.

Places are written relative to ``site-packages``; pure, names in and names out (PEP 427).
"""

import posixpath
import re
from collections.abc import Iterable

from kvpack.audit.model import ElfFile

_IMPORT_ROOTS = frozenset({"purelib", "platlib"})
_SCHEMES = {"scripts": "../../../bin", "data": "../../..", "headers": "../../../include"}
"""Folders of ``*.data`` -> where they come to lie in a virtual environment on Linux."""
_SITE_PACKAGES = re.compile(r"(?:\.\./)+lib(?:64)?/python3(?:\.\d+)?t?/(?:site|dist)-packages(/|$)")
_ORIGIN = re.compile(r"^\$(?:ORIGIN|\{ORIGIN\})(?=/|$)")
_EXTENSIONS = (".py", ".pyc", ".so", ".pyd")
_LICENCE_TEXT = re.compile(
    r"[^/]+\.dist-info/(?:licenses/.+|[^/]*(?:LICEN[SC]E|COPYING|NOTICE)[^/]*)", re.IGNORECASE
)
"""``licenses/`` (PEP 639), and where older back ends put them."""


def licence_files(members: Iterable[str]) -> tuple[str, ...]:
    """The members that hold licence texts, sorted."""
    return tuple(sorted(one for one in members if _LICENCE_TEXT.fullmatch(one)))


def installed(member: str) -> str:
    """Where a member comes to lie: ``x.data/scripts/y`` -> ``../../../bin/y``."""
    head, _, rest = member.partition("/")
    if not head.endswith(".data"):
        return member
    scheme, _, inner = rest.partition("/")
    if scheme in _IMPORT_ROOTS:
        return inner
    return f"{_SCHEMES.get(scheme, '../../..')}/{inner}"


def origin_target(member: str, entry: str) -> str | None:
    """Folder that a search path entry of a member means, from ``site-packages``.

    :return: ``None`` if the entry does not start at ``$ORIGIN`` (``ld.so(8)``); a path that starts
        with ``..`` lies outside ``site-packages``.
    """
    tail = _ORIGIN.sub("", entry)
    if tail == entry:
        return None
    folder = posixpath.dirname(installed(member))
    target = posixpath.normpath(f"{folder or '.'}/{tail}")
    # A program in bin/ reaches its libraries through lib/python3.x/site-packages.
    return posixpath.normpath(_SITE_PACKAGES.sub("./", f"{target}/")) or "."


def top_level(members: Iterable[str]) -> tuple[str, ...]:
    """Import names that the members give: packages (namespace packages too) and modules."""
    names = set()
    for member in members:
        place = installed(member)
        head, slash, _ = place.partition("/")
        if not slash:
            stem = place.partition(".")[0]
            head = stem if place.endswith(_EXTENSIONS) else ""
        if head.isidentifier():
            names.add(head)
    return tuple(sorted(names))


def provided(elf: Iterable[ElfFile]) -> frozenset[str]:
    """Names under which the wheel's own libraries can be needed: sonames and file names."""
    return frozenset(
        name
        for one in elf
        for name in (one.soname, posixpath.basename(one.path))
        if name and not one.device
    )
