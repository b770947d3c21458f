"""What runs before the back end: steps, the name of the project, the commit; in a real bash."""

import json
import subprocess
from pathlib import Path

import pytest

from kvpack.build.failure import failure
from kvpack.build.key import action
from kvpack.build.model import BuildPlan
from kvpack.build.project import configuration, lay_out
from kvpack.build.rename import main, renamed
from kvpack.build.steps import git_head, steps_script
from kvpack.tools.engine import Engine
from tests.unit.build.made import GIT, INPUTS, ROOTS, Blobs, inputs, plan, recipe, script, shop

STEPS = [
    'echo "1 $KVPACK_CMAKE_OPTIONS $PYTHON_VERSION $PLATFORM_TAG $JOBS" >> seen',
    {"run": "cd part\npwd >> ../seen", "when": "<2"},
    {"run": "echo never >> seen", "when": ">=2"},
    {"run": "echo cuda >> seen", "accelerator": ["cuda12"]},
    "pwd >> seen",
]


def demo(*changes: tuple[str, object]) -> BuildPlan:
    return plan(recipe(*changes), inputs(("build", []), ("patches", [])))


def shell(folder: Path, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a program of the system; ``python`` is one."""
    script(folder / "bin" / "python", "exit 0\n")
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    return subprocess.run(
        ["/usr/bin/env", f"PATH={path}", *words], input=stdin, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def played(made: BuildPlan, source: Path) -> "subprocess.CompletedProcess[str]":
    (source / "part").mkdir(parents=True)
    return shell(source.parent, "bash", stdin=steps_script(made, str(source)))


def test_steps_run_in_order_each_from_the_sources_root(tmp_path: Path) -> None:
    done = played(demo(("build.steps", STEPS)), tmp_path / "a source")
    assert done.returncode == 0, done.stderr
    first, *rest = (tmp_path / "a source" / "seen").read_text().splitlines()
    number, option, python, tag, jobs = first.split()
    assert (number, option, python) == ("1", "-DUSE_CUDA=OFF", "3.11")
    assert (tag, int(jobs) > 0) == ("manylinux_2_36_x86_64", True)
    assert rest == [str(tmp_path / "a source" / "part"), str(tmp_path / "a source")]
    assert "kvpack: step 2 of 3: cd part pwd >> ../seen" in done.stdout


@pytest.mark.parametrize("step", ["false", "false | cat", "echo $UNSET", "cd part; false; true",
                                  "if"])  # fmt: skip
def test_a_step_that_fails_is_named_and_the_last(step: str, tmp_path: Path) -> None:
    done = played(demo(("build.steps", ["true", step, "touch after"])), tmp_path / "s")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "kvpack: step failed: 2 of build.steps"
    assert not (tmp_path / "s" / "after").exists()


def laid(tmp_path: Path, made: BuildPlan) -> Path:
    return lay_out(made, shop(tmp_path), Blobs(tmp_path), tmp_path.joinpath) / "kvpack-inputs"


def test_the_order_is_patches_commit_steps_name(tmp_path: Path) -> None:
    build = {"steps": ["true"], "package": "wheel", "rename": True, "git-head": True}
    made = plan(recipe(("build", build)), inputs(("build", []), ("patches", []), ("source", GIT)))
    folder = laid(tmp_path, made)
    lines = (folder / "before-build.sh").read_text().splitlines()
    assert lines[-4:] == [
        "mkdir -p /project/source/.git/objects /project/source/.git/refs",
        f"echo {'c' * 40} > /project/source/.git/HEAD",
        "bash /project/kvpack-inputs/steps.sh",
        "python /project/kvpack-inputs/rename.py /project/source/wheel/pyproject.toml demo-kv",
    ]
    assert {"steps.sh", "rename.py"} <= {path.name for path in folder.iterdir()}


# -- after auditwheel ---------------------------------------------------------------------------

BUILT = "demo-1.0-cp311-cp311-linux_x86_64.whl"
AUDITWHEEL = """
echo "auditwheel $*" >> HERE/seen
while test $# -gt 1; do test "$1" = -w && folder=$2; shift; done
cp "$1" "$folder/demo-1.0-cp311-cp311-manylinux_2_36_x86_64.whl"
"""


def repaired(folder: Path, made: BuildPlan, name: str = BUILT) -> list[str]:
    """What ran, in order, as ``repair.sh`` was called with a wheel; the stamp is played."""
    inputs = laid(folder, made)
    (folder / "project" / "source").mkdir()
    (folder / name).write_text("wheel")
    script(folder / "bin" / "auditwheel", AUDITWHEEL.replace("HERE", str(folder)))
    stamp = script(folder / "stamp", f'echo "stamp $*" >> {folder}/seen\ncat "$6" >> {folder}/kept')
    for path in inputs.glob("repair*.sh"):
        text = path.read_text().replace("/opt/python/cp39-cp39/bin/python", str(stamp))
        path.write_text(text.replace("/project/", f"{folder}/project/"))
    done = shell(folder, "sh", str(inputs / "repair.sh"), str(folder / name), "out")
    (folder / "output").write_text(done.stdout)
    return (folder / "seen").read_text().splitlines() if (folder / "seen").exists() else []


REPAIRED = [
    'echo "step $WHEEL" >> ../../seen; test -x "$PYTHON"',
    {"run": "echo never >> ../../seen", "accelerator": ["cuda12"]},
    'echo changed >> "$WHEEL"',
]


def test_steps_change_the_wheel_between_auditwheel_and_the_stamp(tmp_path: Path) -> None:
    """The stamp gets the wheel of before as well, to give lost execute bits back."""
    audit, step, stamp = repaired(tmp_path, demo(("build.repaired", REPAIRED)))
    assert audit.startswith("auditwheel repair --plat manylinux_2_36_x86_64 --only-plat ")
    wheel = step.removeprefix("step ")
    assert wheel.endswith("/demo-1.0-cp311-cp311-manylinux_2_36_x86_64.whl")
    words = stamp.split()
    assert words[2:4] == [wheel, "out"]
    assert words[-1].endswith("/before.whl")
    assert Path(wheel).read_text() == "wheelchanged\n"
    assert (tmp_path / "kept").read_text() == "wheel"


def test_without_such_steps_nothing_stands_between(tmp_path: Path) -> None:
    audit, stamp = repaired(tmp_path, demo())
    assert audit.startswith("auditwheel repair ")
    assert stamp.split()[-1].endswith("/evidence")
    assert not (tmp_path / "project" / "kvpack-inputs" / "repaired.sh").exists()


def test_a_wheel_without_binaries_is_not_auditwheels(tmp_path: Path) -> None:
    (stamp,) = repaired(tmp_path, demo(), "demo-1.0-py3-none-any.whl")
    assert stamp.split()[2].endswith("/demo-1.0-py3-none-any.whl")


def test_a_step_after_auditwheel_that_fails_is_named(tmp_path: Path) -> None:
    made = demo(("build.repaired", ["true", "echo broken; false"]))
    (audit,) = repaired(tmp_path, made)
    assert audit.startswith("auditwheel ")
    lines = (tmp_path / "output").read_text().splitlines()
    assert lines[-1] == "kvpack: step failed: 2 of build.repaired"
    error = failure(made, None, ("cibuildwheel", 1), lines, tmp_path / "log")
    assert error.cause.startswith("step 2 of build.repaired failed (echo broken; false); ")
    assert error.hint == f"the full log is {tmp_path}/log"


def test_git_finds_the_commit_and_nothing_else(tmp_path: Path) -> None:
    made = plan(recipe(("build.git-head", True)), inputs(("source", GIT)))
    assert shell(tmp_path, "sh", stdin="\n".join(git_head(made, str(tmp_path)))).returncode == 0
    words = ("git", "-C", str(tmp_path), "rev-parse", "--short=7", "HEAD")
    assert shell(tmp_path, *words).stdout == "ccccccc\n"
    assert git_head(plan(recipe(("build.git-head", True)), INPUTS), "x") == []


PYPROJECT = """\
[build-system]
name = "not-this"
[project]   # the project
# a comment
version = "1"
name = 'old'  # kept
[project.optional-dependencies]
name = ["not-this"]
"""


def test_the_name_changes_and_no_other_byte(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_bytes(PYPROJECT.replace("\n", "\r\n").encode())
    assert main([str(path), "new-cuda13"]) == 0
    expected = PYPROJECT.replace("'old'", '"new-cuda13"').replace("\n", "\r\n")
    assert path.read_bytes().decode() == expected


@pytest.mark.parametrize(
    "text",
    ["", "[project]\nversion = '1'\n", '[tool.x]\nname = "x"\n',
     '[project]\ndynamic = ["name"]\n[tool]\nname = "x"\n'],
)  # fmt: skip
def test_a_project_without_a_name_is_told(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert renamed(text, "new") is None
    assert main([str(tmp_path / "pyproject.toml"), "new"]) == 1
    assert "kvpack: rename failed: " in capsys.readouterr().out


def test_meson_options_go_to_meson_python_alone() -> None:
    option = {"build-docs": {"default": False, "meson": "build_docs"}}
    settings = ("build.config-settings", {"setup-args": "-Dx=1"})
    for backend, expected in (("mesonpy", ["-Dx=1", "-Dbuild_docs=false"]), ("other", "-Dx=1")):
        made = plan(recipe(("options", option), settings), inputs(("source.backend", backend)))
        text = configuration(made, shop(Path("x")), Engine("podman"))
        assert (f"setup-args = {json.dumps(expected)}" in text) is True


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", ["true"]), ("package", "wheel"), ("rename", True), ("git-head", True),
     ("repaired", ["true"]), ("pure", True), ("refuse", [{"log": "x", "why": "y"}])],
)  # fmt: skip
def test_all_of_it_is_in_the_key(key: str, value: object) -> None:
    before = action(recipe(), INPUTS, ROOTS)["recipe"]
    after = action(recipe((f"build.{key}", value)), INPUTS, ROOTS)["recipe"]
    assert key not in before
    assert after[key] == (["x"] if key == "refuse" else value)


def test_steps_of_other_targets_are_not() -> None:
    made = recipe(("build.steps", STEPS))
    assert len(action(made, INPUTS, ROOTS)["recipe"]["steps"]) == 3
