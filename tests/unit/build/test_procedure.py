"""What may change a wheel's bytes is part of every key: a change of it has to be a decision."""

import hashlib
import json
from pathlib import Path

import pytest

import kvpack.build
from kvpack.build.golang import GO
from kvpack.build.imagedebs import BESIDE
from kvpack.build.imagefolder import IMAGE_LAYER
from kvpack.build.key import PROCEDURE
from kvpack.build.merge import MERGE
from kvpack.build.prefix import LAYER
from kvpack.build.root import GENERATOR
from kvpack.build.stamp import STAMP
from kvpack.build.toolkit import TOOLKIT

DATA = Path(__file__).parents[2] / "data" / "procedure.json"
PACKAGE = Path(str(kvpack.build.__file__)).parent
CONSTANTS = {
    "STAMP": (STAMP, "stamp.py", ("stamp.py",)),
    "GENERATOR": (GENERATOR, "root.py", ("root.py", "pytools.py", "deb.py")),
    "BESIDE": (BESIDE, "imagedebs.py", ("imagedebs.py", "root.py")),
    "TOOLKIT": (TOOLKIT, "toolkit.py", ("toolkit.py", "stub.py", "nvcc.py")),
    "IMAGE_LAYER": (IMAGE_LAYER, "imagefolder.py", ("imagefolder.py", "imagelayers.py")),
    "LAYER": (LAYER, "prefix.py", ("prefix.py", "library.py")),
    "MERGE": (MERGE, "merge.py", ("merge.py",)),
    "GO": (GO, "golang.py", ("golang.py",)),
    "PROCEDURE": (
        PROCEDURE,
        "key.py",
        (
            *("project.py", "sbom.py", "run.py", "steps.py", "rename.py", "contained.py"),
            *("pure.py", "settings.py", "torch.py"),
        ),
    ),
}
"""Constant -> its value, the file that holds it, the files that it stands for."""


def digest(names: tuple[str, ...]) -> str:
    found = hashlib.sha256()
    for name in names:
        found.update(hashlib.sha256((PACKAGE / name).read_bytes()).digest())
    return found.hexdigest()


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_change_of_the_procedure_is_a_decision(name: str) -> None:
    value, holder, files = CONSTANTS[name]
    known = json.loads(DATA.read_text(encoding="utf-8"))[name]
    now = {"value": value, "files": list(files), "sha256": digest(files)}
    assert now == known, (
        f"{', '.join(files)} or {name} changed. Either the change cannot change the bytes of a "
        f"wheel: update {DATA.name}; or it can: raise {name} in kvpack/build/{holder}, then update "
        f"{DATA.name}. The entry is now: {json.dumps({name: now})}"
    )


def test_no_other_constant_is_known() -> None:
    assert set(json.loads(DATA.read_text(encoding="utf-8"))) == set(CONSTANTS)
