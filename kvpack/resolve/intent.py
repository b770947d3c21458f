"""Intent files: what people want to have, in requirements syntax, before anything is chosen."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import ConfigDict

from kvpack.base import Text, Value
from kvpack.errors import Fault
from kvpack.names import normalize

_INCLUDE = re.compile(r"^(-r|--requirement)[\s=]+(?P<path>\S+)$")
_COMMENT = re.compile(r"(^|\s)#.*$")


class Wish(Value):
    """One line of an intent."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    place: Text
    """File and line, for messages."""
    requirement: Requirement

    @property
    def name(self) -> str:
        return normalize(self.requirement.name)

    @property
    def text(self) -> str:
        return str(self.requirement)

    def renamed(self, name: str) -> str:
        """The same wish about another project: its extras are left behind, they are not shared."""
        marker = f" ; {self.requirement.marker}" if self.requirement.marker else ""
        return f"{name}{self.requirement.specifier}{marker}"


def read_intent(
    path: str, texts: Mapping[str, str], above: tuple[str, ...] = ()
) -> tuple[tuple[Wish, ...], list[Fault]]:
    """All wishes of an intent and of those it includes, with every fault.

    :param path: the file to begin with, a key of ``texts``.
    :param texts: contents by path; an included file that is no key of it is a fault.
    """
    wishes: list[Wish] = []
    faults: list[Fault] = []
    for number, line in _lines(texts[path]):
        place = f"{path}, line {number}"
        include = _INCLUDE.match(line)
        if include is not None:
            below = include["path"]
            if below in (*above, path):
                faults.append(Fault(place=place, message=f"includes itself: {below}"))
            elif below not in texts:
                faults.append(Fault(place=place, message=f"there is no file {below}"))
            else:
                more, wrong = read_intent(below, texts, (*above, path))
                wishes += more
                faults += wrong
            continue
        wish = _wish(line, place)
        if isinstance(wish, Fault):
            faults.append(wish)
        else:
            wishes.append(wish)
    return tuple(wishes), faults


def included(text: str) -> Iterator[str]:
    """The files that an intent includes, as it writes them."""
    for _, line in _lines(text):
        include = _INCLUDE.match(line)
        if include is not None:
            yield include["path"]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first one; no comments, nothing empty."""
    held, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first if held else number
        line = _COMMENT.sub("", raw).strip()
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        line = (held + line).strip()
        held = ""
        if line:
            yield first, line
    if held.strip():
        yield first, held.strip()


def _wish(line: str, place: str) -> Wish | Fault:
    if line.startswith("-"):
        return Fault(
            place=place,
            message=f"the option {line.split(maxsplit=1)[0]} is not taken in an intent",
            hint="sources are declared on the command line, in order: --index, --find-links",
        )
    if " --hash" in line:
        return Fault(
            place=place,
            message="an intent has no hashes: they are what kvpack requirements writes",
            hint="write what is wanted, such as nixl>=1.3",
        )
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        return Fault(
            place=place,
            message=f"{line!r} is no requirement (PEP 508): {str(error).splitlines()[0]}",
            hint="such as lmcache>=0.3.9 or nixl==1.4.1",
        )
    if requirement.url is not None:
        return Fault(
            place=place,
            message=f"{line!r} names one file, which nothing can be chosen for",
            hint="put the wheel into a folder and declare it: --find-links FOLDER",
        )
    facts: dict[str, Any] = {"place": place, "requirement": requirement}
    return Wish(**facts)
