import tempfile
from pathlib import Path

import pytest

from kvpack.errors import MirrorBehind, StorageFailed
from kvpack.publish.commit import Channel
from kvpack.publish.drift import check_self, sync, verify
from kvpack.publish.mirror import Source, follow
from kvpack.publish.release import publish, roll_back
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from kvpack.tools.stored import Data, Headers, Objects
from tests.unit.publish.faulty import Faulty, Killed
from tests.unit.publish.made import check_legal, complete, listed, memory, release

ANY = Headers("x", "x")
FIRST, SECOND = release("demo-a==1.0", "demo-b==1.0"), release("demo-a==1.1")
WHEEL = "files/demo-a/demo_a-1.0-py3-none-any.whl"


def primary() -> Objects:
    objects = memory()
    for one in (FIRST, SECOND):
        publish(one, Channel(objects, "stable"), Silent())
    return objects


def test_a_mirror_is_a_byte_copy() -> None:
    objects, mirror = primary(), memory()
    follow(Source(objects, SECOND.data), mirror, "stable")
    assert verify(objects, mirror) == []
    complete(mirror)


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_large_goes_through_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    """Both when it is new and when it replaces what is damaged; nothing stays behind."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setattr("kvpack.publish.mirror.SPOOLED", 1)
    monkeypatch.setattr("kvpack.tools.objects.MAPPED", 1)
    objects, given = primary(), []
    mirror = FolderObjects(tmp_path / "mirror") if folder else memory()
    create = mirror.create

    def seen(key: str, data: Data, headers: Headers) -> None:
        given.append((key, data))
        create(key, data, headers)

    monkeypatch.setattr(mirror, "create", seen)
    follow(Source(objects), mirror, "stable")
    assert all(isinstance(data, Path) for key, data in given if key.startswith("files/"))
    mirror.overwrite(WHEEL, b"other", ANY)
    sync(objects, mirror)
    assert verify(objects, mirror) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_mirror_copies_only_what_it_lacks() -> None:
    objects, mirror = memory(), memory()
    publish(FIRST, Channel(objects, "stable"), Silent())
    follow(Source(objects), mirror, "stable")
    publish(SECOND, Channel(objects, "stable"), Silent())
    assert follow(Source(objects, SECOND.data), mirror, "stable").objects == 5
    assert follow(Source(objects), mirror, "stable").objects == 0
    roll_back(Channel(objects, "stable"), FIRST.release.id)
    assert follow(Source(objects), mirror, "stable").objects == 0
    assert listed(mirror) == listed(objects)


@pytest.mark.parametrize("step", range(0, 100, 20))
def test_killed_while_following(step: int) -> None:
    objects, mirror = primary(), memory()
    with pytest.raises(Killed):
        follow(Source(objects), Faulty(mirror, step, kill_after=step), "stable")
    check_legal(mirror)
    follow(Source(objects), mirror, "stable")
    complete(mirror)
    assert verify(objects, mirror) == []


def test_a_mirror_that_went_its_own_way_is_told() -> None:
    objects, mirror = primary(), memory()
    for name in ("x==1", "x==2", "x==3"):
        publish(release(name), Channel(mirror, "stable"), Silent())
    with pytest.raises(MirrorBehind, match="and they differ"):
        follow(Source(objects), mirror, "stable")


def test_drift_is_found_and_repaired() -> None:
    objects, mirror = primary(), memory()
    follow(Source(objects), mirror, "stable")
    mirror.overwrite(WHEEL, b"other", ANY)
    mirror.delete(f"{WHEEL}.cdx.json")
    mirror.overwrite("stable/cpu/simple/demo-a/index.html", b"old", ANY)
    mirror.overwrite("extra", b"", ANY)
    found = {(one.kind, one.path) for one in verify(objects, mirror)}
    assert found == {
        ("differs", WHEEL),
        ("missing", f"{WHEEL}.cdx.json"),
        ("behind", "stable/cpu/simple/demo-a/index.html"),
        ("surplus", "extra"),
    }
    assert {(one.kind, one.path) for one in check_self(mirror)} == {
        ("differs", WHEEL),
        ("missing", f"{WHEEL}.cdx.json"),
    }
    done = sync(objects, mirror)
    assert done.objects == 2
    assert [one.kind for one in verify(objects, mirror)] == ["surplus"]
    complete(mirror)


def test_same_size_other_bytes_are_found() -> None:
    objects, mirror = primary(), memory()
    follow(Source(objects), mirror, "stable")
    found = mirror.get(WHEEL)
    assert found is not None
    mirror.overwrite(WHEEL, found.data[:-1] + b"!", ANY)
    (drift,) = verify(objects, mirror)
    assert drift.detail.startswith("its sha256 is")


def test_a_damaged_primary_is_not_copied() -> None:
    objects, mirror = primary(), memory()
    found = objects.get(WHEEL)
    assert found is not None
    objects.overwrite(WHEEL, found.data[:-1] + b"!", ANY)
    with pytest.raises(StorageFailed, match="has not the sha256"):
        follow(Source(objects), mirror, "stable")
    assert mirror.get("channels/stable.json") is None
