"""The one pydantic configuration of all values that cross a stage or a file, and its faults."""

import re
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from kvpack import names
from kvpack.errors import Fault
from kvpack.names import did_you_mean


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Value(BaseModel):
    """A frozen value: unknown keys are faults, keys are kebab-case in files.

    Strings below attributes document them; ``kvpack schema`` reads them from the source. pydantic
    could (``use_attribute_docstrings``), but does so at every start, which takes 60 ms.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=_kebab,
        populate_by_name=True,
    )

    def as_json(self) -> dict[str, object]:
        """Plain JSON types, kebab-case, defaults left out of nothing."""
        return self.model_dump(mode="json", by_alias=True)


Sha256 = Annotated[str, StringConstraints(pattern=names.SHA256_PATTERN)]
Glibc = Annotated[str, StringConstraints(pattern=names.GLIBC_PATTERN)]
PythonVersion = Annotated[str, StringConstraints(pattern=names.PYTHON_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=names.NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


ALTERNATIVE = " | "
"""Between the names of Debian packages of which one is meant (Debian policy 7.1)."""


def _debian_package(text: str) -> str:
    for name in text.split(ALTERNATIVE):
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) or name.endswith("-"):
            raise ValueError(
                f"{name!r} is not the name of a Debian package: lower-case letters, digits, '+', "
                "'-', '.' (Debian policy 5.6.7); alternatives are parted by ' | ' (7.1); options, "
                "versions and patterns are not taken"
            )
    return text


DebianPackage = Annotated[str, AfterValidator(_debian_package)]


def faults_of(error: ValidationError, model: type[BaseModel], place: str) -> list[Fault]:
    """All faults that pydantic found, with key path, value and the nearest valid name.

    :param place: the file, as the user knows it.
    """
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for item in error.errors(include_url=False):
        path = tuple(item["loc"])
        # <git>: which of several kinds of table it was taken for; no key that anybody wrote.
        path = tuple(part for part in path if not re.fullmatch("<[a-z-]+>", str(part)))
        if path and path[-1] == "[key]":  # the key of a table is wrong, not what it holds
            path = path[:-1]
        if item["type"] == "too_short" and item.get("input"):
            continue  # its items are wrong, and that is said for each
        branch = str(path[-1]) if path else ""
        if item["type"] in _TYPES and (branch in _BRANCHES or branch.endswith("]")):
            path = path[:-1]  # one entry for each type that is possible: told as one fault
            if (before := found.get(path)) is not None:
                before["possible"] += [item["type"]]
                continue
        found.setdefault(path, {**item, "loc": path, "possible": [item["type"]]})
    return [_fault(item, model, place) for item in found.values()]


_TYPES = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a table",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "model_type": "a table",
    "string_type": "a string",
    "tuple_type": "a list",
}
"""What TOML calls the types that pydantic asks for."""
_BRANCHES = {"bool", "str", "constrained-str"}
"""What pydantic appends to the path of a value that may be of several types."""


def _fault(item: dict[str, Any], model: type[BaseModel], place: str) -> Fault:
    path = tuple(item["loc"])
    kind, value = item["type"], item.get("input")
    where = f"{place}: {_dotted(path)}" if path else place
    if kind == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        return Fault(
            place=where,
            message=f"unknown key {path[-1]!r}",
            hint=did_you_mean(str(path[-1]), known),
        )
    if kind == "missing":
        return Fault(place=where, message="required, but missing", hint=f"add {path[-1]!r} here")
    if kind in {"enum", "literal_error"}:
        expected = str(item.get("ctx", {}).get("expected", ""))
        choices = re.findall(r"'([^']+)'", expected) or [expected]
        return Fault(
            place=where,
            message=f"{_shown(value)} is not one of the values that are possible here",
            hint=did_you_mean(str(value), choices),
        )
    if kind == "string_pattern_mismatch":
        pattern = str(item.get("ctx", {}).get("pattern"))
        hint = _PATTERN_HINTS.get(pattern, f"it must match {pattern}")
        return Fault(place=where, message=f"{_shown(value)} has the wrong form", hint=hint)
    return Fault(place=where, message=_message(item), hint=_type_hint(item))


def _message(item: dict[str, Any]) -> str:
    kind, shown = item["type"], _shown(item.get("input"))
    if kind in _TYPES:
        possible = dict.fromkeys(_TYPES[name] for name in item["possible"])
        return f"must be {' or '.join(possible)} (found {shown})"
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty"
    text = str(item["msg"]).removeprefix("Value error, ")
    return text if kind in {"value_error", "source_kind"} else f"{text} (found {shown})"


def _type_hint(item: dict[str, Any]) -> str:
    value, possible = item.get("input"), item["possible"]
    if "string_type" in possible and isinstance(value, int | float) and not isinstance(value, bool):
        return f'write it in quotes: "{_shown(value)}"'
    if "tuple_type" in possible and isinstance(value, str):
        return f"write it in brackets: [{_shown(value)}]"
    return ""


def _shown(value: object) -> str:
    """A value as messages show it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits (hexadecimal in TOML) has no text
        return "a very long number"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


_SHOWN = 80
_PATTERN_HINTS = {
    names.SHA256_PATTERN: "a sha256 is 64 lower-case hexadecimal digits",
    names.COMMIT_PATTERN: "a commit is 40 lower-case hexadecimal digits: a short one is ambiguous",
    names.GLIBC_PATTERN: 'a glibc floor is written as "2.39", in quotes',
    names.PREFIX_PATTERN: "a native library lies in a folder of its own right below /opt: /opt/ucx",
    names.PYTHON_PATTERN: 'a Python version is written as "3.11", in quotes',
    names.NAME_PATTERN: "lower-case letters and digits, words joined by single hyphens",
}


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            quoted = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"'
            text += f".{quoted}" if text else quoted
    return text


def _keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that are valid in the table at ``path``, found by walking the models."""
    found: list[type[BaseModel]] = [model]
    for part in path:
        found = [
            inner
            for outer in found
            for name, field in outer.model_fields.items()
            if part in {name, field.alias}
            for inner in models_in(field.annotation)
        ] or found  # an index or a free key stays on the models that its container holds
    keys = [field.alias or name for outer in found for name, field in outer.model_fields.items()]
    return list(dict.fromkeys(keys))


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models that a field's annotation can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
