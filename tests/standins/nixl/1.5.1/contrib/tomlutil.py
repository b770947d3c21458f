#!/usr/bin/env python3
"""Stand-in for NIXL's contrib/tomlutil.py: edits a pyproject.toml in place."""

import argparse
from pathlib import Path

import tomlkit

parser = argparse.ArgumentParser(description="stand-in for NIXL's tomlutil.py")
parser.add_argument("--wheel-name", help="set the project's name")
parser.add_argument("--build-id", help="append +<this> to the version")
parser.add_argument("file", type=Path)
args = parser.parse_args()
document = tomlkit.parse(args.file.read_text())
if args.wheel_name:
    document["project"]["name"] = args.wheel_name
if args.build_id:
    document["project"]["version"] += f"+{args.build_id}"
args.file.write_text(tomlkit.dumps(document))
