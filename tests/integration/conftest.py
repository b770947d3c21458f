"""The installed ``kvpack`` program, run as a user runs it, on one store for the whole session."""

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
PROGRAM = Path(sysconfig.get_path("scripts")) / "kvpack"
# Registries that answer late or fail for a moment are no failure of kvpack.
for _name, _value in (
    ("PIP_RETRIES", "10"), ("UV_HTTP_RETRIES", "10"), ("UV_HTTP_TIMEOUT", "120"),
):  # fmt: skip
    os.environ.setdefault(_name, _value)


LONGEST = (
    *(
        "build",
        "recipes_standins",
        "libraries",
        "rocm",
        "toolkits",
        "nvcc",
        "doctor",
        "requirements",
    ),
    *(
        "recipes",
        "publish",
        "proofs",
        "imagedebs",
        "inputimages",
        "roots",
        "libraries_shared",
        "new",
    ),
    *("publish_refused", "shared", "sources", "publish_site", "inputs", "get", "bundle", "solve"),
)
"""Files of tests that take long, the longest first, as ``--durations`` told."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with long files, so that workers end together; the order within a file stays."""
    rank = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@dataclass
class Answer:
    """What a run of kvpack left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def ok(self) -> "Answer":
        assert self.code == 0, f"exit {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass
class Kvpack:
    """The program, a catalogue and a store."""

    root: Path
    store: Path
    env: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    """Words in front of the program: ``unshare --net``."""

    def words(self, *args: str) -> list[str]:
        return [*self.before, str(PROGRAM), "--root", str(self.root), "--store", str(self.store),
                *args]  # fmt: skip

    def __call__(self, *args: str, timeout: float = 900) -> Answer:
        done = subprocess.run(
            self.words(*args), capture_output=True, text=True, timeout=timeout, check=False,
            env={**os.environ, **self.env},
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.words(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **self.env},
        )  # fmt: skip

    def with_root(self, root: Path) -> "Kvpack":
        return Kvpack(root, self.store, self.env, self.before)


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    store = tmp_path_factory.mktemp("store")
    yield store
    remove_images(store)


def copied_store(store: Path, target: Path, *, roots: bool = True) -> Path:
    """A store with the same inputs and builder roots, but no results.

    Blobs are linked, not copied: they are gigabytes by then, and nothing writes into one in place.
    """
    shutil.copytree(store / "blobs", target / "blobs", copy_function=os.link)
    for kind in ("engine", *(["roots"] if roots else [])):
        shutil.copytree(store / kind, target / kind)
    return target


def remove_images(store: Path) -> None:
    """Builder roots are half a gigabyte each: those that a store made go."""
    environment = {**os.environ, "CONTAINERS_CONF": str(store / "engine" / "restricted.conf")}
    images = [str(json.loads(path.read_text())["id"]) for path in (store / "roots").glob("*.json")]
    for image in (*images, *images):  # the second time those that lay below another one
        subprocess.run(
            ["podman", "rmi", "--force", image], capture_output=True, check=False, env=environment
        )


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A copy of the repository's catalogue, to change at will."""
    root = tmp_path / "catalogue"
    for name in ("recipes", "lock", "patches"):
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, root / name)
    return root


@pytest.fixture
def kvpack(catalogue: Path, shared_store: Path) -> Kvpack:
    return Kvpack(catalogue, shared_store)
