"""Prints the JSON Schema (2020-12) of a file format, for editors and other tools."""

import argparse
import json

from kvpack.cli.context import Context, Options


class Args(Options):
    format: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "format", nargs="?", default="recipe", choices=("recipe", "lock", "config", "audit"),
        help="recipes/*.toml, lock/*.toml, kvpack.toml, or the JSON of kvpack audit",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Print the schema of one format."""
    from kvpack.audit.model import AuditReport
    from kvpack.fetch.config import Config
    from kvpack.lock.model import Lock
    from kvpack.recipe.model import Recipe

    model = {"recipe": Recipe, "lock": Lock, "config": Config, "audit": AuditReport}[args.format]
    schema = model.model_json_schema(
        by_alias=True, mode="serialization" if args.format == "audit" else "validation"
    )
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    context.console.print(json.dumps(schema, indent=2))
    return 0
