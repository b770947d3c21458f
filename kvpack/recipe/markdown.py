"""Texts and tables of GitHub Flavored Markdown. Pure."""

import re
from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of GitHub Flavored Markdown; none without rows."""
    found = [f"| {' | '.join(row)} |" for row in rows]
    if not found:
        return []
    return [f"| {' | '.join(headers)} |", "|" + "---|" * len(headers), *found]


def plain(text: str) -> str:
    """Text that stays text: one line, nothing that Markdown or HTML would take for its own."""
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text)


def code(text: str) -> str:
    """A code span; GFM splits table cells before it reads code, so a pipe is escaped there too."""
    text = " ".join(text.split()).replace("|", r"\|")
    marks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{marks}{space}{text}{space}{marks}"


def codes(texts: Iterable[str]) -> str:
    return ", ".join(code(text) for text in texts)


def url(text: str) -> str:
    """A link's target: what would end it is percent-encoded."""
    return re.sub(r"[()<>|\s]", lambda found: f"%{ord(found[0]):02X}", text)
