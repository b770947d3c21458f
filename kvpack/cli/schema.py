"""Prints the JSON Schema (2020-12) of a file format, for editors and other tools."""

import argparse
import ast
import inspect
import itertools
import json
import textwrap
from typing import TYPE_CHECKING, Any, Literal

from kvpack.cli.context import Context, Options

if TYPE_CHECKING:
    from pydantic import BaseModel


class Args(Options):
    format: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "format", nargs="?", default="recipe", choices=("recipe", "lock", "config", "audit"),
        help="recipes/*.toml, lock/*.toml, kvpack.toml, or the JSON of kvpack audit",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Print the schema of one format."""
    from pydantic import BaseModel

    from kvpack.audit.model import AuditReport
    from kvpack.fetch.config import Config
    from kvpack.lock.model import Lock
    from kvpack.recipe.model import Recipe

    models: dict[str, type[BaseModel]] = {
        "recipe": Recipe,
        "lock": Lock,
        "config": Config,
        "audit": AuditReport,
    }
    mode: Literal["serialization", "validation"]
    mode = "serialization" if args.format == "audit" else "validation"
    top = models[args.format]
    schema = top.model_json_schema(by_alias=True, mode=mode)
    _describe(schema, top, {model.__name__: model for model in _reached(top, set())})
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    context.console.print(json.dumps(schema, indent=2))
    return 0


def _reached(model: "type[BaseModel]", seen: "set[type[BaseModel]]") -> "set[type[BaseModel]]":
    from kvpack.base import models_in

    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                _reached(inner, seen)
    return seen


def _describe(
    schema: dict[str, Any], top: "type[BaseModel]", models: "dict[str, type[BaseModel]]"
) -> None:
    """Fill in the descriptions that stand as strings below the attributes of the models."""
    for name, part in (("", schema), *schema.get("$defs", {}).items()):
        model = models.get(name) if name else top
        if model is None:
            continue
        texts = _attribute_texts(model)
        for key, entry in part.get("properties", {}).items():
            if key in texts:
                entry.setdefault("description", texts[key])


def _attribute_texts(model: "type[BaseModel]") -> dict[str, str]:
    """Attribute docstrings of a class, by the key that stands in the file."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101  # the source of a class
    found = {}
    for field, below in itertools.pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            text, name = below.value, getattr(field.target, "id", "")
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                key = model.model_fields[name].alias or name
                found[key] = inspect.cleandoc(text.value)
    return found
