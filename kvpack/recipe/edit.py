"""Edits of a recipe's text that keep everything else in it, byte for byte: comments, order, style.

tomlkit tells where a table begins and ends; the text itself is cut and joined here, because tomlkit
counts a comment above a table as part of the table before it. Pure.
"""

from collections.abc import Mapping

import tomlkit
from tomlkit.items import AoT, Comment, Table, Trivia

_MARK = "#kvpack-mark#"


def add_patch(text: str, fields: Mapping[str, str]) -> str:
    """The recipe with one more ``[[patches]]``, behind the others or at the end.

    :raises ValueError: if its patches are not written as ``[[patches]]``, without spaces.
    """
    rows = [f"{name} = {tomlkit.item(value).as_string()}\n" for name, value in fields.items()]
    block = "[[patches]]\n" + "".join(rows)
    count = _count(text)
    if count == 0:
        return f"{text.rstrip()}\n\n{block}"
    _, end = _span(text, count - 1)
    head = text[:end] if text[:end].endswith("\n") else f"{text[:end]}\n"
    return f"{head}\n{block}{text[end:]}"


def drop_patch(text: str, index: int) -> str:
    """The recipe without its patch number ``index``, from 0.

    Comments on the lines right above it go with it, unless it is the first: those are often about
    all patches.

    :raises ValueError: if its patches are not written as ``[[patches]]``.
    """
    _count(text)
    start, end = _span(text, index)
    while index and (above := text[:start].rstrip("\n").rpartition("\n")[2]).startswith("#"):
        if text[:start].endswith("\n\n"):
            break
        start -= len(above) + 1
    before, after = text[:start], text[end:]
    if before.endswith("\n\n") and after.startswith("\n"):
        after = after[1:]
    return before + after if after else before.rstrip("\n") + "\n"


def _count(text: str) -> int:
    document = tomlkit.parse(text)
    patches = document.get("patches")
    if patches is None:
        return 0
    if not isinstance(patches, AoT):
        raise ValueError("its patches are one list; write each as [[patches]]")  # noqa: TRY004
    return len(patches)


def _span(text: str, index: int) -> tuple[int, int]:
    """Where a patch's table stands: from its header's line to the end of its last key's line."""
    start = text.rfind("\n", 0, _marked(text, index, first=True) - 1) + 1
    return start, _marked(text, index, first=False)


def _marked(text: str, index: int, *, first: bool) -> int:
    """The offset before a table's first key, or behind its last one."""
    document = tomlkit.parse(text)
    patches = document["patches"]
    assert isinstance(patches, AoT)  # noqa: S101  # ``_count`` looked
    table = patches.body[index]
    assert isinstance(table, Table)  # noqa: S101  # the elements of an AoT
    body = table.value.body
    keys = [number for number, (key, _) in enumerate(body) if key is not None]
    place = 0 if first else keys[-1] + 1
    body.insert(place, (None, Comment(Trivia(comment=_MARK))))
    marked = document.as_string()
    if marked.replace(f"{_MARK}\n", "", 1) != text:  # then the mark's place is another one here
        raise ValueError("tomlkit does not keep its text; write [[patches]] without spaces")
    return marked.index(_MARK)
