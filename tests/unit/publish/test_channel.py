import json
from urllib.parse import urljoin

import pytest

from kvpack.errors import ObjectConflict, ReleaseUnknown, UsageError
from kvpack.publish.commit import Channel
from kvpack.publish.gather import Prepared
from kvpack.publish.model import Release
from kvpack.publish.release import check_channel, publish, restore, retire, roll_back
from kvpack.report import Silent
from kvpack.tools.stored import Objects
from tests.unit.publish.made import Links, complete, listed, memory, must, release

A1, A2, A2B, B1 = "demo-a==1.0+kvp.1", "demo-a==1.1+kvp.2", "demo-a==1.1+kvp.0", "demo-b==1.0"


def file(name: str) -> str:
    project, _, version = name.partition("==")
    return f"{project.replace('-', '_')}-{version}-py3-none-any.whl"


def go(objects: Objects, what: Prepared, channel: str = "stable") -> Release:
    return publish(what, Channel(objects, channel), Silent()).release


def keys(objects: Objects, prefix: str = "") -> dict[str, object]:
    return {stat.key: stat.version for stat in objects.list(prefix)}


def test_publishing_twice_changes_nothing() -> None:
    objects = memory()
    go(objects, release(A1, B1))
    before = keys(objects)
    again = publish(release(A1, B1), Channel(objects, "stable"), Silent())
    assert (again.new_objects, again.moved, again.pages) == (0, False, 0)
    assert keys(objects) == before


def test_an_old_job_that_runs_again_does_not_move_the_channel_back() -> None:
    objects = memory()
    go(objects, release(A1))
    go(objects, release(A2))
    assert not publish(release(A1), Channel(objects, "stable"), Silent()).moved


def test_only_pages_of_what_changed_are_written() -> None:
    objects = memory()
    go(objects, release(A1, B1))
    before = keys(objects, "stable/cpu/simple/demo-b/")
    go(objects, release(A2))
    assert keys(objects, "stable/cpu/simple/demo-b/") == before
    assert listed(objects) == {file(A1), file(A2), file(B1)}
    complete(objects)


def test_the_id_of_a_release_is_that_of_its_content() -> None:
    one, other = memory(), memory()
    assert go(one, release(A1)).id == go(other, release(A1), "rc").id
    assert go(one, release(A1)).id != go(one, release(A2)).id
    assert go(one, release(A1, partial=True)).id != go(one, release(A1)).id


def test_two_builds_of_one_version_are_not_left_to_chance() -> None:
    """Local versions are keys without an order: the later published one counts (PEP 592)."""
    objects = memory()
    go(objects, release(A2))
    go(objects, release(A2B))
    page = json.loads(must(objects, "stable/cpu/simple/demo-a/index.json"))
    yanked = {one["filename"]: one["yanked"] for one in page["files"]}
    assert yanked == {file(A2B): False, file(A2): f"superseded by {file(A2B)}"}
    (link,) = [one for one in Links(must(objects, "stable/cpu/simple/demo-a/index.html")).found
               if "data-yanked" in one]  # fmt: skip
    assert "kvp.2" in link["href"]
    retire(Channel(objects, "stable"), release(A2B).release.id, "broken")
    page = json.loads(must(objects, "stable/cpu/simple/demo-a/index.json"))
    assert [one["yanked"] for one in page["files"]] == [False]


def test_rollback_and_back_again() -> None:
    objects = memory()
    first, second = go(objects, release(A1)), go(objects, release(A2, B1))
    objects_before = keys(objects)
    moved = roll_back(Channel(objects, "stable"), first.id)
    assert moved.changed
    assert moved.gone == (file(A2), file(B1))
    assert listed(objects) == {file(A1)}
    assert json.loads(must(objects, "stable/cpu/simple/index.json"))["projects"] == [
        {"name": "demo-a"}
    ]
    assert objects_before.keys() <= keys(objects).keys()
    assert not roll_back(Channel(objects, "stable"), first.id).changed
    assert roll_back(Channel(objects, "stable"), second.id).listed == (file(A2), file(B1))
    complete(objects)


def test_rollback_to_what_never_was() -> None:
    objects = memory()
    first = go(objects, release(A1))
    go(objects, release(A2), "rc")
    with pytest.raises(ReleaseUnknown, match="never published to stable") as caught:
        roll_back(Channel(objects, "stable"), release(A2).release.id)
    assert first.id in caught.value.cause
    with pytest.raises(ReleaseUnknown, match="no channel 'beta'"):
        roll_back(Channel(objects, "beta"), first.id)


def test_retiring_only_unlists() -> None:
    objects = memory()
    channel = Channel(objects, "stable")
    first, second = go(objects, release(A1)), go(objects, release(A2))
    before = keys(objects, "files/")
    assert retire(channel, second.id, "leaks").gone == (file(A2),)
    assert keys(objects, "files/") == before
    assert listed(objects) == {file(A1)}
    with pytest.raises(ReleaseUnknown) as caught:
        go(objects, release(A2))
    assert caught.value.cause == "leaks"
    roll_back(channel, first.id)
    with pytest.raises(ReleaseUnknown, match="was retired"):
        roll_back(channel, second.id)
    assert restore(channel, second.id).listed == (file(A2),)
    assert not restore(channel, second.id).changed
    complete(objects)


def test_a_rollback_does_not_bring_a_retired_release_back() -> None:
    objects = memory()
    channel = Channel(objects, "stable")
    first, second, third = (go(objects, release(one)) for one in (A1, A2, B1))
    retire(channel, first.id, "")
    roll_back(channel, second.id)
    assert listed(objects) == {file(A2)}
    roll_back(channel, third.id)
    assert listed(objects) == {file(A2), file(B1)}


def test_a_wheel_of_two_releases_is_listed_while_one_of_them_is() -> None:
    objects = memory()
    first = go(objects, release(A1, B1))
    go(objects, release(A1, A2))
    retire(Channel(objects, "stable"), first.id, "")
    assert listed(objects) == {file(A1), file(A2)}


def test_rc_never_reaches_stable() -> None:
    objects = memory()
    go(objects, release(A1))
    before = keys(objects, "stable/") | keys(objects, "channels/stable.json")
    go(objects, release("demo-a==2.0rc1"), "rc")
    assert keys(objects, "stable/") | keys(objects, "channels/stable.json") == before
    for version in ("2.0rc1", "2.0.dev3", "2.0a1+kvp.1"):
        early = release(f"demo-a=={version}")
        with pytest.raises(ObjectConflict, match="takes no pre-release"):
            go(objects, early)
    assert listed(objects, "rc") == {file("demo-a==2.0rc1")}


@pytest.mark.parametrize("name", ["files", "channels", "releases", "states"])
def test_channels_do_not_take_the_storages_own_folders(name: str) -> None:
    with pytest.raises(UsageError):
        check_channel(name)


def test_accelerators_have_indexes_of_their_own() -> None:
    objects = memory()
    go(objects, release("demo==1.0"))
    go(objects, release("demo-cu13==1.0", accelerator="cuda13"))
    assert objects.get("stable/cpu/simple/demo-cu13/index.html") is None
    assert objects.get("stable/cuda13/simple/demo/index.html") is None
    assert {
        one["href"] for one in Links(must(objects, "stable/cuda13/simple/index.html")).found
    } == {"demo-cu13/"}


def test_pages_are_what_the_peps_say() -> None:
    objects = memory()
    made = go(objects, release(A1))
    page = json.loads(must(objects, "stable/cpu/simple/demo-a/index.json"))
    assert page["meta"]["api-version"] == "1.1"
    assert page["name"] == "demo-a"
    assert page["versions"] == ["1.0+kvp.1"]
    (one,) = page["files"]
    (wheel,) = made.wheels
    assert one["hashes"] == {"sha256": wheel.sha256}
    assert one["size"] == wheel.size
    assert one["upload-time"] == made.created
    assert one["requires-python"] == ">=3.10"
    assert one["core-metadata"] == {"sha256": wheel.evidence["metadata"].sha256}
    assert one["data-dist-info-metadata"] == one["core-metadata"]
    assert "+" not in one["url"]
    assert (
        urljoin("http://mirror/any/stable/cpu/simple/demo-a/", one["url"])
        == "http://mirror/any/files/demo-a/demo_a-1.0%2Bkvp.1-py3-none-any.whl"
    )
    (link,) = Links(must(objects, "stable/cpu/simple/demo-a/index.html")).found
    assert link["href"] == f"{one['url']}#sha256={wheel.sha256}"
    assert link["data-requires-python"] == ">=3.10"
    assert link["data-dist-info-metadata"] == link["data-core-metadata"]


def test_a_release_has_an_index_of_its_own_that_never_changes() -> None:
    objects = memory()
    first = go(objects, release(A1))
    place = f"releases/{first.id}/"
    before = keys(objects, place)
    go(objects, release(A2B))
    retire(Channel(objects, "stable"), first.id, "")
    assert keys(objects, place) == before
    (link,) = Links(must(objects, f"{place}cpu/simple/demo-a/index.html")).found
    target = urljoin(f"http://h/{place}cpu/simple/demo-a/", link["href"])
    assert target.startswith("http://h/files/demo-a/demo_a-1.0%2Bkvp.1")


def test_the_human_pages() -> None:
    objects = memory()
    made = go(objects, release(A1, B1))
    text = must(objects, "stable/index.html").decode()
    assert made.id in text
    assert '<a href="cpu/projects/demo-a.html">demo-a</a>' in text
    assert "<td>2.36</td>" in text
    assert "http" not in text.replace("http-equiv", "")
    project = must(objects, "stable/cpu/projects/demo-a.html").decode()
    assert f"demo-a==1.0+kvp.1 --hash=sha256:{made.wheels[0].sha256}" in project
    assert "../../../files/demo-a/demo_a-1.0%2Bkvp.1-py3-none-any.whl.audit.json" in project
    assert '<a href="stable/index.html">stable</a>' in must(objects, "index.html").decode()
