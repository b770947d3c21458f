#!/usr/bin/env python3
"""Measures what kvpack promises about speed, side by side in one run, at two sizes each.

    .venv/bin/python bench/run.py            prints the table
    .venv/bin/python bench/run.py --write    also puts it into README.md
    .venv/bin/python bench/run.py --only hit,plan

Nothing here is a test: machines are noisy. Commands that are compared run in turn (A B A B …), a
figure is the median, and what counts is the ratio.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "kvpack")
MARKS = ("<!-- bench -->", "<!-- /bench -->")
SIZES = ("msgpack", "dlslime")
"""Recipes that are built: one C file in 3 s, 76 C++ files in about a minute."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    size: str
    figure: str
    against: str
    budget: str


def timed(command: Sequence[str], folder: Path = ROOT) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return seconds


def pairs(
    one: Callable[[], float], two: Callable[[], float], runs: int
) -> list[tuple[float, float]]:
    """A B A B …, after one of each that does not count."""
    one(), two()
    return [(one(), two()) for _ in range(runs)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def help_text(_work: Path) -> list[Row]:
    bare = [sys.executable, "-c", "pass"]
    found = pairs(lambda: timed([PROGRAM, "--help"]), lambda: timed(bare), 15)
    over = median([a - b for a, b in found])
    per_command = pairs(lambda: timed([PROGRAM, "build", "--help"]), lambda: timed(bare), 15)
    more = median([a - b for a, b in per_command])
    against, budget = "bare interpreter", "0.1 s over it"
    return [
        Row("`kvpack --help`", "all commands", f"{over:.3f} s over", against, budget),
        Row("`kvpack build --help`", "one command", f"{more:.3f} s over", against, budget),
    ]


def warm_store(work: Path) -> Path:
    """A store in which everything was built once."""
    store = work / "store"
    for name in SIZES:
        timed([PROGRAM, "--store", str(store), "build", name, "--out", str(work / "warm")])
    return store


def hit(work: Path) -> list[Row]:
    store = warm_store(work)
    bare = [sys.executable, "-c", "pass"]
    rows = []
    for name in SIZES:
        command = [PROGRAM, "--store", str(store), "build", name, "--out", str(work / "warm")]
        found = pairs(lambda c=command: timed(c), lambda: timed(bare), 15)  # type: ignore[misc]
        debs = (ROOT / "lock" / f"{name}.toml").read_text().count("pool/")
        size = f"{name}: lock of {debs} packages"
        figure = f"{median([a for a, _ in found]):.3f} s"
        rows.append(Row("build of a key in the store", size, figure, "", "0.3 s"))
    return rows


def first_build(work: Path) -> list[Row]:
    """kvpack (unpack, build, stamp, audit, import) against cibuildwheel alone on the same root."""
    store = warm_store(work)
    rows = []
    for name, runs in zip(SIZES, (7, 3), strict=True):
        plain = plain_cibuildwheel(work, store, name)
        found = pairs(lambda n=name: fresh(work, store, n), plain, runs)  # type: ignore[misc]
        ratio = median([a / b for a, b in found])
        beyond = median([a - b for a, b in found])
        took = median([b for _, b in found])
        figure = f"{100 * (ratio - 1):+.1f} % ({beyond:+.1f} s on {took:.1f} s)"
        rows.append(Row("first build", name, figure, "plain cibuildwheel, same root", "+10 %"))
    return rows


def fresh(work: Path, store: Path, name: str) -> float:
    """Time a build that is no hit: inputs and root are there, results are not."""
    for kind in ("actions", "audits", "cells"):
        shutil.rmtree(store / kind, ignore_errors=True)
    command = [PROGRAM, "--store", str(store), "build", name, "--out", str(work / "fresh")]
    return timed(command)


def plain_cibuildwheel(work: Path, store: Path, name: str) -> Callable[[], float]:
    """The locked cibuildwheel by hand: same root, same wheels, its own repair step, no network."""
    from kvpack.cli.context import Context, Options  # noqa: PLC0415
    from kvpack.cli.make import host_tools  # noqa: PLC0415
    from kvpack.cli.select import Selected, plans  # noqa: PLC0415
    from kvpack.cli.workshop import ready_root  # noqa: PLC0415
    from kvpack.console import Console  # noqa: PLC0415
    from kvpack.tools.archive import unpack  # noqa: PLC0415

    context = Context(Options(root=ROOT, store=store), Console(verbosity=-1))
    (plan,) = plans(context, Selected(recipes=[name]))
    engine, image, _ = ready_root(context, plan.inputs)
    folder = work / f"plain-{name}"
    tools = host_tools(context, plan, folder)
    unpack(context.store.blob_path(plan.inputs.source.sha256), folder / "u", name=name)
    (top,) = (folder / "u").iterdir()
    (top / "wheels").mkdir()
    for wheel in plan.inputs.build:
        shutil.copy(context.store.blob_path(wheel.sha256), top / "wheels" / wheel.file)
    target = plan.inputs.target
    excluded = " ".join(f"--exclude {lib}" for lib in plan.recipe.audit.host_libraries)
    names = " ".join(f"{wheel.project}=={wheel.version}" for wheel in plan.inputs.build)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        **engine.environment,
        "PYTHONPATH": str(tools),
        "CIBW_CONTAINER_ENGINE": f"{engine.name}; disable_host_mount: true; "
        "create_args: --network=none",
        f"CIBW_MANYLINUX_{target.arch.upper()}_IMAGE": image,
        "CIBW_BUILD_FRONTEND": "build; args: --no-isolation",
        "CIBW_BEFORE_BUILD": "pip install -q --no-index --find-links /project/wheels " + names,
        "CIBW_REPAIR_WHEEL_COMMAND": f"auditwheel repair --plat {target.platform_tag} --only-plat "
        f"{excluded} -w {{dest_dir}} {{wheel}}",
        "CIBW_AUDIT_COMMAND": "",
    }
    only = f"{target.python_tag}-manylinux_{target.arch}"
    command = [sys.executable, "-S", "-P", "-m", "cibuildwheel", "--only", only,
               "--output-dir", str(folder / "out")]  # fmt: skip

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(command, cwd=top, env=environment, check=True, capture_output=True)
        return time.perf_counter() - start

    return run


def lock_check(_work: Path) -> list[Row]:
    rows = []
    for name in SIZES:
        seconds = median([timed([PROGRAM, "--offline", "lock", "--check", name]) for _ in range(9)])
        lines = len((ROOT / "lock" / f"{name}.toml").read_text().splitlines())
        rows.append(
            Row("`kvpack lock --check`", f"{name}: {lines} lines", f"{seconds:.3f} s", "", "2 s")
        )
    return rows


def plan(work: Path) -> list[Row]:
    """Targets of one recipe in many versions, in a catalogue made for this."""
    from kvpack.lock.file import read_lock, seal, write_lock  # noqa: PLC0415

    rows = []
    for versions in (167, 1667):  # of six targets each: 1,000 and 10,000
        root = work / f"catalogue{versions}"
        (root / "recipes").mkdir(parents=True)
        (root / "lock").mkdir()
        recipe = (ROOT / "recipes" / "msgpack.toml").read_text()
        lock = read_lock(ROOT / "lock" / "msgpack.toml", "lock/msgpack.toml")
        (source,) = lock.source
        more = [f"1.2.4.post{number}" for number in range(1, versions)]
        recipe += "".join(f'\n[versions."{v}"]\nsource = {{ sdist = "msgpack" }}\n' for v in more)
        closures = [
            closure.model_copy(update={"version": version})
            for version in more for closure in lock.closure if closure.version
        ]  # fmt: skip
        sources = [source.model_copy(update={"version": version}) for version in more]
        (root / "recipes" / "msgpack.toml").write_text(recipe)
        wide = lock.model_copy(
            update={"source": (source, *sources), "closure": (*lock.closure, *closures)}
        )
        write_lock(root / "lock" / "msgpack.toml", seal(wide))
        command = [PROGRAM, "--root", str(root), "--store", str(work / "empty"), "plan", "msgpack",
                   "--all", "--all-versions"]  # fmt: skip
        told = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
        count = told.stdout.count('"target"')
        for how, words in (("as a table", []), ("as JSON", ["--json"])):
            seconds = median([timed([*command, *words]) for _ in range(3)])
            rows.append(
                Row(
                    f"`kvpack plan` {how}",
                    f"{count} targets",
                    f"{seconds:.2f} s",
                    "",
                    "1 s for 10,000",
                )
            )
    return rows


BENCHES = {"help": help_text, "hit": hit, "first": first_build, "lock": lock_check, "plan": plan}


def table(rows: Sequence[Row]) -> str:
    lines = ["| what | size | measured | against | budget |", "|---|---|---|---|---|"]
    lines += [f"| {r.what} | {r.size} | {r.figure} | {r.against} | {r.budget} |" for r in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--only", help=f"some of {','.join(BENCHES)}")
    options = parser.parse_args()
    # Else each start compiles what was edited last once more.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen = options.only.split(",") if options.only else list(BENCHES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="kvpack-bench-") as folder:
        for name in chosen:
            print(f"measuring {name} …", file=sys.stderr)
            rows += BENCHES[name](Path(folder))
    text = table(rows)
    print(text)
    if options.write:
        readme = ROOT / "README.md"
        head, _, rest = readme.read_text().partition(MARKS[0])
        _, _, tail = rest.partition(MARKS[1])
        readme.write_text(f"{head}{MARKS[0]}\n{text}\n{MARKS[1]}{tail}")


if __name__ == "__main__":
    main()
