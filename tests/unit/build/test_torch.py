"""A wheel that is built once for each of several minor versions of torch: how it is laid out."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.build.key import action_key
from kvpack.build.model import BuildPlan
from kvpack.build.project import lay_out
from tests.unit.build.made import (
    PATCH,
    Blobs,
    inputs,
    locked_wheel,
    plan,
    recipe,
    script,
    shop,
)  # fmt: skip

ADDS = ("build.torch-adds", ["demo_ep/ext_torch*"])
OPTION = ("options.ep", {"default": False, "with-torch": True, "meson": "ep"})


def environment(minor: str) -> tuple[object, ...]:
    wheels = [locked_wheel("torch", f"torch {minor}".encode(), f"{minor}.0")]
    return (*wheels, locked_wheel("build", b"build"))


def made(*minors: str) -> BuildPlan:
    first, *more = minors or ("",)
    torch = [{"minor": one, "wheels": environment(one)} for one in more]
    changes = (("target.torch", minors), ("torch", torch))
    build = [("build", environment(first))] if minors else []
    return plan(recipe(ADDS, OPTION, ("build.rename", True)), inputs(*changes, *build))


def laid(tmp_path: Path, planned: BuildPlan) -> Path:
    (tmp_path / "fix.patch").write_bytes(PATCH)
    blobs = Blobs(tmp_path / "blobs")
    for data in (
        b"setuptools",
        b"build",
        *(f"torch {m}".encode() for m in ("2.9", "2.13", "2.14")),
    ):
        blobs.add(data)
    return lay_out(planned, shop(tmp_path), blobs, tmp_path.joinpath) / "kvpack-inputs"


def test_one_minor_needs_no_further_build(tmp_path: Path) -> None:
    folder = laid(tmp_path, made("2.13"))
    assert not (folder / "torch.sh").exists()
    assert not (folder / "merge.py").exists()
    assert "kvpack-source" not in (folder / "before-build.sh").read_text()
    assert "torch==2.13.0" in (folder / "requirements.txt").read_text()


def test_each_further_minor_has_its_requirements(tmp_path: Path) -> None:
    folder = laid(tmp_path, made("2.9", "2.13", "2.14"))
    found = {path.name: path.read_text().split()[0] for path in folder.glob("requirements*")}
    assert found == {
        "requirements.txt": "torch==2.9.0",
        "requirements-torch2.13.txt": "torch==2.13.0",
        "requirements-torch2.14.txt": "torch==2.14.0",
    }
    assert len(list((folder / "wheels").glob("torch-*.whl"))) == 3


def test_the_key_names_every_environment_and_only_where_there_are() -> None:
    lean, one, two = made(), made("2.13"), made("2.13", "2.14")
    assert len({lean.key, one.key, two.key}) == 3
    assert action_key(two.action) == two.key
    assert two.action["target"]["torch"] == ["2.13", "2.14"]
    assert list(two.action["lock"]["torch"]) == ["2.14"]
    assert two.action["recipe"]["torch-adds"] == ["demo_ep/ext_torch*"]
    assert two.action["recipe"]["options"]["ep"]["value"] == "true"
    for document in (lean.action, one.action):
        assert "torch" not in document["lock"]
        assert "torch-adds" not in document["recipe"]
        assert "merge" not in document["kvpack"]
    assert "torch" not in lean.action["target"]
    assert lean.action["recipe"]["options"]["ep"]["value"] == "false"


def test_every_environment_is_in_the_bill_of_materials(tmp_path: Path) -> None:
    folder = laid(tmp_path, made("2.9", "2.13"))
    bill = json.loads((folder / "evidence" / "sboms" / "kvpack.cdx.json").read_text())
    found = [one["version"] for one in bill["components"] if one["name"] == "torch"]
    assert sorted(found) == ["2.13.0", "2.9.0"]
    assert [one["name"] for one in bill["components"]].count("build") == 1


PROGRAMS: Mapping[str, str] = {
    "python": """\
echo "python $* torch=${KVPACK_TEST_TORCH:-first}" >> "$LOG"
case "$*" in
"-m venv "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python"
  printf '#!/bin/sh\\nexport KVPACK_TEST_TORCH=%s\\n' "$4" | cat - "$0" > "$4/bin/python"
  chmod +x "$4/bin/python";;
"-m build "*) out=$(echo "$*" | sed 's/.*--outdir \\([^ ]*\\).*/\\1/')
  for last; do :; done; ls "$last" >> "$LOG"; echo made > "$last/made"; : > "$out/x.whl";;
esac
""",
    "auditwheel": 'echo "auditwheel $*" >> "$LOG"\nfor last; do :; done\n'
    'out=$(echo "$*" | sed "s/.*-w \\([^ ]*\\).*/\\1/"); cp "$last" "$out"\n',
}
"""Stand-ins of the programs in a root: they write down what they are called with."""


def test_the_script_builds_each_from_the_same_source(tmp_path: Path) -> None:
    """Run by a real shell, with the container's folders below another one."""
    folder = laid(tmp_path, made("2.9", "2.13", "2.14"))
    root, log = tmp_path / "root", tmp_path / "log"
    text = (folder / "torch.sh").read_text()
    for name in ("/project", "/opt"):
        text = text.replace(name, f"{root}{name}")
    (folder / "torch.sh").write_text(text)
    for name, program in PROGRAMS.items():
        script(root / "bin" / name, program)
    script(root / "opt/python/cp39-cp39/bin/python", 'echo "merge $*" >> "$LOG"\n')
    for place in ("opt/kvpack-source", "project/source"):
        (root / place).mkdir(parents=True)
        (root / place / "pyproject.toml").write_text("")
    (root / "project/source/of-the-first").write_text("")
    (root / "opt/kvpack-torch").mkdir()
    done = subprocess.run(
        ["/bin/sh", folder / "torch.sh", "first.whl"], check=False, capture_output=True, text=True,
        env={"PATH": f"{root}/bin:/usr/bin:/bin", "LOG": str(log)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = log.read_text().replace(str(root), "").splitlines()
    assert [line for line in lines if "rename.py" in line] == [
        "python /project/kvpack-inputs/rename.py /project/source/./pyproject.toml demo-kv "
        f"torch=/opt/kvpack-torch/{minor}"
        for minor in ("2.13", "2.14")
    ]
    builds = [at for at, line in enumerate(lines) if line.startswith("python -m build")]
    assert [lines[at + 1] for at in builds] == ["pyproject.toml"] * 2
    assert [lines[at].rpartition("torch=")[2] for at in builds] == [
        f"/opt/kvpack-torch/{minor}" for minor in ("2.13", "2.14")
    ]
    assert all("--config-setting=define=a" in lines[at] for at in builds)
    merges = [line.split() for line in lines if line.startswith("merge")]
    assert [(words[2], words[-1]) for words in merges] == [("first.whl", "demo_ep/ext_torch*")] * 2
    assert sum(line.startswith("auditwheel repair --plat manylinux_2_36") for line in lines) == 2
    # What changes the wheel afterwards finds the tree of the first build, and nothing is left.
    assert {path.name for path in (root / "project/source").iterdir()} == {
        "pyproject.toml", "of-the-first",
    }  # fmt: skip
    assert list((root / "opt/kvpack-torch").iterdir()) == []


@pytest.mark.parametrize("name", ["before-build.sh", "repair.sh", "torch.sh"])
def test_a_shell_can_read_it(tmp_path: Path, name: str) -> None:
    folder = laid(tmp_path, made("2.9", "2.13"))
    subprocess.run(["/bin/sh", "-n", folder / name], check=True)


def test_the_source_is_kept_before_it_is_prepared(tmp_path: Path) -> None:
    folder = laid(tmp_path, made("2.9", "2.13"))
    lines = (folder / "before-build.sh").read_text().splitlines()
    kept = lines.index("cp -a /project/source /opt/kvpack-source")
    assert "patch -d" in lines[kept - 1]
    assert "rename.py" in lines[kept + 1]
    repair = (folder / "repair.sh").read_text()
    assert repair.index("auditwheel repair") < repair.index("torch.sh") < repair.index("stamp.py")
