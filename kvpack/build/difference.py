"""In which inputs do two actions differ? In words for people."""

from typing import Any

from kvpack.tools.files import canonical_json


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first input in which two actions differ, in words for one line; ``None`` if in none."""
    for path, before, after in _differences(old, new, ()):
        where = " ".join(path)
        gone, come, more = _first_member(before, after)
        if gone is None:
            return f"{where}: added ({_cut(_short(come))}){more}"
        if come is None:
            return f"{where}: removed (was {_cut(_short(gone))}){more}"
        left, right = _window(_short(gone), _short(come))
        return f"{where}: {left} -> {right}{more}"
    return None


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Every input in which two actions differ: name, before, after."""
    return [(" ".join(path), before, after) for path, before, after in _differences(old, new, ())]


_ORDER = (
    *("schema", "recipe", "target", "libraries", "lock"),
    *("source", "patches", "build-requires", "host-tools"),
)


def _differences(
    old: object, new: object, path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], Any, Any]]:
    if old == new:
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [(path, old, new)]
    rank = {name: index for index, name in enumerate(_ORDER)}
    names = sorted({*old, *new}, key=lambda name: (rank.get(name, len(rank)), name))
    return [
        found
        for name in names
        for found in _differences(old.get(name), new.get(name), (*path, name))
    ]


def difference_lines(before: object, after: object) -> list[str]:
    """One difference, whole: what is gone, then what came; of lists, the members that differ."""
    gone, come = _members(before, after)
    lines = [f"- {_text(one)}" for one in gone] + [f"+ {_text(one)}" for one in come]
    return lines or ["the same members, in another order or number"]


def _members(before: object, after: object) -> tuple[list[object], list[object]]:
    """What only the one has, and what only the other; a value that is no list is its own member."""
    if isinstance(before, list) and isinstance(after, list):
        return [i for i in before if i not in after], [i for i in after if i not in before]
    return [before] if before is not None else [], [after] if after is not None else []


def _first_member(before: object, after: object) -> tuple[object, object, str]:
    """The first that is gone, the first that came (``None``: there is none), and how many more."""
    gone, come = _members(before, after)
    if not gone and not come:
        return before, after, ""
    more = max(len(gone), len(come)) - 1
    told = f", and {more} more" if more else ""
    return gone[0] if gone else None, come[0] if come else None, told


_SHOWN = 56
"""Characters that a line or a cell of a table shows of a value."""


def _window(before: str, after: str) -> tuple[str, str]:
    """The part of two long texts in which they begin to differ."""
    same = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, same - 24) if max(len(before), len(after)) > _SHOWN else 0
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int = 0) -> str:
    end = start + _SHOWN
    return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")


def _text(value: object) -> str:
    """A value on one line."""
    if isinstance(value, str) and value.isprintable():
        return value
    return canonical_json(value).decode()


def _short(value: object) -> str:
    text = _text(value)
    is_digest = len(text) == 64 and all(c in "0123456789abcdef" for c in text)  # noqa: PLR2004
    return f"{text[:12]}…" if is_digest else text
