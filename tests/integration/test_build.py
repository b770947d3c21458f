"""The main job on real input: a real engine, real cibuildwheel, a real container."""

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from tests.integration.conftest import Kvpack, copied_store, remove_images
from tests.integration.demo import SETUP, prepared

pytestmark = pytest.mark.integration


def wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))


def test_dlslime_is_built_audited_imported_and_bit_identical(
    kvpack: Kvpack, tmp_path: Path
) -> None:
    """The issue's sentence, from an empty output folder to the rebuilt wheel."""
    dist = tmp_path / "dist"
    first = kvpack("--json", "build", "dlslime", "--glibc", "2.39", "--out", str(dist)).ok().json
    (target,) = first["targets"]
    (wheel,) = wheels(dist)
    name, version, _, tags = parse_wheel_filename(wheel.name)
    assert (name, str(version)) == ("dlslime", f"0.1.7+kvp.{target['key'][:8]}")
    assert {tag.platform for tag in tags} == {"manylinux_2_39_x86_64"}
    report = json.loads((dist / f"{wheel.name}.audit.json").read_text())
    assert report["passed"]
    assert report["facts"]["true-floor"] == "2.35"
    assert report["facts"]["needed-from-host"] == ["libibverbs.so.1", "libnuma.so.1"]
    assert report["facts"]["grafted"] == []
    assert report["facts"]["key"] == target["key"]
    bill = json.loads((dist / f"{wheel.name}.cdx.json").read_text())
    assert {"dlslime", "libibverbs-dev", "pybind11"} <= {
        part["name"] for part in bill["components"]
    }
    with zipfile.ZipFile(wheel) as archive:
        inside = {member.partition(".dist-info/")[2] for member in archive.namelist()}
    assert {
        "kvpack/key",
        "kvpack/action.json",
        "kvpack/lock-digest",
        "sboms/kvpack.cdx.json",
    } <= inside

    again = kvpack("--json", "build", "dlslime", "--glibc", "2.39", "--out", str(dist)).ok().json
    assert again["targets"][0]["hit"]
    rebuilt = kvpack("--json", "build", "dlslime", "--rebuild", "--out", str(dist)).ok().json
    assert rebuilt["targets"][0]["rebuild"]["identical"] is True


def test_a_compiler_cache_is_used_and_decides_no_byte(kvpack: Kvpack, tmp_path: Path) -> None:
    """Built with a filled ccache in a store of its own: the same key, the same sha256."""
    plain = kvpack("--json", "build", "dlslime", "--out", str(tmp_path / "a")).ok().json
    cache = tmp_path / "ccache"
    digests = set()
    for number in range(2):
        other = Kvpack(kvpack.root, copied_store(kvpack.store, tmp_path / f"store{number}"))
        done = other("--json", "build", "dlslime", "--out", str(tmp_path / "b"),
                     "--compiler-cache", str(cache)).ok().json  # fmt: skip
        digests.add(done["targets"][0]["sha256"])
        assert done["targets"][0]["key"] == plain["targets"][0]["key"]
        assert not done["targets"][0]["hit"]
    assert digests == {plain["targets"][0]["sha256"]}
    assert sum(path.is_file() for path in cache.rglob("*")) > 10


def test_fetch_then_build_with_the_network_gone(kvpack: Kvpack, tmp_path: Path) -> None:
    """``kvpack fetch``, then ``--offline`` in a network namespace without any interface."""
    kvpack("fetch", "msgpack").ok()
    gone = Kvpack(kvpack.root, kvpack.store, before=("unshare", "--net"))
    done = gone("--offline", "--json", "build", "msgpack", "--out", str(tmp_path / "dist")).ok()
    assert done.json["targets"][0]["audit"]["passed"]
    assert len(wheels(tmp_path / "dist")) == 1


def test_every_python_and_root_of_a_recipe(kvpack: Kvpack, tmp_path: Path) -> None:
    """trixie beside bookworm, another build back end (setuptools) beside CMake."""
    done = kvpack("--json", "build", "msgpack", "--glibc", "2.41", "--out", str(tmp_path)).ok().json
    assert [target["target"].split()[2] for target in done["targets"]] == [
        "cp311-manylinux_2_41_x86_64-cpu",
        "cp313-manylinux_2_41_x86_64-cpu",
    ]
    rebuilt = kvpack("--json", "build", "msgpack", "--glibc", "2.41", "--python", "3.13",
                     "--rebuild", "--out", str(tmp_path)).ok().json  # fmt: skip
    assert rebuilt["targets"][0]["rebuild"]["identical"] is True


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ("os.getcwd()", "in /project/source as the first, gave the same bytes"),
        ("os.urandom(8)", "in the folder of the first, differs, too: kvdemo/when.py"),
    ],
)
def test_a_third_build_tells_the_folder_from_the_moment(
    kvpack: Kvpack, tmp_path: Path, records: str, says: str
) -> None:
    write = f"import os\nopen('kvdemo/when.py', 'w').write(f'made = {{{records}!r}}')\n"
    demo = prepared(kvpack, tmp_path, files={"setup.py": write + SETUP})
    demo("lock").ok()
    done = demo("build", "kvdemo", "--rebuild", "--out", str(tmp_path / "dist"))
    assert done.code == 43
    assert "kvdemo/when.py: " in done.err
    assert says in " ".join(done.err.split())


def test_two_processes_build_the_same_target_once(kvpack: Kvpack, tmp_path: Path) -> None:
    kvpack("build", "msgpack", "--out", str(tmp_path / "warm")).ok()
    both = Kvpack(kvpack.root, copied_store(kvpack.store, tmp_path / "store"))
    running = [
        both.start("--json", "build", "msgpack", "--out", str(tmp_path / f"dist{n}"))
        for n in range(2)
    ]
    answers = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    hits = sorted(json.loads(out)["targets"][0]["hit"] for out, _ in answers)
    assert hits == [False, True]
    (one,), (two,) = wheels(tmp_path / "dist0"), wheels(tmp_path / "dist1")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("after", "roots"),
    [(0.3, True), (0.8, True), (1.5, True), (2.2, True), (3.0, True), (4.5, True), (6.0, True),
     (2.0, False), (6.0, False), (10.0, False)],
)  # fmt: skip
def test_killed_at_any_moment_the_next_run_finishes(
    kvpack: Kvpack, tmp_path: Path, after: float, *, roots: bool
) -> None:
    """``kill -9`` of the whole process group, then the same command.

    Without roots, the builder root has to be assembled and imported first, and is what is cut.
    """
    kvpack("build", "msgpack", "--out", str(tmp_path / "warm")).ok()
    (expected,) = wheels(tmp_path / "warm")
    store, dist = tmp_path / "store", tmp_path / "dist"
    copied_store(kvpack.store, store, roots=roots)
    victim = Kvpack(kvpack.root, store)
    for path in store.rglob("blobs/sha256/*/*"):
        if path.stat().st_size == expected.stat().st_size:
            path.unlink()  # the wheel itself has to be built
    process = subprocess.Popen(
        victim.words("build", "msgpack", "--out", str(dist)),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(after)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for wheel in wheels(dist):
        assert wheel.read_bytes() == expected.read_bytes()
    victim("build", "msgpack", "--out", str(dist)).ok()
    assert [w.read_bytes() for w in wheels(dist)] == [expected.read_bytes()]
    victim("store", "verify").ok()
    assert not list(dist.glob(".*"))
    assert not list((store / "tmp").glob("*"))
    if not roots:
        remove_images(store)


def test_a_failed_build_shows_its_end_and_leaves_nothing(kvpack: Kvpack, tmp_path: Path) -> None:
    """A recipe without its header package: the cause is named, the log is whole."""
    recipe = kvpack.root / "recipes" / "dlslime.toml"
    recipe.write_text(recipe.read_text().replace('"libibverbs-dev", ', ""))
    kvpack("lock", "dlslime").ok()
    dist = tmp_path / "dist"
    failed = kvpack("build", "dlslime", "--out", str(dist))
    assert failed.code == 42
    assert "libibverbs" in failed.err or "infiniband" in failed.err
    assert "the full log is" in failed.err
    assert "cibuildwheel --only cp311-manylinux_x86_64" in failed.err
    assert not wheels(dist)
    log = Path(failed.err.rpartition("the full log is ")[2].split(";")[0].strip())
    assert "cmake" in log.read_text().lower()


def test_the_hosts_container_configuration_decides_no_byte(kvpack: Kvpack, tmp_path: Path) -> None:
    """An env of containers.conf would reach the compiler, although no key names it."""
    plain = kvpack("--json", "build", "msgpack", "--out", str(tmp_path / "a")).ok().json
    conf = tmp_path / "containers.conf"
    conf.write_text(
        '[containers]\nenv = ["CFLAGS=-DNDEBUG -O0", "LDFLAGS=-Wl,--build-id=0x1234"]\n'
    )
    other = Kvpack(kvpack.root, copied_store(kvpack.store, tmp_path / "store"),
                   {"CONTAINERS_CONF": str(conf)})  # fmt: skip
    done = other("--json", "build", "msgpack", "--out", str(tmp_path / "b")).ok().json
    assert not done["targets"][0]["hit"]
    assert done["targets"][0]["sha256"] == plain["targets"][0]["sha256"]


def test_a_moved_image_name_is_no_builder_root(kvpack: Kvpack, tmp_path: Path) -> None:
    """The name that the record holds is moved to an empty image: the root is made anew."""
    kvpack("build", "msgpack", "--out", str(tmp_path / "a")).ok()
    store = copied_store(kvpack.store, tmp_path / "store")
    environment = {**os.environ, "CONTAINERS_CONF": str(store / "engine" / "restricted.conf")}
    (tmp_path / "empty").mkdir()
    tar = shutil.make_archive(str(tmp_path / "empty"), "tar", tmp_path / "empty")
    for path in (store / "roots").glob("*.json"):
        record = json.loads(path.read_text())
        record["image"] += "-moved"
        path.write_text(json.dumps(record))
        subprocess.run(
            ["podman", "import", "--quiet", tar, record["image"]],
            check=True, capture_output=True, env=environment,
        )  # fmt: skip
    moved = Kvpack(kvpack.root, store)
    done = moved("--json", "build", "msgpack", "--out", str(tmp_path / "b")).ok()
    assert "Assembling builder root" in done.err
    for path in (store / "roots").glob("*.json"):
        record = json.loads(path.read_text())
        if record["image"].endswith("-moved"):
            continue
        subprocess.run(
            ["podman", "rmi", "--force", record["id"]],
            check=False, capture_output=True, env=environment,
        )  # fmt: skip
