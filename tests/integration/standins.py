"""Builds of real recipes on stand-ins: a changed catalogue, and what a build says of itself."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kvpack.fetch.mirrors import input_place
from tests.integration.conftest import CHECKOUT, Answer, Kvpack
from tests.standins.archives import make_archive
from tests.standins.make import make_repository
from tests.standins.torch import torch_wheel

TORCH = [
    torch_wheel("2.11.0", ("nvidia-cuda-runtime-cu12",)),
    *(torch_wheel(version) for version in ("2.12.1", "2.13.0", "2.14.0", "2.15.0")),
]
"""Stand-ins: real ones are gigabytes. The first is for another CUDA, as an index may have it."""


def lay_out(forge: Path, root: Path, sources: Iterable[str], recipes: Iterable[str]) -> None:
    """Stand-ins of sources in a forge, real recipes in a catalogue.

    The forge is a mirror of inputs, too: it has what a subproject of NIXL's stand-in downloads.
    """
    for name in sources:
        make_repository(name, forge)
    (root / "recipes").mkdir()
    for name in recipes:
        shutil.copy(CHECKOUT / "recipes" / f"{name}.toml", root / "recipes")
    _, data = make_archive("taskflow", "3.10.0")
    place = forge / input_place(hashlib.sha256(data).hexdigest())
    place.parent.mkdir(parents=True)
    place.write_bytes(data)


def changed(kvpack: Kvpack, folder: Path, recipe: str, *changes: tuple[str, str]) -> Kvpack:
    """kvpack on a copy of the catalogue in which texts of one recipe are others."""
    root = folder / "catalogue"
    shutil.copytree(kvpack.root, root)
    path = root / "recipes" / f"{recipe}.toml"
    text = path.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is in the recipe {text.count(old)} times"
        text = text.replace(old, new)
    path.write_text(text)
    return kvpack.with_root(root)


def build(kvpack: Kvpack, out: Path, *words: str) -> Answer:
    return kvpack("--json", "build", *words, "--out", str(out))


def report(answer: Answer) -> dict[str, Any]:
    """The audit's report beside the one wheel that was built."""
    (target,) = answer.ok().json["targets"]
    path = Path(target["wheel"])
    found: dict[str, Any] = json.loads(path.with_name(f"{path.name}.audit.json").read_text())
    return found


def proved(answer: Answer) -> dict[str, object]:
    """What each proof says: its value, else whether it holds."""
    return {one["id"]: one["value"] or one["holds"] for one in report(answer)["proofs"]}


def missed(answer: Answer) -> set[str]:
    """The proofs that failed the audit; nothing else may have."""
    assert answer.code == 50, f"exit {answer.code}\n{answer.out}\n{answer.err}"
    (target,) = answer.json["targets"]
    assert all(fault["place"].endswith("[prove]") for fault in target["faults"]), target
    return {fault["message"].partition(":")[0] for fault in target["faults"]}


def members(folder: Path) -> dict[str, int]:
    """The members of the one wheel in a folder, with their modes."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
