"""Native libraries: the real recipes of UCX and NIXL, end to end, on stand-ins of their sources.

What differs from the catalogue is where github.com is (``kvpack.toml``). Then switches are flipped,
of the wheel and of the library below it, and exactly their proofs must fail.
"""

import base64
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitserver import served
from tests.indexserver import index, own_index
from tests.integration.conftest import Kvpack, remove_images
from tests.integration.standins import (
    TORCH,
    build,
    changed,
    lay_out,
    members,
    missed,
    proved,
    report,
)

pytestmark = pytest.mark.integration
RECIPES = ("ucx", "nixl", "nixl-meta")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kvpack]:
    """A catalogue that is locked against a server of stand-ins, with a store of its own."""
    forge, root, store = (tmp_path_factory.mktemp(name) for name in ("forge", "root", "store"))
    lay_out(forge, root, ("ucx", "nixl"), RECIPES)
    with served(forge) as base, index("torch", TORCH, own_index(root)) as simple:
        mirror = f'[registries.git.mirrors]\n"https://github.com/" = ["{base}/"]\n'
        (root / "kvpack.toml").write_text(
            f'{mirror}[registries.pypi]\nindex = "{simple}"\n'
            f'[mirrors]\ninputs = ["{forge.as_uri()}"]\n'
        )
        kvpack = Kvpack(root, store)
        told = kvpack("lock").ok().err
        assert "subprojects/fastrak-rxdm.wrap is not locked: it is a [wrap-git]" in told
        yield kvpack
    remove_images(store)


@pytest.mark.parametrize("cuda", ["13", "12"])
def test_nixl_is_what_its_recipe_says(world: Kvpack, tmp_path: Path, cuda: str) -> None:
    done = build(world, tmp_path, "nixl", f"--cuda={cuda}", "--python=3.11", "--glibc=2.36")
    found = proved(done)
    expected = {
        "package": f"cu{cuda}", "ucx-version": "1.23.0", "ucx-cuda": True, "ucx-verbs": True,
        "plugins": "POSIX, UCX", "plugins-once": True, "rdma-from-host": True, "tag-kept": True,
        "cuda-major": None, "ep-torch": None, "programs-executable": None,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    modules = {path.rpartition("/")[2] for path in members(tmp_path) if "/ucx/" in path}
    assert modules == {f"libuct_{name}.so.0.0.0" for name in ("cma", "cuda", "ib")}
    assert {"libibverbs.so.1", "libcuda.so.1"} <= set(report(done)["facts"]["needed-from-host"])
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (library,) = (name for name in archive.namelist() if name.endswith("/libnixl.so"))
        assert b"NIXL 1.5.1 with stand-in for Taskflow 3.10.0" in archive.read(library)
        bill = archive.read(next(n for n in archive.namelist() if n.endswith("kvpack.cdx.json")))
    assert "subproject:taskflow-3.10.0.tar" in bill.decode()


def test_a_subproject_that_no_lock_names_is_no_download(world: Kvpack, tmp_path: Path) -> None:
    other = changed(world, tmp_path, "nixl", ('wraps = ["*"]\n', ""))
    other("lock", "nixl").ok()
    done = build(other, tmp_path / "dist", "nixl")
    assert done.code == 42, done.err
    cause = done.json["targets"][0]["cause"]
    assert "meson downloads https://github.com/stand-in/taskflow/v3.10.0.tar" in cause
    assert "name its subproject in build.wraps" in cause


def test_the_library_is_in_the_wheels_evidence(world: Kvpack, tmp_path: Path) -> None:
    """Its action whole, and its source in the bill of materials and in the provenance."""
    build(world, tmp_path, "nixl").ok()
    (wheel,) = tmp_path.glob("*.whl")
    texts = {
        kind: wheel.with_name(f"{wheel.name}.{kind}").read_text()
        for kind in ("action.json", "cdx.json", "intoto.jsonl")
    }
    library = json.loads(texts["action.json"])["libraries"]["ucx"]
    commit = library["lock"]["source"]["commit"]
    assert library["recipe"]["options"]["cuda"]["value"] == "/usr/local/cuda"
    envelope = json.loads(texts["intoto.jsonl"])
    statement = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["buildDefinition"]
    assert commit in json.dumps(statement["resolvedDependencies"])
    assert "lock" not in statement["externalParameters"]["libraries"]["ucx"]
    assert commit in texts["cdx.json"]
    parts = {part["bom-ref"]: part for part in json.loads(texts["cdx.json"])["components"]}
    assert parts["library:ucx"]["licenses"] == [{"expression": "BSD-3-Clause"}]


def test_a_library_is_built_once_and_again_the_same(world: Kvpack, tmp_path: Path) -> None:
    build(world, tmp_path / "wheels", "nixl").ok()
    (target,) = build(world, tmp_path / "libraries", "ucx", "--rebuild").ok().json["targets"]
    assert (target["hit"], target["rebuild"]["identical"], target["audit"]) == (True, True, None)
    with tarfile.open(target["wheel"]) as tar:
        names = {info.name: info for info in tar}
    assert all(name in "opt/ucx/" or name.startswith("opt/ucx/") for name in names)
    assert names["opt/ucx/lib/libucp.so.0"].linkname == "libucp.so.0.0.0"
    # Another wheel on the same library: only the wheel is built.
    other = changed(world, tmp_path, "nixl", ('default = "UCX,POSIX"', 'default = "UCX"'))
    rows = other("--json", "plan", "nixl").ok().json["targets"]
    assert [(row["target"].split()[0], row["state"]) for row in rows] == [
        ("ucx", "hit"), ("nixl", "build"),
    ]  # fmt: skip


def test_nixl_again_gives_the_same_bytes(world: Kvpack, tmp_path: Path) -> None:
    done = build(world, tmp_path, "nixl", "--rebuild").ok()
    assert done.json["targets"][0]["rebuild"]["identical"]


WITHOUT_CUDA = ('cuda13 = "/usr/local/cuda" }', 'cuda13 = "no" }')


def test_a_changed_library_is_another_wheel_and_why_says_so(world: Kvpack, tmp_path: Path) -> None:
    build(world, tmp_path / "dist", "nixl").ok()
    other = changed(world, tmp_path, "ucx", WITHOUT_CUDA)
    (row,) = other("--json", "why", "nixl").ok().json["targets"]
    assert row["differs"] == [
        {
            "input": "libraries ucx recipe options cuda value",
            "before": "/usr/local/cuda",
            "after": "no",
        }
    ]
    assert missed(build(other, tmp_path / "without", "nixl")) == {"ucx-cuda"}
    assert not (tmp_path / "without").exists()


AT = """at=$(mktemp -d); "$PYTHON" -m zipfile -e "$WHEEL" "$at"; \\
    echo "$at"/.nixl_cu13.mesonpy.libs/plugins"""
TWICE = ("--skip-nixl-plugins ", f'--nixl-plugins-dir "$({AT})" ')
"""Upstream's own script adds the plugins that meson-python has put into the wheel already."""
FLIPS = {
    "verbs": ("ucx", ('default = true\nconfigure = "with-verbs"',
                      'default = false\nconfigure = "with-verbs"'), {"ucx-verbs"}),
    "plugins twice": ("nixl", TWICE, {"plugins-once"}),
    "no modules": ("nixl", ("/opt/ucx/lib/ucx", "/opt/ucx/lib/pkgconfig"),
                   {"ucx-cuda", "ucx-verbs"}),
    "another package": ("nixl", ('default = ""\n', 'default = "cu12"\n'), {"package"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FLIPS)
def test_a_flipped_switch_fails_its_proof(world: Kvpack, tmp_path: Path, name: str) -> None:
    recipe, change, proofs = FLIPS[name]
    other = changed(world, tmp_path, recipe, change)
    assert missed(build(other, tmp_path / "dist", "nixl", "--cuda=13")) == proofs


def test_programs_keep_their_mode(world: Kvpack, tmp_path: Path) -> None:
    """The script that adds UCX's modules packs the wheel anew, without modes."""
    examples = (
        'default = false\nmeson = "build_examples"',
        'default = true\nmeson = "build_examples"',
    )
    other = changed(world, tmp_path, "nixl", examples)
    assert proved(build(other, tmp_path / "dist", "nixl"))["programs-executable"] is True
    programs = {
        path: mode for path, mode in members(tmp_path / "dist").items() if "scripts/" in path
    }
    assert programs
    assert set(programs.values()) == {0o755}


@pytest.mark.parametrize(
    "change",
    [
        ('configure = "with-dm"', 'configure = "with-dmm"'),
        ("--without-avx", "--without-avxx"),
    ],
    ids=["option", "step"],
)
def test_an_option_that_configure_does_not_know_fails(
    world: Kvpack, tmp_path: Path, change: tuple[str, str]
) -> None:
    other = changed(world, tmp_path, "ucx", change)
    done = build(other, tmp_path / "dist", "nixl")
    assert done.code == 44, done.err
    (target,) = done.json["targets"]
    assert "configure ignored the option" in target["what"]


def test_ep_is_never_left_out_without_a_word(world: Kvpack, tmp_path: Path) -> None:
    asked = ('default = false\nmeson = "build_nixl_ep"', 'default = true\nmeson = "build_nixl_ep"')
    done = build(changed(world, tmp_path, "nixl", asked), tmp_path / "dist", "nixl")
    assert done.code == 44, done.err
    assert "EP is skipped" in done.json["targets"][0]["what"]


@pytest.mark.parametrize("cuda", ["13", "12"])
def test_the_dispatcher_depends_on_one_back_end(world: Kvpack, tmp_path: Path, cuda: str) -> None:
    done = build(world, tmp_path, "nixl-meta", f"--cuda={cuda}")
    assert proved(done) == {"back-ends": f"cu{cuda}"}
    (wheel,) = tmp_path.glob("nixl-1.5.1+kvp.*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    assert [row for row in metadata.splitlines() if row.startswith("Requires-Dist")] == [
        f"Requires-Dist: nixl-cu{cuda}==1.5.1"
    ]


def test_a_dispatcher_that_wants_both_fails(world: Kvpack, tmp_path: Path) -> None:
    both = ('default = false\nmeson = "release_wheel"', 'default = true\nmeson = "release_wheel"')
    other = changed(world, tmp_path, "nixl-meta", both)
    assert missed(build(other, tmp_path / "dist", "nixl-meta")) == {"back-ends"}


# -- extensions of torch, an axis whose values lie in one wheel together ---------------------------

EP = "nixl_ep_cu13/nixl_ep_cpp_torch"


def extensions(folder: Path) -> dict[str, bytes]:
    """The minor versions of torch that the one wheel has EP for, and the extensions."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.removeprefix(EP).partition(".")[0]: archive.read(name)
            for name in archive.namelist()
            if name.startswith(EP)
        }


def test_ep_for_several_minors_of_torch_is_in_one_wheel(world: Kvpack, tmp_path: Path) -> None:
    """Each compiled against the torch of its own locked environment; all else is there once."""
    done = build(world, tmp_path / "both", "nixl", "--torch=2.14,2.13", "--rebuild")
    found = proved(done)
    assert (found["ep-torch"], found["ep-cuda-major"]) == ("2.13, 2.14", "13")
    assert (found["plugins-once"], found["ucx-cuda"], found["tag-kept"]) == (True, True, True)
    (target,) = done.json["targets"]
    assert target["rebuild"]["identical"]
    assert target["target"].endswith("-cuda13-torch2.13+2.14")
    world("verify", target["wheel"], "--recipe", "nixl", "--require", "lock").ok()
    code = extensions(tmp_path / "both")
    assert {minor: b"compiled against torch 2.%d.0" % n in code[minor] and len(code)
            for minor, n in (("213", 13), ("214", 14))} == {"213": 2, "214": 2}  # fmt: skip
    build(world, tmp_path / "lean", "nixl").ok()
    lean, both = (
        {name for name in members(tmp_path / one) if ".dist-info/" not in name}
        for one in ("lean", "both")
    )
    assert lean < both
    assert all(name.startswith("nixl_ep_cu13/") for name in both - lean)
    build(world, tmp_path / "one", "nixl", "--torch=2.14").ok()
    assert extensions(tmp_path / "one") == {"214": code["214"]}


def test_a_minor_for_another_cuda_is_not_locked(world: Kvpack, tmp_path: Path) -> None:
    other = changed(world, tmp_path, "nixl", ('cuda13 = ["2.12", ', 'cuda13 = ["2.11", '))
    done = other("lock", "nixl")
    assert "torch 2.11 of the index is for CUDA 12, the target for cuda13" in done.err
    assert (done.code, done.err.count("Traceback")) == (23, 0)


def test_ep_that_is_not_built_fails_its_proof(world: Kvpack, tmp_path: Path) -> None:
    other = changed(world, tmp_path, "nixl", ("with-torch = true\n", ""))
    assert missed(build(other, tmp_path / "dist", "nixl", "--torch=2.13")) == {"ep-torch"}


def test_what_no_pattern_names_is_never_dropped(world: Kvpack, tmp_path: Path) -> None:
    adds = ('torch-adds = ["nixl_ep_cu*/nixl_ep_cpp_torch*.so"]', 'torch-adds = ["*torch213*"]')
    other = changed(world, tmp_path, "nixl", adds)
    done = build(other, tmp_path / "dist", "nixl", "--torch=2.13,2.14")
    assert done.code == 42, done.err
    cause = done.json["targets"][0]["cause"]
    assert "the builds for several versions of torch differ in more than build.torch-adds" in cause
    assert "only the further build made it, torch-adds does not name it" in cause
