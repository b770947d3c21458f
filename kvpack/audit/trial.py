"""Runs inside the container, with the clean environment's Python: imports, programs, commands.

Standard library only, Python 3.9 and newer. Prints one JSON object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

LIMIT = 120
"""Seconds for one program."""


def say(check: str, what: str, *, ok: bool, text: str = "") -> None:
    sys.stdout.write(json.dumps({"check": check, "what": what, "ok": ok, "text": text}) + "\n")
    sys.stdout.flush()


def try_import(module: str) -> None:
    """Import in a process of its own: a crash is a finding, not the end."""
    code = "import importlib, sys; importlib.import_module(sys.argv[1])"
    run("import", module, [sys.executable, "-I", "-c", code, module], {})


def try_program(path: str) -> None:
    """Let the loader resolve everything that an ELF program needs (ld.so(8))."""
    try:
        done = subprocess.run(
            [path], env={**os.environ, "LD_TRACE_LOADED_OBJECTS": "1", "LD_WARN": "1",
                         "LD_BIND_NOW": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        say("run", path, ok=False, text=str(error))
        return
    text = done.stdout.decode(errors="replace")
    bad = [x.strip() for x in text.splitlines() if "not found" in x or "undefined symbol" in x]
    if done.returncode < 0 and not bad:
        bad.append("signal %d" % -done.returncode)
    say("run", path, ok=not bad, text="; ".join(bad))


def run(check: str, what: str, words: list[str], extra: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            words, env={**os.environ, **extra}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        say(check, what, ok=False, text=str(error))
        return
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    ended = (
        "exit code %d" % done.returncode if done.returncode >= 0 else "signal %d" % -done.returncode
    )
    say(check, what, ok=done.returncode == 0, text="%s: %s" % (ended, " | ".join(lines[-4:])))


def main() -> int:
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")
    try:
        for module in order["imports"]:
            try_import(module)
        for path in order["programs"]:
            try_program(path)
        for words in order["commands"]:
            run("run", " ".join(words), words, {})
    except Exception:  # noqa: BLE001  # whatever it is, it is reported
        say("run", "trial.py", ok=False, text=traceback.format_exc(limit=2))
    sys.stdout.write(json.dumps({"done": True}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
