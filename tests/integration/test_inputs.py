"""Locked inputs from a mirror alone: every upstream, Debian, PyPI and git, is unreachable."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitserver import served
from tests.integration.bad_hosts import serving
from tests.integration.conftest import Kvpack
from tests.integration.test_sources import World

pytestmark = pytest.mark.integration
ALONE = {
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_INDEX_URL": "http://127.0.0.1:1",
}


@pytest.fixture
def world(kvpack: Kvpack, tmp_path: Path) -> Iterator[World]:
    with served(tmp_path / "served") as base:
        made = World(kvpack, tmp_path, base, tmp_path / "served")
        made.kvpack("lock", "kvdemo").ok()
        yield made


def alone(world: World, store: Path, *mirrors: str, net: bool = False) -> Kvpack:
    """kvpack on a store of its own, whose only places are mirrors."""
    urls = ", ".join(f'"{url}"' for url in mirrors)
    (world.root / "kvpack.toml").write_text(f"[mirrors]\ninputs = [{urls}]\n")
    return Kvpack(world.root, store, ALONE, () if net else ("unshare", "--net"))


def test_a_build_survives_its_upstreams(world: World, tmp_path: Path) -> None:
    """Sdist, commit with submodule, cherry-picked change, Debian packages, wheels: all of them."""
    mirror = tmp_path / "mirror"
    first = world.kvpack("--json", "mirror", "inputs", "kvdemo", "--to", str(mirror)).ok().json
    assert first["inputs"] == first["new"] > 100
    again = world.kvpack("--json", "mirror", "inputs", "kvdemo", "--to", str(mirror)).ok().json
    assert (again["inputs"], again["new"]) == (first["inputs"], 0)
    shutil.rmtree(tmp_path / "served")
    there = alone(world, tmp_path / "fresh", mirror.as_uri())
    (built,) = there("--json", "build", "kvdemo", "--out", str(tmp_path / "a")).ok().json["targets"]
    assert not built["hit"]
    nowhere = alone(world, tmp_path / "other", (tmp_path / "empty").as_uri())
    answer = nowhere("fetch", "kvdemo")
    assert answer.code == 37, answer.err
    assert "Traceback" not in answer.err


def test_any_mirror_may_answer_and_none_can_substitute(world: World, tmp_path: Path) -> None:
    """The first mirror has other bytes under every digest: each is thrown away, with a warning."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    world.kvpack("mirror", "inputs", "kvdemo", "--to", str(good)).ok()
    shutil.copytree(good / "inputs", bad / "inputs")
    for path in (bad / "inputs").rglob("*/*"):
        path.write_bytes(b"other bytes")
    with serving(good) as host, serving(bad) as other:
        there = alone(world, tmp_path / "fresh", other.url, host.url, net=True)
        answer = there("--json", "fetch", "kvdemo").ok()
        assert answer.json["inputs"] == answer.json["fetched"]
        assert "answered with other bytes" in answer.err
        assert len(other.seen) < len(host.seen)  # its circuit opened
    there("store", "verify").ok()


def test_a_damaged_mirror_is_repaired_from_its_primary(world: World, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for url in (one, two):
        world.kvpack("mirror", "inputs", "kvdemo", "--to", str(url)).ok()
    first, second, *_ = sorted(path for path in (two / "inputs").rglob("*/*") if path.is_file())
    first.unlink()
    second.write_bytes(b"damaged")
    found = world.kvpack("--json", "mirror", "verify", str(one), str(two))
    assert found.code == 86
    drifts = found.json["storages"][two.as_uri()]
    assert sorted(drift["kind"] for drift in drifts) == ["differs", "missing"]
    world.kvpack("mirror", "sync", str(one), str(two)).ok()
    assert world.kvpack("mirror", "verify", str(one), str(two)).code == 0


def test_the_recipe_of_this_repository(kvpack: Kvpack, tmp_path: Path) -> None:
    """The real lock of msgpack, fetched with no network at all."""
    mirror = tmp_path / "mirror"
    kvpack("mirror", "inputs", "msgpack", "--to", str(mirror)).ok()
    (kvpack.root / "kvpack.toml").write_text(f'[mirrors]\ninputs = ["{mirror.as_uri()}"]\n')
    there = Kvpack(kvpack.root, tmp_path / "fresh", ALONE, ("unshare", "--net"))
    answer = there("--json", "fetch", "msgpack").ok().json
    assert answer["inputs"] == answer["fetched"] > 100
    plan = json.loads(there("--json", "plan", "msgpack").ok().out)
    assert all(row["key"] for row in plan["targets"])
