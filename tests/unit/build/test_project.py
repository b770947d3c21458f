"""What cibuildwheel copies into the container, and how it is told to build."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cibuildwheel.environment import parse_environment
from cibuildwheel.options import EnvironmentFormat

from kvpack.build.key import action_key, lock_digest
from kvpack.build.model import BuildPlan
from kvpack.build.project import configuration, label, lay_out
from kvpack.build.run import prepare
from kvpack.build.settings import environment
from kvpack.errors import PatchFailed
from kvpack.recipe.model import Recipe
from kvpack.tools.engine import Engine
from tests.unit.build.made import (
    EPOCH,
    INPUTS,
    PATCH,
    Blobs,
    calls,
    inputs,
    locked_wheel,
    plan,
    recipe,
    script,
    shop,
)

MAP = "-ffile-prefix-map=/project/source=."
ENGINE = Engine("podman")


class Laid:
    """A project folder of the demo recipe, with its patches in ``patches``."""

    def __init__(self, tmp_path: Path, made: BuildPlan | None = None) -> None:
        self.plan = made or plan()
        self.patches = tmp_path / "patches"
        self.patches.mkdir(exist_ok=True)
        (self.patches / "fix.patch").write_bytes(PATCH)
        blobs = Blobs(tmp_path / "blobs")
        for data in (b"setuptools", b"build"):
            blobs.add(data)
        self.shop = shop(tmp_path)
        self.project = lay_out(self.plan, self.shop, blobs, self.patches.joinpath)
        self.inputs = self.project / "kvpack-inputs"

    def read(self, name: str) -> str:
        return (self.inputs / name).read_text(encoding="utf-8")


@pytest.fixture
def laid(tmp_path: Path) -> Laid:
    return Laid(tmp_path)


def test_the_folder_holds_every_input_and_nothing_else(laid: Laid) -> None:
    files = [path for path in laid.project.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(laid.inputs).as_posix() for path in files) == [
        *("before-build.sh", "evidence/kvpack/action.json", "evidence/kvpack/key"),
        *("evidence/kvpack/lock-digest", "evidence/sboms/kvpack.cdx.json", "order.json"),
        *("patches/fix.patch", "repair.sh", "requirements.txt", "stamp.py"),
        *("wheels/build-1.0-py3-none-any.whl", "wheels/setuptools-1.0-py3-none-any.whl"),
    ]
    assert laid.read("wheels/setuptools-1.0-py3-none-any.whl") == "setuptools"
    assert laid.read("patches/fix.patch").encode() == PATCH


def test_the_source_has_its_place_beside_them(tmp_path: Path) -> None:
    empty = plan(locked=inputs(("build", []), ("patches", [])))
    place = prepare(empty, shop(tmp_path, source_folder="again"), Blobs(tmp_path), Path)
    assert place == tmp_path / "project" / "again"
    assert not place.exists()


def test_build_requirements_are_pinned_by_hash(laid: Laid) -> None:
    assert laid.read("requirements.txt").splitlines() == [
        f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}" for wheel in INPUTS.build
    ]


def test_the_evidence_is_the_action_its_key_and_the_locks_digest(laid: Laid) -> None:
    action = json.loads(laid.read("evidence/kvpack/action.json"))
    assert action == laid.plan.action
    assert laid.read("evidence/kvpack/key") == f"{action_key(action)}\n"
    assert laid.read("evidence/kvpack/lock-digest") == f"sha256:{lock_digest(INPUTS)}\n"
    bill = json.loads(laid.read("evidence/sboms/kvpack.cdx.json"))
    assert bill["metadata"]["component"]["name"] == "demo-kv"
    assert json.loads(laid.read("order.json")) == {
        "name": "demo-kv",
        "version": f"1.0+kvp.{laid.plan.key[:8]}",
        "epoch": EPOCH,
        "upstream": "1.0",
        "platform": "manylinux_2_36_x86_64",
    }


def test_two_layouts_of_one_plan_are_the_same_bytes(laid: Laid, tmp_path: Path) -> None:
    (tmp_path / "2").mkdir()
    other = Laid(tmp_path / "2")
    for path in laid.project.rglob("*"):
        if path.is_file():
            assert (
                path.read_bytes() == (other.project / path.relative_to(laid.project)).read_bytes()
            )


def test_a_patch_that_was_changed_after_locking_is_refused(tmp_path: Path) -> None:
    locked = inputs(("patches.0.sha256", "0" * 64))
    with pytest.raises(PatchFailed, match=r"patches/demo/fix\.patch has sha256") as caught:
        Laid(tmp_path, plan(locked=locked))
    assert "0" * 64 in caught.value.what
    assert "kvpack lock demo" in caught.value.hint


# -- the scripts, run with fake programs ----------------------------------------------------


def played(laid: Laid, tmp_path: Path, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the project; its programs record their calls."""
    for program in ("python", "patch", "auditwheel"):
        text = f'{{ printf "%s" {program}; printf "\\t%s" "$@"; echo; }} >> {tmp_path}/calls\n'
        text += f"test ! -e {tmp_path}/{program}-fails\n"
        script(tmp_path / "bin" / program, text)
    return subprocess.run(
        ["sh", laid.inputs / name, *args],
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_before_the_build_requirements_are_installed_then_patches_applied(
    laid: Laid, tmp_path: Path
) -> None:
    assert played(laid, tmp_path, "before-build.sh").returncode == 0
    install, patch = calls(tmp_path / "calls")
    assert install[:4] == ["python", "-m", "pip", "install"]
    assert {"--no-index", "--no-deps", "--require-hashes"} <= set(install)
    assert patch == [
        *("patch", "-d", "/project/source", "-p1", "-F0", "--batch", "--no-backup-if-mismatch"),
        *("-i", "/project/kvpack-inputs/patches/fix.patch"),
    ]


def test_a_patch_that_does_not_apply_is_marked_and_stops_the_build(
    laid: Laid, tmp_path: Path
) -> None:
    (tmp_path / "patch-fails").touch()
    done = played(laid, tmp_path, "before-build.sh")
    assert done.returncode == 1
    assert done.stdout == "kvpack: patch failed: fix.patch\n"


def test_no_patch_is_tried_when_a_requirement_is_missing(laid: Laid, tmp_path: Path) -> None:
    (tmp_path / "python-fails").touch()
    assert played(laid, tmp_path, "before-build.sh").returncode != 0
    assert [call[0] for call in calls(tmp_path / "calls")] == ["python"]


def test_odd_names_of_patches_stay_one_word(tmp_path: Path) -> None:
    """The lock's pattern allows no blank, but letters that a shell may read."""
    name = "a%b~c!+d.patch"
    made = plan(locked=inputs(("patches.0.file", name)))
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / name).write_bytes(PATCH)
    laid = Laid(tmp_path, made)
    (tmp_path / "patch-fails").touch()
    assert played(laid, tmp_path, "before-build.sh").stdout == f"kvpack: patch failed: {name}\n"
    assert list(calls(tmp_path / "calls"))[1][-1] == f"/project/kvpack-inputs/patches/{name}"


def test_repair_is_for_exactly_the_floor_and_grafts_nothing_of_the_host(tmp_path: Path) -> None:
    made = Laid(tmp_path, plan(recipe(("audit.host-libraries", ["libibverbs.so.1", "lib*.so"]))))
    played(made, tmp_path, "repair.sh", "x.whl", "out")
    (repair,) = calls(tmp_path / "calls")
    assert repair[:5] == ["auditwheel", "repair", "--plat", "manylinux_2_36_x86_64", "--only-plat"]
    assert repair[5:9] == ["--exclude", "libibverbs.so.1", "--exclude", "lib*.so"]
    assert repair[-1] == "x.whl"
    assert "/opt/python/cp39-cp39/bin/python /project/kvpack-inputs/stamp.py" in made.read(
        "repair.sh"
    )


# -- the environment ------------------------------------------------------------------------


def environment_of(tmp_path: Path, *changes: tuple[str, object]) -> dict[str, str]:
    return environment(plan(recipe(*changes)), shop(tmp_path))


def test_the_environment_is_the_same_everywhere(tmp_path: Path) -> None:
    assert environment_of(tmp_path) == {
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
        "CFLAGS": MAP,
        "CXXFLAGS": MAP,
        "DEMO": "1",
        "DEMO_FLAVOR": "plain",
        "CMAKE_ARGS": "-DUSE_CUDA=OFF",
    }


def test_flags_of_the_recipe_come_after_the_prefix_map(tmp_path: Path) -> None:
    found = environment_of(tmp_path, ("build.environment", {"CFLAGS": "-O1", "CXXFLAGS": "-g"}))
    assert (found["CFLAGS"], found["CXXFLAGS"]) == (f"{MAP} -O1", f"{MAP} -g")


def test_nvcc_is_told_the_same_where_there_is_a_toolkit(tmp_path: Path) -> None:
    toolkit = [locked_wheel("nvidia-cuda-nvcc", b"nvcc").model_dump(by_alias=True)]
    own = recipe(("build.environment", {"NVCC_APPEND_FLAGS": "-Wreorder"}))
    found = environment(plan(own, inputs(("toolkit", toolkit))), shop(tmp_path))
    assert found["NVCC_APPEND_FLAGS"] == f"-objtemp -Xcompiler={MAP} -Wreorder"
    alone = environment_of(tmp_path, ("build.environment", {"NVCC_APPEND_FLAGS": "-G"}))
    assert alone["NVCC_APPEND_FLAGS"] == "-G"


def test_the_prefix_map_names_the_folder_that_is_built_in(tmp_path: Path) -> None:
    found = environment(plan(), shop(tmp_path, source_folder="again"))
    assert found["CFLAGS"] == "-ffile-prefix-map=/project/again=."


def test_cmake_options_come_after_the_recipes_own_arguments(tmp_path: Path) -> None:
    cuda = plan(
        recipe(("build.environment", {"CMAKE_ARGS": "-DA=1"})),
        inputs(("target.accelerator", "cuda12")),
    )
    assert environment(cuda, shop(tmp_path))["CMAKE_ARGS"] == "-DA=1 -DUSE_CUDA=ON"
    assert "CMAKE_ARGS" not in environment_of(tmp_path, ("options", {}))


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("a;b", "-DX=a;b"), ("$ORIGIN", "-DX=$ORIGIN"), ("a b", "'-DX=a b'"), ("'", None)],
)
def test_values_with_blanks_stay_one_argument(
    tmp_path: Path, value: str, quoted: str | None
) -> None:
    options = {"x": {"type": "string", "default": value, "cmake": "X"}}
    found = environment_of(tmp_path, ("options", options))["CMAKE_ARGS"]
    assert shlex.split(found) == [f"-DX={value}"]
    assert quoted in {None, found}


def test_a_compiler_cache_is_used_only_when_asked_for(tmp_path: Path) -> None:
    cached = shop(tmp_path, cache=tmp_path / "ccache")
    made = plan()
    more = environment(made, cached).items() - environment(made, shop(tmp_path)).items()
    assert {name for name, _ in more} == {
        *("CCACHE_DIR", "CMAKE_C_COMPILER_LAUNCHER", "CMAKE_CXX_COMPILER_LAUNCHER"),
    }
    assert "ccache" not in json.dumps(made.action).lower()
    volume = f"--volume={tmp_path / 'ccache'}:/ccache"
    assert (
        volume
        in table(made, tmp_path, cache=tmp_path / "ccache")["container-engine"]["create-args"]
    )
    assert "ccache" not in configuration(made, shop(tmp_path / "x"), ENGINE)


# -- cibuildwheel's configuration -----------------------------------------------------------


def table(made: BuildPlan, tmp_path: Path, *, cache: Path | None = None) -> dict[str, Any]:
    text = configuration(made, shop(tmp_path, cache=cache), ENGINE)
    found: dict[str, Any] = tomllib.loads(text)["tool"]["cibuildwheel"]
    return found


def test_the_container_has_no_network_and_no_folder_of_the_host(tmp_path: Path) -> None:
    made = plan()
    assert table(made, tmp_path)["container-engine"] == {
        "name": "podman",
        "create-args": ["--network=none", f"--label={label(made, shop(tmp_path))}"],
        "disable-host-mount": True,
    }


def test_the_label_names_the_key_and_the_store(tmp_path: Path) -> None:
    """Two stores may build one key at a time: neither may remove the other's container."""
    made = plan()
    one, same, other = (
        label(made, shop(tmp_path / store / "tmp" / scratch))
        for store, scratch in (("1", "build-aa"), ("1", "build-bb"), ("2", "build-aa"))
    )
    assert one == same
    assert one != other
    assert re.fullmatch(rf"kvpack\.build={made.key}-[0-9a-f]{{16}}", one)


def test_dockers_client_hands_no_proxy_to_the_container(tmp_path: Path) -> None:
    text = configuration(plan(), shop(tmp_path), Engine("docker"))
    args = tomllib.loads(text)["tool"]["cibuildwheel"]["container-engine"]["create-args"]
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    assert args[2:] == [f"--env={name}=" for name in names]


def test_the_build_is_not_isolated_and_runs_the_projects_scripts(tmp_path: Path) -> None:
    found = table(plan(), tmp_path)
    assert found["build-frontend"] == {"name": "build", "args": ["--no-isolation"]}
    assert found["manylinux-x86_64-image"] == "localhost/root:1"
    assert found["before-build"] == "sh /project/kvpack-inputs/before-build.sh"
    assert found["repair-wheel-command"] == (
        "sh /project/kvpack-inputs/repair.sh {wheel} {dest_dir}"
    )
    assert found["config-settings"] == {"wheel.exclude": "include/**", "define": ["a", "b"]}


ODD = {
    "QUOTED": 'say "hello" it\'s',
    "RPATH": "$ORIGIN/../lib",
    "COMMAND": "`id` $(id)",
    "BACK": "a\\b",
    "LINES": "a\nb",
    "EMPTY": "",
}


def test_values_of_the_environment_reach_the_build_as_they_are_written(tmp_path: Path) -> None:
    """cibuildwheel writes its table as shell words and evaluates them."""
    made = plan(recipe(("build.environment", ODD)))
    text = EnvironmentFormat().format_table(table(made, tmp_path)["environment"])
    found = parse_environment(text).as_dictionary({"ORIGIN": "wrong"})
    assert {name: found[name] for name in ODD} == ODD


@pytest.mark.parametrize("made", [recipe(), recipe(("build.environment", ODD))])
def test_cibuildwheel_accepts_the_configuration(tmp_path: Path, made: Recipe) -> None:
    (tmp_path / "c.toml").write_text(
        configuration(plan(made), shop(tmp_path), ENGINE), encoding="utf-8"
    )
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "setup.py").touch()
    words = ["--print-build-identifiers", "--platform", "linux", "--config-file", "c.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "cibuildwheel", *words, "source"],
        env={"CIBW_CACHE_PATH": str(tmp_path), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "cp311-manylinux_x86_64" in done.stdout


def test_the_change_of_a_commit_is_a_patch_from_the_store(tmp_path: Path) -> None:
    commit = "f" * 40
    by_commit = {"id": "fix", "commit": commit, "sha256": INPUTS.patches[0].sha256}
    made = plan(locked=inputs(("patches", [by_commit]), ("build", [])))
    blobs = Blobs(tmp_path / "blobs")
    blobs.add(PATCH)
    project = lay_out(made, shop(tmp_path), blobs, (tmp_path / "no-patches").joinpath)
    assert (project / "kvpack-inputs" / "patches" / f"{commit}.patch").read_bytes() == PATCH
    assert f"{commit}.patch" in (project / "kvpack-inputs" / "before-build.sh").read_text()
