"""The one pydantic configuration of all values that cross a stage or a file, and its faults."""

import re
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from kvpack import names
from kvpack.errors import Fault
from kvpack.names import did_you_mean


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Value(BaseModel):
    """A frozen value: unknown keys are faults, keys are kebab-case in files."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
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


def faults_of(error: ValidationError, model: type[BaseModel], place: str) -> list[Fault]:
    """All faults that pydantic found, with key path, value and the nearest valid name.

    :param place: the file, as the user knows it.
    """
    return [_fault(dict(item), model, place) for item in error.errors(include_url=False)]


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
        choices = re.findall(r"'([^']+)'", str(item.get("ctx", {}).get("expected", "")))
        return Fault(
            place=where,
            message=f"{value!r} is not one of the values that are possible here",
            hint=did_you_mean(str(value), choices),
        )
    if kind == "string_pattern_mismatch":
        hint = _PATTERN_HINTS.get(str(item.get("ctx", {}).get("pattern")), str(item["msg"]))
        return Fault(place=where, message=f"{value!r} has the wrong form", hint=hint)
    text = str(item["msg"]).removeprefix("Value error, ")
    shown = repr(value)
    suffix = f" (found {shown})" if kind != "value_error" and len(shown) <= _SHOWN else ""
    return Fault(place=where, message=f"{text}{suffix}")


_SHOWN = 80
_PATTERN_HINTS = {
    names.SHA256_PATTERN: "a sha256 is 64 lower-case hexadecimal digits",
    names.GLIBC_PATTERN: 'a glibc floor is written as "2.39", in quotes',
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
            for inner in _models_in(field.annotation)
        ] or found  # an index or a free key stays on the models that its container holds
    return [field.alias or name for outer in found for name, field in outer.model_fields.items()]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
