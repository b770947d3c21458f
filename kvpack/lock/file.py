"""``lock/<name>.toml``: one canonical text per lock, read with every fault at once.

The writer is kvpack's own, forty lines, because the text must stay the same bytes whatever version
of a TOML library is installed; reading is ``tomllib``.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kvpack.base import faults_of
from kvpack.errors import Fault, LockInvalid, LockMissing
from kvpack.lock.model import Lock
from kvpack.tools.files import canonical_json, sha256_of, write_text

HEADER = """\
# Written by "kvpack lock {recipe}". Review it like code; do not edit it: the digest tells.
# It names registries and places in them; their hosts come from the machine that fetches.
"""
_ROW_TABLES = ("packages", "wheels", "patches", "submodule", "wrap", "module", "layers")
"""Lists of tables that are written one row a line, so that a diff shows one input a line."""


def content_digest(raw: dict[str, Any]) -> str:
    """Digest of a lock's plain content without its own ``digest``."""
    rest = {key: value for key, value in raw.items() if key != "digest"}
    return f"sha256:{sha256_of(canonical_json(rest))}"


def plain(lock: Lock) -> dict[str, Any]:
    """A lock as TOML types, without defaults, in the order of the model."""
    content: dict[str, Any] = lock.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return content


def seal(lock: Lock) -> Lock:
    """The lock with the digest of its content."""
    return lock.model_copy(update={"digest": content_digest(plain(lock))})


def dump(lock: Lock) -> str:
    """The canonical text. ``dump(parse(dump(x))) == dump(x)``."""
    raw = plain(lock)
    lines = [HEADER.format(recipe=lock.recipe)]
    tables = []
    for key, value in raw.items():
        is_tables = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
        if is_tables and key not in _ROW_TABLES:
            tables += [line for table in value for line in ("", f"[[{key}]]", *_pairs(table))]
            continue
        lines += _pairs({key: value})
    return "\n".join([*lines, *tables]) + "\n"


def _pairs(table: dict[str, Any]) -> list[str]:
    """``key = value`` lines; a list of several items takes a line for each."""
    lines = []
    for name, value in table.items():
        if name in _ROW_TABLES:
            lines += [f"{name} = [", *(f"  {_inline(row)}," for row in value), "]"]
        elif isinstance(value, list) and len(value) > 1:
            lines += [f"{name} = [", *(f"  {_toml(item)}," for item in value), "]"]
        else:
            lines.append(f"{name} = {_toml(value)}")
    return lines


def _inline(row: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{name} = {_toml(value)}" for name, value in row.items()) + " }"


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _string(value)
        case list():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case _:
            raise TypeError(f"a lock holds no {type(value).__name__}")


def _string(text: str) -> str:
    """A basic string (TOML 1.0): only quote, backslash and control characters are escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
    )


_STR = r'"[^"\\\x00-\x1f\x7f]*+(?:\\(?:["\\]|u00[01][0-9a-f]|u007f)[^"\\\x00-\x1f\x7f]*+)*+"'
_ONE = rf"(?:{_STR}|0|[1-9][0-9]*+|true|false)"
_INNER = re.compile(rf"([a-z0-9-]+) = ({_ONE})")
_INNERS = rf"\{{ [a-z0-9-]+ = {_ONE}(?:, [a-z0-9-]+ = {_ONE})*+ \}}"
_LIST = rf"\[\]|\[{_ONE}\]|\[\n(?:  (?:{_ONE}|{_INNERS}),\n)++\]"
_LINES = rf"(?:\n[a-z0-9-]+ = (?:{_ONE}|{_LIST}))++"
_DUMPED = re.compile(rf"(?:#[^\x00-\x1f\x7f]*+\n)*+({_LINES}(?:\n\n\[\[[a-z-]+\]\]{_LINES})*+)\n")
"""The texts that ``dump`` writes, as far as they decide how one is read."""
_ROW = re.compile(r"\n  \{ (.*) \},")
_KEY = re.compile(r"\n([a-z0-9-]+) = ")
_TABLE = re.compile(r"\n\n\[\[([a-z-]+)\]\],")


def load_toml(text: str) -> dict[str, Any]:
    """The TOML of a lock. What ``dump`` wrote is read as JSON, in a third of ``tomllib``'s time.

    No string of it holds a line break, and its values are written as in JSON: only the punctuation
    at the ends of lines differs. Whatever is not quite like that is left to ``tomllib``.

    :raises ValueError: if it is no TOML.
    """
    dumped = _DUMPED.fullmatch(text)
    if dumped is None:
        return tomllib.loads(text)
    body = _ROW.sub(_json_row, dumped[1]).replace(",\n]", "]")
    body = _KEY.sub(lambda key: f',"{key[1]}":', body)
    body = _TABLE.sub(lambda table: f'}},"{table[1]}",{{', body)
    try:
        raw, *rest = json.loads(f"[{{{body[1:]}}}]", object_pairs_hook=_distinct)
    except ValueError:
        return tomllib.loads(text)
    tables: dict[str, Any] = {}
    for name, table in zip(rest[::2], rest[1::2], strict=True):
        tables.setdefault(name, []).append(table)
    return tomllib.loads(text) if raw.keys() & tables else raw | tables


def _json_row(row: re.Match[str]) -> str:
    return "\n{" + ",".join(f'"{name}":{value}' for name, value in _INNER.findall(row[1])) + "},"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table, whose keys differ.

    :raises ValueError: if two do not.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def parse(data: bytes, place: str) -> Lock:
    """The lock in a TOML text.

    :raises LockInvalid: with all faults; also if the text was edited by hand.
    """
    recipe = Path(place).stem
    hint = (
        f"restore it: git checkout {place}; or remove it and pin everything anew: "
        f"kvpack lock {recipe}"
    )
    try:
        raw = load_toml(data.decode())
    except (ValueError, RecursionError) as error:  # also no UTF-8, numbers too long, lists too deep
        fault = Fault(place=place, message=f"not TOML: {error}")
        merged = re.search(rb"^<{7} ", data, re.MULTILINE)
        cause = "a merge left its conflict markers in it" if merged else "it is damaged"
        raise LockInvalid(
            f"{place} cannot be read", cause=cause, hint=hint, faults=[fault]
        ) from None
    try:
        lock = Lock.model_validate(raw)
    except ValidationError as error:
        faults = faults_of(error, Lock, place)
        raise LockInvalid(
            f"{place} has {len(faults)} fault(s)",
            cause="it is no lock, was edited by hand, or another version of kvpack wrote it",
            hint=hint,
            faults=faults,
        ) from None
    faults = list(_reference_faults(lock, place))
    if lock.digest != content_digest(raw):
        message = f"{lock.digest} is not the digest of the content ({content_digest(raw)})"
        faults.append(Fault(place=f"{place}: digest", message=message))
    if faults:
        raise LockInvalid(
            f"{place} contradicts itself",
            cause="it was edited by hand, or a merge joined two versions of it",
            hint=hint,
            faults=faults,
        )
    return lock


def _reference_faults(lock: Lock, place: str) -> list[Fault]:
    known = {wheel.file for wheel in lock.wheels}
    return [
        Fault(place=f"{place}: closure[{index}].files", message=f"no wheel {file!r} in [[wheels]]")
        for index, closure in enumerate(lock.closure)
        for file in closure.files
        if file not in known
    ]


def read_lock(path: Path, place: str) -> Lock:
    """Read a lock file.

    :raises LockMissing: if there is none.
    :raises LockInvalid: with all faults.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise LockMissing(
            f"there is no {place}",
            cause="the recipe was never locked here",
            hint=f"kvpack lock {path.stem}",
        ) from None
    lock = parse(data, place)
    if lock.recipe != path.stem:
        raise LockInvalid(
            f"{place} is the lock of recipe {lock.recipe!r}",
            cause="the file was copied or renamed",
            hint=f"kvpack lock {path.stem}",
        )
    return lock


def write_lock(path: Path, lock: Lock) -> bool:
    """Write a lock's canonical text, atomically; returns whether it changed anything."""
    text = dump(lock)
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    write_text(path, text)
    return True
