"""Locks of native libraries in releases: kept beside the wheels' own, carried along, compared."""

import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.wheel import inspect_wheel
from kvpack.build.model import BuildPlan
from kvpack.cli.context import Context, Options
from kvpack.cli.judge import policy_of
from kvpack.cli.libraries import lock_texts
from kvpack.console import Console
from kvpack.lock.file import write_lock
from kvpack.publish.commit import Channel
from kvpack.publish.gather import Prepared, gather
from kvpack.publish.librarylocks import not_named
from kvpack.publish.model import Release
from kvpack.publish.release import publish
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from tests.unit.catalogues import lock_of, recipe_of
from tests.unit.cli.face import SELECTED, Answer, Place
from tests.unit.libraries import add, renamed, use
from tests.unit.lock.outside import Outside
from tests.unit.publish.made import release
from tests.unit.publish.signed import wheel


@dataclass
class Site:
    """A storage with a wheel that was built with ``lib``, which was built with ``deep``."""

    place: Place
    plan: BuildPlan
    dist: Path

    @property
    def root(self) -> Path:
        return self.place.folder / "site"

    @property
    def lock(self) -> Path:
        """The lock of ``lib``."""
        (found,) = (self.root / "locks" / "lib").iterdir()
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        (path,) = (self.root / "releases").glob("*.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    @property
    def wheel(self) -> Path:
        (found,) = (self.root / "files").rglob("*.whl")
        return found

    def prepared(self) -> Prepared:
        context = Context(Options(root=self.place.root, store=self.place.store.root), Console())
        return gather([self.plan], self.dist, lock_texts(context, [self.plan]), allow_partial=False)

    def publish(self, release: Prepared) -> None:
        publish(release, Channel(FolderObjects(self.root), "stable"), Silent())

    def verify(self, *more: str) -> Answer:
        return self.place.run("--json", "verify", str(self.wheel), *more)

    def bundle(self) -> Path:
        (self.place.root / "lock" / "tiny.toml").unlink()  # no sources: nothing is fetched here
        path = self.place.folder / "kv.tar"
        answer = self.place.run("bundle", "--from", str(self.root), "-o", str(path))
        assert answer.code == 0, answer.err
        return path


@pytest.fixture
def site(place: Place) -> Site:
    add(place.root, "deep", renamed("deep"))
    add(place.root, "lib", renamed("lib", needs="deep"))
    use(place.tiny, "lib")
    plan = place.plan()
    made = wheel(place.folder / "dist", plan)
    facts, faults = inspect_wheel(made)
    assert facts is not None, faults
    report = audit(facts, policy_of(plan), faults).as_json()
    for suffix, text in ((".audit.json", report), (".action.json", plan.action), (".cdx.json", {})):
        Path(f"{made}{suffix}").write_text(json.dumps(text))
    return Site(place, plan, made.parent)


@pytest.fixture
def published(site: Site) -> Site:
    words = ("--from", str(site.dist), "--to", str(site.root))
    answer = site.place.run("publish", *SELECTED, "--cpu", *words)
    assert answer.code == 0, answer.err
    return site


def check(answer: Answer) -> dict[str, str]:
    (row,) = answer.json["wheels"]
    (found,) = [one for one in row["checks"] if one["check"] == "library-locks"]
    return dict(found)


def test_the_locks_of_all_libraries_lie_beside_the_wheels_own(published: Site) -> None:
    (promise,) = published.manifest["promises"]
    named = {(one["recipe"], one["version"]): one["lock"]["path"] for one in promise["libraries"]}
    assert list(named) == [("deep", "2.0"), ("lib", "2.0")]
    for (name, _), path in named.items():
        mine = published.place.root / "lock" / f"{name}.toml"
        assert (published.root / path).read_bytes() == mine.read_bytes()
    assert published.manifest["schema"] == 2
    shown = published.place.run("release", "show", published.manifest["id"], "--at",
                                str(published.root))  # fmt: skip
    assert "native library: lib 2.0, lock " in shown.out


def test_what_the_wheel_says_of_its_libraries_is_compared(published: Site) -> None:
    answer = published.verify("--require", "library-locks")
    assert answer.code == 0, answer.err
    found = check(answer)
    assert found["outcome"] == "verified"
    assert "lib 2.0: " in found["detail"]
    assert "deep 2.0: " in found["detail"]


def absent(it: Site) -> None:
    it.lock.unlink()


def damaged(it: Site) -> None:
    it.lock.write_bytes(it.lock.read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("harm", "told"),
    [(absent, "is not there, although"), (damaged, "does not hold the bytes of its name")],
)
def test_a_lock_that_is_gone_or_wrong_is_told_with_place_and_mend(
    published: Site, harm: Callable[[Site], None], told: str
) -> None:
    other = published.place.folder / "mirror"
    assert published.place.run("mirror", "sync", str(published.root), str(other)).code == 0
    path = published.lock.relative_to(published.root)
    harm(published)
    found = check(answer := published.verify())
    assert (answer.code, found["outcome"], found["place"]) == (87, "failed", str(path))
    assert told in found["detail"]
    spoken = published.place.run("verify", str(published.wheel)).err
    assert f"library-locks: failed: {path} " in spoken
    assert f"kvpack mirror sync OTHER {published.root}" in spoken
    assert published.place.run("mirror", "sync", str(other), str(published.root)).code == 0
    assert check(published.verify())["outcome"] == "verified"


def test_a_lock_of_other_inputs_is_found_out(site: Site) -> None:
    """A release that is sound in itself, whose lock of the library is not that of the wheel."""
    text = (site.place.root / "lock" / "lib.toml").read_text()
    made = site.prepared()
    source = site.plan.action["libraries"]["lib"]["lock"]["source"]["sha256"]
    (site.place.root / "lock" / "lib.toml").write_text(text.replace(source, "0" * 64))
    other = site.prepared()
    assert other.release.id != made.release.id
    site.publish(other)
    found = check(site.verify())
    assert found["outcome"] == "failed"
    assert (
        f"does not name what lib 2.0 was made from: lib-2.0.tar.gz {source[:16]}"
        in (found["detail"])
    )
    assert "do not install it" in found["hint"]


def test_a_library_without_a_lock_is_found_out(site: Site) -> None:
    made = site.prepared()
    (promise,) = made.release.promises
    some = promise.model_copy(update={"libraries": promise.libraries[:1]})
    site.publish(
        Prepared(
            release=made.release.model_copy(update={"promises": (some,)}).sealed(""), data=made.data
        )
    )
    found = check(site.verify())
    assert found["outcome"] == "failed"
    assert found["place"] == f"releases/{site.manifest['id']}.json"
    assert found["detail"].endswith("names no lock of the native library lib 2.0")


def as_before(made: Prepared) -> Prepared:
    """The release as a kvpack published it that kept no locks of libraries."""
    bare = tuple(one.model_copy(update={"libraries": ()}) for one in made.release.promises)
    old = made.release.model_copy(update={"promises": bare, "release_schema": 1})
    return Prepared(release=old.sealed(""), data=made.data)


def test_a_release_of_before_stays_valid_and_is_told_as_such(site: Site) -> None:
    site.publish(as_before(site.prepared()))
    assert "libraries" not in site.manifest["promises"][0]
    assert not (site.root / "locks" / "lib").exists()
    found = check(answer := site.verify())
    assert (answer.code, found["outcome"]) == (0, "not checked")
    assert "was published without the locks of deep 2.0, lib 2.0" in found["detail"]
    assert site.verify("--require", "library-locks").code == 87
    told = site.place.run("bundle", "verify", str(site.bundle()))
    assert told.code == 0
    assert "was published without the locks of deep 2.0, lib 2.0" in told.out
    # Published again, it has them; that is another release, and the old one stays.
    site.place.tiny.lock()
    site.publish(site.prepared())
    assert check(site.verify("--require", "library-locks"))["outcome"] == "verified"
    assert len(list((site.root / "releases").glob("*.json"))) == 2


OLD_ID = "df42f968828b49d3"


def test_ids_and_texts_of_releases_without_libraries_are_what_they_were() -> None:
    made = release("demo-a==1.0").release
    assert made.id == OLD_ID
    text = made.sealed("2026-01-01T00:00:00Z").text()
    assert b"libraries" not in text
    assert b'"schema":1' in text
    assert Release.model_validate_json(text).text() == text


@pytest.mark.parametrize("schema", [1, 2])
def test_a_release_says_which_format_it_has(schema: int) -> None:
    document = json.loads(release("demo-a==1.0").release.text()) | {"schema": schema}
    if schema == 1:
        lock = document["promises"][0]["lock"]
        named = {"recipe": "ucx", "version": "1", "lock": lock}
        document["promises"][0]["libraries"] = [named]
    with pytest.raises(ValueError, match="schema 2 is of releases that name locks"):
        Release.model_validate(document)


# -- without a storage ----------------------------------------------------------------------------


def test_the_catalogues_locks_of_libraries_count_too(published: Site) -> None:
    words = ("--recipe", "tiny", "--require", "lock")
    assert published.verify(*words).code == 0
    lock = lock_of(recipe_of(renamed("deep")), Outside(deb_version="1:1.1-1"))
    write_lock(published.place.root / "lock" / "deep.toml", lock)
    (row,) = (answer := published.verify(*words)).json["wheels"]
    assert (answer.code, row["failed"]) == (87, ["lock"])
    (said,) = [one["detail"] for one in row["checks"] if one["check"] == "lock"]
    assert said.startswith("the locks of native libraries name other inputs: libraries lib ")


def test_in_no_storage_it_is_not_checked(site: Site) -> None:
    (path,) = site.dist.glob("*.whl")
    found = check(site.place.run("--json", "verify", str(path)))
    assert found["outcome"] == "not checked"
    assert "--recipe compares" in found["detail"]


def test_inputs_below_another_library_are_not_asked_of_its_lock(site: Site) -> None:
    lib = site.plan.action["libraries"]["lib"]
    text = (site.place.root / "lock" / "lib.toml").read_bytes()
    assert not_named(lib, text) == []
    assert len(not_named(lib, b"")) > 3


# -- bundles --------------------------------------------------------------------------------------


def without(bundle: Path, drop: str) -> Path:
    """The bundle without a member; its manifest and sums are as they were."""
    target = bundle.with_name("changed.tar")
    with tarfile.open(bundle) as old, tarfile.open(target, "w") as new:
        for info in old:
            if drop not in info.name:
                new.addfile(info, old.extractfile(info))
    return target


def test_a_bundle_carries_and_checks_them(published: Site) -> None:
    lock = str(published.lock.relative_to(published.root))
    bundle = published.bundle()
    with tarfile.open(bundle) as tar:
        assert f"kvpack-bundle/{lock}" in tar.getnames()
    assert published.place.run("bundle", "verify", str(bundle)).code == 0
    answer = published.place.run("bundle", "verify", str(without(bundle, lock)))
    assert answer.code == 87
    assert f"{lock}: is missing, although it is one of release" in answer.err


def test_both_commands_count_the_members_of_a_bundle_alike(published: Site) -> None:
    bundle = published.place.folder / "kv.tar"
    (published.place.root / "lock" / "tiny.toml").unlink()
    words = ("bundle", "--from", str(published.root), "-o", str(bundle))
    made, told = published.place.run("--json", *words), published.place.run(*words)
    with tarfile.open(bundle) as tar:
        count = len(tar.getnames())
    assert made.json["members"] == count
    assert f", {count} members, " in told.out
    check = ("bundle", "verify", str(bundle))
    assert published.place.run("--json", *check).json["members"] == count
    assert f": {count} members as the manifest says" in published.place.run(*check).out


def test_a_bundle_whose_lock_is_not_that_of_its_wheel_is_refused(site: Site) -> None:
    path = site.place.root / "lock" / "lib.toml"
    source = site.plan.action["libraries"]["lib"]["lock"]["source"]["sha256"]
    path.write_text(path.read_text().replace(source, "0" * 64))
    site.publish(site.prepared())
    answer = site.place.run("bundle", "verify", str(site.bundle()))
    assert answer.code == 87
    assert "library-locks: locks/lib/" in answer.err
