"""Shared results: what one store holds, another takes; whatever is wrong is told and mended."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.wheel import inspect_wheel
from kvpack.build.model import BuildPlan, BuiltWheel
from kvpack.cli.context import Context, Options
from kvpack.cli.judge import policy_of, remembered, verdict_name
from kvpack.cli.make import stored
from kvpack.cli.shared import SHARED_HIT, SharedResults
from kvpack.console import Console
from kvpack.errors import EngineMissing, StorageFailed, StorageUnsafe
from kvpack.publish.drift import verify
from kvpack.publish.shared import action_path, blob_path
from kvpack.tools.files import sha256_of
from kvpack.tools.stored import Data, Headers, Objects
from tests.unit.cli.face import SELECTED, Place
from tests.unit.publish.faulty import Deaf, Faulty, Killed
from tests.unit.publish.made import memory, must
from tests.unit.publish.signed import wheel

HEADERS = Headers("x", "y")


@dataclass
class Machine:
    """A store and a run on it."""

    place: Place
    name: str
    objects: Objects
    write: bool = True
    planned: list[BuildPlan] = field(default_factory=list)
    """The one plan, made once for all machines of a test."""
    said: io.StringIO = field(default_factory=io.StringIO)

    @property
    def context(self) -> Context:
        options = Options(root=self.place.root, store=self.place.folder / self.name)
        return Context(options, Console(err=self.said))

    def shared(self) -> SharedResults:
        return SharedResults(self.context, self.objects, write=self.write)

    def plan(self) -> BuildPlan:
        if not self.planned:
            self.planned.append(self.place.plan())
        return self.planned[0]

    def builds(self, **changes: str) -> tuple[BuiltWheel, dict[str, Any]]:
        """As after a build here: wheel, record and verdict are in the store."""
        plan, store = self.plan(), self.context.store
        path = wheel(self.place.folder / f"built-{self.name}", plan, **changes)
        facts, faults = inspect_wheel(path)
        assert facts is not None
        verdict = audit(facts, policy_of(plan), faults).as_json()
        sha256, size = store.add_file(path), path.stat().st_size
        record = {"key": plan.key, "action": plan.action, "made": 7, "seconds": 2.5, "root": "r",
                  "builder": "https://ci.example/a",
                  "wheel": {"file": path.name, "sha256": sha256, "size": size}}  # fmt: skip
        store.write_record("actions", plan.key, record)
        store.write_record("audits", verdict_name(plan, sha256), verdict)
        built = BuiltWheel(
            key=plan.key, file=path.name, sha256=sha256, size=size, seconds=2.5, hit=False
        )
        return built, verdict

    def gives(self, **changes: str) -> BuiltWheel:
        built, verdict = self.builds(**changes)
        assert self.shared().give(self.plan(), built, verdict) is False
        return built


@pytest.fixture
def machine(place: Place) -> Callable[[str, Objects], Machine]:
    planned: list[BuildPlan] = []
    return lambda name, objects: Machine(place, name, objects, planned=planned)


Make = Callable[[str, Objects], Machine]


def overwrite(objects: Objects, key: str, data: Data) -> None:
    objects.overwrite(key, data, HEADERS)


def test_a_second_machine_takes_what_the_first_one_gave(machine: Make) -> None:
    objects = memory()
    built = machine("a", objects).gives()
    second = machine("b", objects)
    taken = second.shared().take(second.plan())
    assert taken is not None
    assert (taken.sha256, taken.file, taken.seconds) == (built.sha256, built.file, 2.5)
    # Later runs have it in their own store, with a verdict: nothing is asked again.
    here = stored(second.context, second.plan())
    assert here is not None
    assert here.hit
    verdict = remembered(second.context, second.plan(), here.sha256)
    assert verdict is not None
    assert verdict["passed"]
    record = second.context.store.read_record("actions", here.key)
    assert record is not None
    assert record["builder"] == "https://ci.example/a"
    # A hit fetches no input and assembles no root.
    assert list(second.context.store.blobs()) == [built.sha256]
    assert not list(second.context.store.records("roots"))


def test_nothing_is_there_at_first(machine: Make) -> None:
    one = machine("a", memory())
    assert one.shared().take(one.plan()) is None
    assert one.said.getvalue() == ""


# -- poisoned results -----------------------------------------------------------------------------


@dataclass
class Poison:
    """The storage, and what is in it."""

    place: Place
    objects: Objects
    plan: BuildPlan
    built: BuiltWheel

    @property
    def blob(self) -> bytes:
        return must(self.objects, blob_path(self.built.sha256))

    def put_blob(self, data: bytes, *, name: str | None = None) -> None:
        overwrite(self.objects, blob_path(name or self.built.sha256), data)

    def edit(self, **changes: object) -> None:
        """Edit the record."""
        text = json.loads(must(self.objects, action_path(self.plan.key)))
        overwrite(
            self.objects, action_path(self.plan.key), json.dumps({**text, **changes}).encode()
        )

    def substitute(self, path: Path, **changes: object) -> None:
        """Put another wheel under the key, with a record that fits it."""
        data = path.read_bytes()
        self.put_blob(data, name=sha256_of(data))
        self.edit(sha256=sha256_of(data), size=len(data), **changes)


def other_wheel_under_the_key(it: Poison) -> None:
    """A sound wheel of another target, renamed."""
    it.place.tiny.outside.versions["plugin"] = "0.2"
    it.place.tiny.lock()
    other = it.place.plan()
    assert other.key != it.plan.key
    it.substitute(wheel(it.place.folder / "other", other))
    it.place.tiny.outside.versions["plugin"] = "0.1"
    it.place.tiny.lock()


def wheel_without_an_action(it: Poison) -> None:
    it.substitute(it.place.wheel())


def wheel_that_breaks_a_rule(it: Poison) -> None:
    it.substitute(wheel(it.place.folder / "other", it.plan, more="os/__init__.py"))


def wheel_with_another_lock(it: Poison) -> None:
    it.substitute(wheel(it.place.folder / "other", it.plan, lock_digest="sha256:0"))


def wheel_with_another_bill(it: Poison) -> None:
    def licensed(name: str) -> BuildPlan:
        return replace(it.plan, recipe=it.plan.recipe.model_copy(update={"license": name}))

    it.substitute(wheel(it.place.folder / "other", licensed("Other")))


def no_wheel(it: Poison) -> None:
    path = it.place.folder / "no-wheel"
    path.write_bytes(b"x" * 99)
    it.substitute(path)


def other_bytes(it: Poison) -> None:
    it.put_blob(it.blob[:-1] + b"x")


def truncated(it: Poison) -> None:
    it.put_blob(it.blob[:-7])


def endless(it: Poison) -> None:
    it.put_blob(it.blob + b"\0" * 9999)


def absent(it: Poison) -> None:
    it.objects.delete(blob_path(it.built.sha256))


def no_json(it: Poison) -> None:
    overwrite(it.objects, action_path(it.plan.key), b"\x1f\x8b")


def empty(it: Poison) -> None:
    overwrite(it.objects, action_path(it.plan.key), b"")


def twice(it: Poison) -> None:
    text = must(it.objects, action_path(it.plan.key))
    overwrite(it.objects, action_path(it.plan.key), text.replace(b"{", b'{"size":1,', 1))


def another_key(it: Poison) -> None:
    it.edit(key="0" * 64)


def a_way_out(it: Poison) -> None:
    it.edit(file="../../" + it.built.file)


def another_target(it: Poison) -> None:
    it.edit(file=it.built.file.replace("tiny-", "evil-"))


def a_newer_format(it: Poison) -> None:
    it.edit(schema=2)


def edited_size(it: Poison) -> None:
    it.edit(size=1)


POISONS: dict[Callable[[Poison], None], str] = {
    other_wheel_under_the_key: "was made for the key",
    wheel_without_an_action: "carries no action",
    wheel_that_breaks_a_rule: "breaks a rule",
    wheel_with_another_lock: "names another lock",
    wheel_with_another_bill: "has another bill of materials",
    no_wheel: "cannot be read as a wheel",
    other_bytes: "has the sha256",
    truncated: "bytes, its record says",
    endless: "bytes, its record says",
    absent: "its wheel is not there",
    no_json: "cannot be read",
    empty: "cannot be read",
    twice: "the key 'size' twice",
    another_key: "is that of the key 000000000000",
    a_way_out: "no wheel of this target",
    another_target: "no wheel of this target",
    a_newer_format: "cannot be read",
    edited_size: "has more than 1 bytes",
}


@pytest.mark.parametrize("poison", POISONS, ids=lambda one: one.__name__)
def test_a_poisoned_result_is_told_not_used_and_mended(
    machine: Make, place: Place, poison: Callable[[Poison], None]
) -> None:
    objects = memory()
    built = machine("a", objects).gives()
    poison(Poison(place, objects, place.plan(), built))
    reader, writer = machine("b", objects), machine("c", objects)
    reader.write = False
    before = {stat.key: must(objects, stat.key) for stat in objects.list()}
    for one in (reader, writer):
        shared = one.shared()
        assert shared.take(one.plan()) is None
        assert POISONS[poison] in one.said.getvalue()
        assert stored(one.context, one.plan()) is None
        # It is built instead; then it is a hit as ever.
        made, verdict = one.builds()
        assert shared.give(one.plan(), made, verdict) is False
        assert stored(one.context, one.plan()) is not None
        if not one.write:  # nobody who may only read writes, not even to mend
            assert {stat.key: must(objects, stat.key) for stat in objects.list()} == before
    last = machine("d", objects)
    assert last.shared().take(last.plan()) is not None
    assert last.said.getvalue().count("is not used") == 0


def test_a_verdict_of_other_rules_is_not_believed(machine: Make, place: Place) -> None:
    """The wheel would have to be run here; that no engine is there shows that it is tried."""
    objects = memory()
    built = machine("a", objects).gives()
    verdict = {"name": "other rules", "report": {}}
    Poison(place, objects, place.plan(), built).edit(verdict=verdict)
    one = machine("b", objects)
    with pytest.raises(EngineMissing):
        one.shared().take(one.plan())
    assert stored(one.context, one.plan()) is None


# -- storages -------------------------------------------------------------------------------------


class Watched:
    """Objects that tell what is written."""

    def __init__(self, inner: Objects) -> None:
        self.inner, self.name = inner, inner.name
        self.get, self.chunks, self.range = inner.get, inner.chunks, inner.range
        self.head, self.list = inner.head, inner.list
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # any method that writes
        def write(key: str, *given: object) -> None:
            self.written.append(key)
            getattr(self.inner, name)(key, *given)

        return write


def test_read_only_never_writes(machine: Make) -> None:
    inner = memory()
    watched = Watched(inner)
    one = machine("a", watched)
    one.write = False
    built, verdict = one.builds()
    shared = one.shared()
    assert shared.take(one.plan()) is None
    assert shared.give(one.plan(), built, verdict) is False
    machine("b", inner).gives()
    assert machine("c", watched).shared().take(one.plan()) is not None
    assert watched.written == []
    assert list(inner.list()) != []


def test_a_local_hit_is_given_if_it_is_not_there_yet(machine: Make) -> None:
    objects = memory()
    watched = Watched(objects)
    one = machine("a", watched)
    built, verdict = one.builds()
    hit = BuiltWheel(**{**vars(built), "hit": True})
    one.shared().give(one.plan(), hit, verdict)
    assert objects.head(action_path(built.key)) is not None
    watched.written.clear()
    one.shared().give(one.plan(), hit, verdict)
    assert watched.written == []  # not even a probe


def test_a_storage_that_ignores_conditions_is_refused_before_a_build(machine: Make) -> None:
    one = machine("a", Deaf(memory()))
    with pytest.raises(StorageUnsafe, match="ignores conditional writes"):
        one.shared().take(one.plan())
    one.write = False
    assert one.shared().take(one.plan()) is None


def test_a_storage_that_does_not_answer_is_told_once(machine: Make) -> None:
    objects = Faulty(memory(), 1, rate=1.0)
    one = machine("a", objects)
    shared = one.shared()
    assert shared.take(one.plan()) is None
    asked = objects.count
    assert shared.take(one.plan()) is None
    built, verdict = one.builds()
    assert shared.give(one.plan(), built, verdict) is False
    rows = [row(one.plan())]
    shared.mark(rows)
    assert rows == [row(one.plan())]
    assert objects.count == asked
    assert one.said.getvalue().count("left out of this run") == 1


@pytest.mark.parametrize("seed", range(6))
def test_through_a_storage_that_often_fails(machine: Make, seed: int) -> None:
    """Half of the tries fail: it is taken or built, never wrong, and others are not hindered."""
    inner = memory()
    one = machine("a", Faulty(inner, seed, rate=0.5))
    built, verdict = one.builds()
    shared = one.shared()
    shared.take(one.plan())
    shared.give(one.plan(), built, verdict)
    other = machine("b", Faulty(inner, seed + 100, rate=0.3))
    taken = other.shared().take(other.plan())
    assert taken is None or taken.sha256 == built.sha256
    machine("c", inner).gives()
    last = machine("d", inner)
    assert last.shared().take(last.plan()) is not None


def test_killed_at_any_request_the_next_one_finishes(machine: Make) -> None:
    for after in range(0, 14, 2):
        inner = memory()
        one = machine(f"a{after}", Faulty(inner, 0, kill_after=after))
        built, verdict = one.builds()
        shared = one.shared()
        try:
            shared.give(one.plan(), built, verdict)
        except Killed:
            # A record is there only if its wheel is, whole.
            if inner.head(action_path(built.key)) is not None:
                assert must(inner, blob_path(built.sha256))
        machine(f"b{after}", inner).gives()
        last = machine(f"c{after}", inner)
        assert last.shared().take(last.plan()) is not None


# -- races ----------------------------------------------------------------------------------------


def test_two_machines_that_build_one_key_end_with_the_first_ones_wheel(machine: Make) -> None:
    """Their wheels differ, as those of a build that cannot be reproduced do."""
    inner = memory()
    first, second = machine("a", inner), machine("b", inner)
    late, verdict = second.builds(module="# another time")
    shared = second.shared()
    assert shared.take(second.plan()) is None  # nobody was first yet
    built = first.gives()
    assert built.sha256 != late.sha256
    assert shared.give(second.plan(), late, verdict) is True
    taken = shared.take(second.plan())
    assert taken is not None
    assert taken.sha256 == built.sha256
    here = stored(second.context, second.plan())
    assert here is not None
    assert here.sha256 == built.sha256
    assert "another machine shared other bytes" in second.said.getvalue()


def test_an_answer_that_was_lost_is_no_other_machine(machine: Make) -> None:
    plan_key = machine("x", memory()).plan().key
    inner = memory()
    one = machine("a", Faulty(inner, 0, lose=f"create {action_path(plan_key)}"))
    one.gives()
    assert "other bytes" not in one.said.getvalue()


# -- planning -------------------------------------------------------------------------------------


def row(plan: BuildPlan) -> dict[str, Any]:
    return {"state": "build", "key": plan.key, "because": "never built here", "dirty": False}


class Counted(Watched):
    """Objects that count heads and listings."""

    def __init__(self, inner: Objects) -> None:
        super().__init__(inner)
        self.heads = self.lists = 0

        def head(key: str) -> object:
            self.heads += 1
            return inner.head(key)

        def listed(prefix: str = "") -> Iterator[object]:
            self.lists += 1
            yield from inner.list(prefix)

        self.head, self.list = head, listed  # type: ignore[assignment]  # of the same form


@pytest.mark.parametrize(("count", "asked"), [(3, (3, 0)), (40, (0, 1))])
def test_a_plan_asks_little(machine: Make, count: int, asked: tuple[int, int]) -> None:
    objects = memory()
    machine("a", objects).gives()
    counted = Counted(objects)
    one = machine("b", counted)
    others = [row(one.plan()) | {"key": f"{number:064x}"} for number in range(count - 1)]
    rows = [row(one.plan()), *others]
    one.shared().mark(rows)
    assert rows[0]["state"] == SHARED_HIT
    assert {one["state"] for one in rows[1:]} == {"build"}
    assert (counted.heads, counted.lists) == asked


def test_plan_why_and_build_know_shared_results(place: Place) -> None:
    """With the folder of ``kvpack.toml``; the build needs no engine, for nothing is built."""
    folder = place.folder / "results"
    one = Machine(place, "a", folder_objects(folder))
    built = one.gives()
    config = f'[shared]\nurl = "{folder.as_uri()}"\nmode = "read"\n'
    (place.root / "kvpack.toml").write_text(config)
    select = (*SELECTED, "--cpu")
    (told,) = place.run("--json", "plan", *select).json["targets"]
    assert (told["state"], told["because"]) == (SHARED_HIT, "")
    (told,) = place.run("--json", "plan", *select, "--shared", "none").json["targets"]
    assert told["state"] == "build"
    why = place.run("why", *select)
    assert f"another machine built it; its result is at {folder.as_uri()}" in why.out
    answer = place.run("--json", "build", *select, "--out", str(place.folder / "dist"))
    assert answer.code == 0, answer.err
    (target,) = answer.json["targets"]
    assert (target["hit"], target["shared"], target["sha256"]) == (True, True, built.sha256)
    assert (place.folder / "dist" / built.file).read_bytes()
    (target,) = place.run("--json", "build", *select).json["targets"]
    assert (target["hit"], target["shared"]) == (True, False)


def folder_objects(folder: Path) -> Objects:
    from kvpack.tools.folder import FolderObjects

    return FolderObjects(folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[shared]\nurl = "s3://user:secret@bucket/x"', "without credentials"),
        ('[shared]\nurl = "file:///x"\nmode = "write"', "shared.mode"),
        ('[shared]\nmode = "read"', "shared.url"),
        ('[shared]\nurl = "file:///x"\nmod = "read"', "did you mean 'mode'?"),
        ('[provenance]\nbuilder-id = "me"', "not a URI"),
    ],
)
def test_configurations_that_are_refused(place: Place, text: str, told: str) -> None:
    (place.root / "kvpack.toml").write_text(text)
    answer = place.run("plan", *SELECTED)
    assert answer.code == 13
    assert told in answer.err
    assert "secret" not in answer.err


def test_offline_leaves_a_remote_storage_out(place: Place) -> None:
    (place.root / "kvpack.toml").write_text('[shared]\nurl = "s3://bucket/x"\n')
    assert place.run("--offline", "plan", *SELECTED).code == 0
    words = ("--offline", "plan", *SELECTED, "--shared", "s3://bucket/x")
    assert place.run(*words).code == 32


def test_a_download_that_is_cut_is_begun_again(machine: Make) -> None:
    class Cut(Watched):
        cuts = 2

        def __init__(self, inner: Objects) -> None:
            super().__init__(inner)

            def chunks(key: str) -> Iterator[bytes]:
                if self.cuts:
                    self.cuts -= 1
                    yield b"PK"
                    raise StorageFailed("cut")
                yield from inner.chunks(key)

            self.chunks = chunks

    objects = memory()
    built = machine("a", objects).gives()
    one = machine("b", Cut(objects))
    taken = one.shared().take(one.plan())
    assert taken is not None
    assert taken.sha256 == built.sha256


def test_mirrors_are_not_asked_for_shared_results(machine: Make) -> None:
    objects, mirror = memory(), memory()
    machine("a", objects).gives()
    assert verify(objects, mirror) == []
