"""Command lines of mooncake_master and mooncake_client, and master.yaml -> ``OwnerSettings``.

gflags: ``--name=value``, ``--name value``, ``--name``, ``--noname``, with one dash or two, dashes
and underscores alike; a boolean flag never takes the next word. yaml-cpp: only the flat
``key: value`` that master.cpp reads; there is no YAML library among kvpack's dependencies.
"""

import json
import re
import shlex
from collections.abc import Mapping

from kvpack.doctor.model import Finding
from kvpack.doctor.mooncake_model import OwnerSettings, Program, finding, shown
from kvpack.doctor.mooncake_rules import Flags, load_rules
from kvpack.names import did_you_mean, nearest

_TRUE = {"1", "t", "true", "y", "yes"}
_FALSE = {"0", "f", "false", "n", "no"}
_YAML_TRUE = {"y", "yes", "true", "on"}
_YAML_FALSE = {"n", "no", "false", "off"}


def owner_of(
    *,
    master_args: str | None = None,
    client_args: str | None = None,
    master_config: tuple[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    **load: int | None,
) -> OwnerSettings:
    """What the user says of the other processes; faults of what he says are kept as findings.

    :param master_config: text of ``master.yaml``, and its place.
    :param environment: that of ``mooncake_client``, where it is another than the checked one.
    :param load: ``key_bytes`` and ``nodes`` of ``OwnerSettings``.
    """
    rules = load_rules()
    faults: list[Finding] = []
    master = client = None
    if master_args is not None or master_config is not None:
        flags = _flags(master_args or "", "--master-args", rules.master, faults)
        text, place = master_config or ("", "")
        file = _master_file(text, place, rules.master, faults)
        master = Program(place="--master-args", flags=flags, file=file, file_place=place)
    if client_args is not None:
        flags = _flags(client_args, "--client-args", rules.client, faults)
        client = Program(place="--client-args", flags=flags)
    clean = None
    if environment is not None:
        clean = {_printable(name): _printable(value) for name, value in environment.items()}
    return OwnerSettings.model_validate(
        {"master": master, "client": client, "environment": clean, "faults": faults, **load}
    )


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _flags(text: str, place: str, known: Flags, faults: list[Finding]) -> dict[str, str]:
    """Flag -> value; a flag that stands twice has its last value, as in gflags."""
    try:
        words = [_printable(word) for word in shlex.split(text.replace("\\\n", " "))]
    except ValueError as error:
        message = f"{shown(text)}: {error}"
        faults.append(finding("arguments", "error", place, message, file="close the quotes"))
        return {}
    found: dict[str, str] = {}
    if words and not words[0].startswith("-"):
        words = words[1:]  # the program itself
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or not word.strip("-"):
            faults.append(_stray(place, word, found, known))
            continue
        name, value = _flag(word, known)
        if name not in {*known.boolean, *known.valued}:
            faults.append(_unknown(place, word, name, known))
        if value is None:
            value = _value(place, word, name, words, known, faults)
        if name in known.boolean:
            value = _boolean(place, word, name, value, faults)
        found[name] = value
    return found


def _flag(word: str, known: Flags) -> tuple[str, str | None]:
    name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
    name = name.replace("-", "_")
    if equals:
        return name, value
    positive = name.removeprefix("no")
    if name not in known.boolean and positive != name and positive in known.boolean:
        return positive, "false"
    return name, "true" if name in known.boolean else None


def _value(
    place: str, word: str, name: str, words: list[str], known: Flags, faults: list[Finding]
) -> str:
    """Take the next word; of an unknown flag only what cannot be a flag."""
    if words and (name in known.valued or not words[0].startswith("-")):
        return words.pop(0)
    if name in known.valued:
        message = f"{word} has no value"
        faults.append(finding("arguments", "error", place, message, file=f"{word}=<value>"))
    return ""


def _boolean(place: str, word: str, name: str, value: str, faults: list[Finding]) -> str:
    low = value.lower()
    if low in _TRUE | _FALSE:
        return "true" if low in _TRUE else "false"
    message = f"{word}: {shown(value)} is no boolean; {did_you_mean(low, ['true', 'false'])}"
    why = "gflags refuses it, and the program does not start"
    faults.append(
        finding("arguments", "error", f"{place}: --{name}", message, why=why, file=f"--{name}=true")
    )
    return ""


def _stray(place: str, word: str, found: dict[str, str], known: Flags) -> Finding:
    last = next(reversed(found), "")
    message, why, mend = f"{shown(word)} belongs to no flag", "", f"remove {word}"
    if last in known.boolean and word.lower() in _TRUE | _FALSE:
        message = f"--{last} {word}: the word {shown(word)} is not read, so the flag is true"
        why = "gflags never takes the next word as the value of a boolean flag"
        mend = f"--{last}={word}"
    return finding(
        "arguments", "error", f"{place}: --{last}" if last else place, message, why=why, file=mend
    )


def _unknown(place: str, word: str, name: str, known: Flags) -> Finding:
    names = [*known.boolean, *known.valued]
    guess = nearest(name, names)
    message = f"{word}: this flag is not known here"
    message += f"; did you mean --{guess}?" if guess else ""
    why = "gflags refuses unknown flags, and the program does not start; newer versions have more"
    mend = f"--{guess}" if guess else f"remove {word}"
    severity_place = f"{place}: --{name}"
    return finding("arguments", "warning", severity_place, message, why=why, file=mend)


# -- master.yaml --------------------------------------------------------------------------------

_LINE = re.compile(r"""(?P<key>[A-Za-z_][\w-]*)\s*:(?:\s+(?P<value>.*))?$""")
_SCALAR = re.compile(
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^']|'')*)'"""
    r"""|(?P<plain>[^\s"'\[\]{}&*!|>%@`#,](?:(?!\s\#|:\s|:$).)*?)?)(?:(?:^|\s+)\#.*|\s*)"""
)


def _master_file(text: str, place: str, known: Flags, faults: list[Finding]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(text, place, faults), 1):
        if not line.strip() or line.lstrip().startswith("#") or line.strip() in {"---", "..."}:
            continue
        where = f"{place}:{number}"
        match = _LINE.fullmatch(line)
        scalar = _SCALAR.fullmatch((match["value"] or "").strip()) if match else None
        if match is None or scalar is None:
            message = f"{shown(line.strip())}: only flat lines `key: value` are read here"
            why = "mooncake_master reads scalars at the top of its file; kvpack reads no other YAML"
            mend = "write key: value, without indentation"
            faults.append(finding("master-file", "error", where, message, why=why, file=mend))
            continue
        key, value = match["key"], _scalar(scalar)
        if key in found:
            message = f"{key} stands more than once: {shown(found[key])} and {shown(value)}"
            mend = f"keep one: {key}: {value}"
            faults.append(finding("master-file", "error", where, message, file=mend))
        if key in known.boolean:
            value = _yaml_boolean(f"{place}: {key}", key, value, faults)
        found[key] = value
    return found


def _lines(text: str, place: str, faults: list[Finding]) -> list[str]:
    """Lines of YAML; of JSON, which master.cpp takes too, the same lines."""
    text = _printable(text)
    if not text.lstrip().startswith("{"):
        return text.splitlines()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"no valid JSON: {error}".splitlines()[0]
        faults.append(finding("master-file", "error", place, message, file="correct it"))
        return []
    return [f"{key}: {json.dumps(one)}" for key, one in value.items()]


def _scalar(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", r"\1", match["double"])
    if match["single"] is not None:
        return match["single"].replace("''", "'")
    return (match["plain"] or "").strip()


def _yaml_boolean(place: str, key: str, value: str, faults: list[Finding]) -> str:
    if value.lower() in _YAML_TRUE | _YAML_FALSE:
        return "true" if value.lower() in _YAML_TRUE else "false"
    message = f"{key}: {shown(value)} is no boolean of YAML"
    why = "mooncake_master throws when it reads it"
    faults.append(finding("master-file", "error", place, message, why=why, file=f"{key}: true"))
    return ""
