"""Shared results on real builds: S3 as moto simulates it, a real engine, several stores."""

import json
import shutil
from pathlib import Path

import pytest

from kvpack.publish.shared import action_path, blob_path
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Headers
from tests.integration import demo
from tests.integration.conftest import Kvpack, copied_store
from tests.integration.publish_servers import KEYS, free_port, own_keys, rclone, s3
from tests.integration.test_provenance import keys

pytestmark = pytest.mark.integration
__all__ = ["s3"]

TARGET = ("msgpack", "--glibc", "2.36", "--python", "3.11")
SECRET = KEYS["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_keys(monkeypatch)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def on(kvpack: Kvpack, store: Path, port: int, **env: str) -> Kvpack:
    return Kvpack(kvpack.root, store, {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", **env})


def wheel_in(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


def test_a_second_machine_builds_nothing_and_a_poisoned_result_is_built_anew(
    kvpack: Kvpack, s3: int, tmp_path: Path
) -> None:
    url = f"s3://wheels/{tmp_path.name}"
    kvpack("build", *TARGET, "--out", str(tmp_path / "warm")).ok()
    # A machine that builds and gives; its inputs and its root are those of the session.
    one = on(kvpack, copied_store(kvpack.store, tmp_path / "one"), s3)
    words = ("--json", "build", *TARGET, "--shared", url, "--out")
    (built,) = one(*words, str(tmp_path / "a")).ok().json["targets"]
    assert (built["hit"], built["shared"]) == (False, False)
    # One with an empty store and no engine: it takes.
    bare = tmp_path / "bin"
    bare.mkdir()
    two = on(kvpack, tmp_path / "two", s3, PATH=str(bare), KVPACK_ENGINE="none")
    (plan,) = two("--json", "plan", *TARGET, "--shared", url).ok().json["targets"]
    assert plan["state"] == "hit (shared)"
    assert "another machine built it" in two("why", *TARGET, "--shared", url).ok().out
    (taken,) = two(*words, str(tmp_path / "b")).ok().json["targets"]
    assert (taken["hit"], taken["shared"], taken["sha256"]) == (True, True, built["sha256"])
    here = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()} == here
    blobs = [path for path in (tmp_path / "two" / "blobs").rglob("*") if path.is_file()]
    assert [path.name for path in blobs] == [built["sha256"]]
    assert not (tmp_path / "two" / "roots").exists()
    # The wheel is truncated: told, built anew, mended for everybody.
    objects = ObstoreObjects(url, environment={**KEYS, **two.env})
    place = blob_path(built["sha256"])
    whole = objects.get(place)
    assert whole is not None
    objects.overwrite(place, whole.data[:-100], Headers("x", "y"))
    three = on(kvpack, copied_store(kvpack.store, tmp_path / "three"), s3)
    (three.store / "blobs" / "sha256" / built["sha256"][:2] / built["sha256"]).unlink()
    answer = three(*words, str(tmp_path / "c")).ok()
    assert "is not used: its wheel has" in answer.err
    (again,) = answer.json["targets"]
    assert (again["hit"], again["sha256"]) == (False, built["sha256"])
    mended = objects.get(place)
    assert mended is not None
    assert mended.data == whole.data
    four = on(kvpack, tmp_path / "four", s3, PATH=str(bare))
    (last,) = four(*words, str(tmp_path / "d")).ok().json["targets"]
    assert last["shared"]


def test_two_machines_race_on_one_key(kvpack: Kvpack, s3: int, tmp_path: Path) -> None:
    kvpack("build", *TARGET, "--out", str(tmp_path / "warm")).ok()
    wheel = wheel_in(tmp_path / "warm")
    url = f"s3://wheels/{tmp_path.name}"
    running = []
    for number in range(2):
        store = copied_store(kvpack.store, tmp_path / f"store{number}")
        one = on(kvpack, store, s3)
        for path in (store / "blobs").rglob("*"):
            if path.is_file() and path.stat().st_size == wheel.stat().st_size:
                path.unlink()
        words = ("--json", "build", *TARGET, "--shared", url, "--out", str(tmp_path / str(number)))
        running.append(one.start(*words))
    answers = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    digests = {json.loads(out)["targets"][0]["sha256"] for out, _ in answers}
    assert len(digests) == 1
    key = json.loads(answers[0][0])["targets"][0]["key"]
    environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    objects = ObstoreObjects(url, environment=environment)
    record = objects.get(action_path(key))
    assert record is not None
    assert json.loads(record.data)["sha256"] in digests


def test_who_can_write_but_not_sign_is_found_out(kvpack: Kvpack, s3: int, tmp_path: Path) -> None:
    """The bucket is open to somebody who has no key: what they put there is not taken."""
    private, public = keys(tmp_path, "-algorithm", "ed25519")
    url = f"s3://wheels/{tmp_path.name}"
    words = ("--json", "build", *TARGET, "--shared", url, "--out")
    one = on(kvpack, kvpack.store, s3)
    (built,) = one(*words, str(tmp_path / "a"), "--sign-key", str(private)).ok().json["targets"]
    bare = tmp_path / "bin"
    bare.mkdir()
    demand = ("--shared-key", str(public))
    two = on(kvpack, tmp_path / "two", s3, PATH=str(bare), KVPACK_ENGINE="none")
    (taken,) = two(*words, str(tmp_path / "b"), *demand).ok().json["targets"]
    assert (taken["shared"], taken["sha256"]) == (True, built["sha256"])
    objects = ObstoreObjects(url, environment={**KEYS, **one.env})
    path = action_path(built["key"])
    record = objects.get(path)
    assert record is not None
    unsigned = json.dumps({**json.loads(record.data), "envelope": None}).encode()
    objects.overwrite(path, unsigned, Headers("x", "y"))
    three = on(kvpack, tmp_path / "three", s3, PATH=str(bare), KVPACK_ENGINE="none")
    (plan,) = three("--json", "plan", *TARGET, "--shared", url, *demand).ok().json["targets"]
    assert plan["state"] == "build"
    refused = three(*words, str(tmp_path / "c"), *demand)
    assert "its record is unsigned, and a signature is demanded" in refused.err
    assert refused.code != 0, "it is built instead, which takes an engine"
    assert not list(tmp_path.glob("c/*"))
    # Whoever has the key and the wheel mends it for all.
    mends = one(*words, str(tmp_path / "d"), "--sign-key", str(private), *demand).ok()
    assert "it is replaced" in mends.err
    four = on(kvpack, tmp_path / "four", s3, PATH=str(bare), KVPACK_ENGINE="none")
    (last,) = four(*words, str(tmp_path / "f"), *demand).ok().json["targets"]
    assert last["shared"]


def test_no_credential_reaches_a_build(kvpack: Kvpack, s3: int, tmp_path: Path) -> None:
    """A package whose build looks for them, in its environment and in every file it can read."""
    look = (
        "import os, pathlib\n"
        "held = list(os.environ.items())\n"
        "held += [(str(p), p.read_text(errors='replace')) for top in ('/project', '/proc/self')\n"
        "         for p in pathlib.Path(top).glob('environ*' if 'proc' in top else '*')\n"
        "         if p.is_file()]\n"
        f"bad = [name for name, text in held if {SECRET[:12]!r} in text or 'AWS_' in name]\n"
        "assert not bad, bad\n"
    )
    demo_kvpack = demo.prepared(kvpack, tmp_path, files={"setup.py": look + demo.SETUP})
    demo_kvpack("lock", "kvdemo").ok()
    one = on(demo_kvpack, kvpack.store, s3)
    url = f"s3://wheels/{tmp_path.name}"
    key = tmp_path / "key.pem"
    key.write_text("no key")
    assert one("build", "kvdemo", "--shared", url, "--sign-key", str(key)).code == 88
    done = one("-v", "build", "kvdemo", "--shared", url, "--out", str(tmp_path / "dist")).ok()
    assert "shared at" in done.err
    assert SECRET not in done.out + done.err
    for folder in (tmp_path / "dist", kvpack.store / "logs", kvpack.store / "actions"):
        for path in folder.rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_storages_that_cannot_be_used(kvpack: Kvpack, tmp_path: Path) -> None:
    kvpack("build", *TARGET, "--out", str(tmp_path / "warm")).ok()
    words = ("build", *TARGET, "--out", str(tmp_path / "dist"), "--shared", "s3://wheels/x")
    with rclone(tmp_path / "served") as port:
        refused = on(kvpack, kvpack.store, port)(*words)
        assert refused.code == 81
        assert "s3://wheels/x ignores conditional writes" in refused.err
        assert not [path for path in (tmp_path / "served").rglob("*") if path.is_file()]
        on(kvpack, kvpack.store, port)(*words, "--shared-read-only").ok()
    shutil.rmtree(tmp_path / "dist")
    down = on(kvpack, kvpack.store, free_port())(*words).ok()
    assert "shared results are left out of this run" in down.err
    assert wheel_in(tmp_path / "dist").is_file()
