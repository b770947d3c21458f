"""The text of mooncake_config.json -> its object, with the faults that make or mislead ``json``."""

import json
from collections import Counter

from kvpack.doctor.model import Finding
from kvpack.doctor.mooncake_model import finding, shown


def read(text: str | bytes, place: str) -> tuple[dict[str, object] | None, list[Finding]]:
    """The object, or ``None`` with the reason; keys that stand twice are findings.

    vLLM reads with ``json.load`` of a file opened as text, so what fails there fails here.
    """
    twice: list[str] = []

    def remember(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in pairs)
        twice[:] = [key for key, count in counts.items() if count > 1]  # the last call is the root
        return dict(pairs)

    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(decoded, object_pairs_hook=remember)
    except UnicodeDecodeError as error:
        return None, [_broken(place, f"byte {error.start} is no UTF-8", "save it as UTF-8")]
    except json.JSONDecodeError as error:
        where = f"{place}:{error.lineno}:{error.colno}"
        return None, [_broken(where, f"{error.msg} ({_line(error)})", _advice(error))]
    except (ValueError, RecursionError) as error:  # thousands of digits; nested too deep
        return None, [_broken(place, str(error).splitlines()[0], "write plain keys and values")]
    if not isinstance(value, dict):
        message = f"not a JSON object, but {shown(value)}"
        return None, [_broken(place, message, 'write {"mode": "embedded", …}')]
    return value, [
        finding(
            "json",
            "error",
            f"{place}: {key}",
            f"the key {shown(key)} stands more than once: the last one, {shown(value[key])}, wins",
            why="json.load keeps the last and does not say so",
            file=f"keep one line: {shown(key)}: {shown(value[key])}",
        )
        for key in twice
    ]


def _broken(place: str, message: str, advice: str) -> Finding:
    why = "vLLM fails when it reads the file"
    return finding("json", "error", place, f"no valid JSON: {message}", why=why, file=advice)


def _line(error: json.JSONDecodeError) -> str:
    lines = error.doc.splitlines() or [""]
    line = lines[min(error.lineno, len(lines)) - 1].strip()[:80]
    return "".join(one if one.isprintable() else "?" for one in line) or "an empty line"


_ADVICE = (
    ("'", 'strings stand in double quotes: "rdma"'),
    ("True", "write true"),
    ("False", "write false"),
    ("None", "write null"),
    ("#", "remove the comment: JSON has none"),
    ("/", "remove the comment: JSON has none"),
)


def _advice(error: json.JSONDecodeError) -> str:
    """The fault that people make most where the parser stopped."""
    if error.msg.startswith("Unexpected UTF-8 BOM"):
        return "save it as UTF-8 without a byte order mark"
    if not error.doc.strip():
        return "the file is empty: write an object, {…}"
    here, before = error.doc[error.pos : error.pos + 5], error.doc[: error.pos].rstrip()
    comma = (before.endswith(",") and here[:1] in {"}", "]"}) or error.msg.startswith("Illegal tr")
    if comma:
        return "remove the comma before the closing bracket"
    for start, advice in _ADVICE:
        if here.startswith(start):
            return advice
    return f"correct line {error.lineno}, column {error.colno}"
