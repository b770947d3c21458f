"""Runs the program in this process, in a folder with a tiny locked catalogue."""

import functools
import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kvpack.build.model import BuildPlan
from kvpack.cli.context import Context, Options
from kvpack.cli.judge import verdict_name
from kvpack.cli.main import main
from kvpack.cli.select import Selected, plans
from kvpack.console import Console
from kvpack.fetch.pypi import _pip_commands
from kvpack.fetch.remembered import remember, signature
from kvpack.lock.source import LockedSource
from kvpack.tools.store import Store
from tests.unit.audit.wheels import Wheel
from tests.unit.catalogues import Tiny, lock_of, recipe_of, text_of
from tests.unit.lock.outside import deb_content, sdist_content

PASSED = {"passed": True, "counts": {"error": 0, "warning": 0, "info": 0}, "findings": []}


@dataclass(frozen=True)
class Answer:
    """What one run of the program left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        assert found["version"] == 1
        assert found["kind"]
        return found


@functools.cache
def first_lock() -> bytes:
    """The lock of a ``Tiny`` that nobody changed: the same for every test."""
    return text_of(lock_of(recipe_of()))


@dataclass
class Place:
    """A catalogue that is the working directory, and a store beside it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    tiny: Tiny = field(init=False)

    def __post_init__(self) -> None:
        self.tiny = Tiny(self.folder / "catalogue")
        self.tiny.lock_file.write_bytes(first_lock())

    @property
    def root(self) -> Path:
        return self.tiny.root

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def run(self, *argv: str) -> Answer:
        """Run ``kvpack ARGV`` on the store of this place."""
        self.capsys.readouterr()
        code = main(["--store", str(self.store.root), *argv])
        out, err = self.capsys.readouterr()
        return Answer(code, out, err)

    def mirror(self, *, spoiled: bytes | None = None) -> Path:
        """A folder with all inputs of ``plan``, which kvpack.toml names as every registry."""
        inputs, folder = self.plan().inputs, self.folder / "mirror"
        held = {deb.path: deb_content(deb.path) for deb in inputs.root.packages}
        for wheel in (*inputs.build, *inputs.host, *inputs.root_tools, *inputs.imports):
            held[wheel.path] = wheel.file
        assert isinstance(inputs.source, LockedSource)
        held[inputs.source.path] = sdist_content(inputs.source.file)
        for path, text in held.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode() if spoiled is None else spoiled)
        self.use(folder)
        return folder

    def use(self, folder: Path) -> None:
        """Name a folder as the only mirror of every registry; pip was asked before, and knows none.

        To ask it takes a third of a second.
        """
        remember(self.store, signature(os.environ, _pip_commands()), "")
        (self.root / "kvpack.toml").write_text(
            f'[registries.pypi]\nindex = "{folder.as_uri()}"\nfiles = ["{folder.as_uri()}"]\n'
            f'[registries.debian]\nmirrors = ["{folder.as_uri()}"]\n'
        )

    def plan(self) -> BuildPlan:
        """The plan of one target: ``--python 3.11 --glibc 2.36 --arch x86_64``."""
        options = Options(root=self.root, store=self.store.root)
        chosen = Selected(recipes=["tiny"], python="3.11", glibc="2.36", arch="x86_64")
        (plan,) = plans(Context(options, Console()), chosen)
        return plan

    def keep(self, wheel: Path, verdict: dict[str, Any] | None = None) -> BuildPlan:
        """Put a wheel into the store as if the target had been built, with its verdict."""
        plan, store = self.plan(), self.store
        sha256 = store.add_file(wheel)
        made = {"file": wheel.name, "sha256": sha256, "size": wheel.stat().st_size}
        record = {"key": plan.key, "action": plan.action, "made": 1, "seconds": 2.5, "wheel": made}
        store.write_record("actions", plan.key, record)
        store.write_record("cells", plan.cell, {"key": plan.key, "seconds": 2.5})
        store.write_record("audits", verdict_name(plan, sha256), verdict or PASSED)
        return plan

    def wheel(self, size: int = 10) -> Path:
        """A wheel with the evidence that a delivered one carries, and data that do not shrink."""
        data = random.Random(0).randbytes(size)  # noqa: S311  # nothing is secret here
        extra = {"demo-1.0.dist-info/sboms/kvpack.cdx.json": b"{}", "demo/data": data}
        folder = self.folder / "wheels"
        folder.mkdir(exist_ok=True)
        return Wheel(extra=extra).write(folder)


SELECTED = ("tiny", "--python", "3.11", "--glibc", "2.36", "--arch", "x86_64")
"""Words that select the target of ``Place.plan``."""
