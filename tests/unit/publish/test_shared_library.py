"""Native libraries among the shared results: taken if they are what a build here would leave."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvpack.build.model import BuildPlan, BuiltLibrary, BuiltWheel
from kvpack.build.pytools import File
from kvpack.build.root import write_layer
from kvpack.cli.context import Context, Options
from kvpack.cli.libraries import make_library, stored_library
from kvpack.cli.shared import SHARED_HIT, SharedResults
from kvpack.console import Console
from kvpack.errors import OfflineMissing
from kvpack.publish.shared import Result, Verdict, action_path, blob_path, signed
from kvpack.tools.files import sha256_of
from kvpack.tools.folder import FolderObjects
from kvpack.tools.signing import KeyFile, public_key
from kvpack.tools.stored import Headers, Objects
from tests.unit.cli.face import Place
from tests.unit.libraries import add, use
from tests.unit.publish.made import memory, must
from tests.unit.publish.signed import keypair, wheel

HEADERS = Headers("x", "y")
LIB = ("lib", "--arch", "x86_64", "--glibc", "2.36", "--cpu")


def library(*files: File) -> bytes:
    """A tar as a build leaves it."""
    out = io.BytesIO()
    write_layer(files or FILES, out)
    return out.getvalue()


FILES = (
    File("opt/lib/include", folder=0o755),
    File("opt/lib/include/x.h", b"int x;\n"),
    File("opt/lib/lib/libx.so", link="libx.so.1"),
    File("opt/lib/lib/libx.so.1", b"\x7fELF", 0o755),
)


@dataclass
class Machine:
    """A store, and a run on it."""

    place: Place
    plan: BuildPlan
    shared: SharedResults
    context: Context
    said: io.StringIO

    def builds(self, data: bytes | None = None) -> BuiltLibrary:
        """As after a build here."""
        data, store = data or library(), self.context.store
        sha256 = store.add_bytes(data)
        made = {"file": self.plan.tar, "sha256": sha256, "size": len(data)}
        record = {"key": self.plan.key, "action": self.plan.action, "made": 7, "seconds": 2.5,
                  "root": "r", "builder": "https://ci.example/a", "library": made}  # fmt: skip
        store.write_record("actions", self.plan.key, record)
        built = stored_library(self.context, self.plan)
        assert built is not None
        return built

    def makes(self) -> BuiltLibrary:
        return make_library(self.context, self.plan, None)

    def builds_itself(self) -> None:
        """Its source is nowhere: a build that is tried ends so."""
        with pytest.raises(OfflineMissing):
            self.makes()


@dataclass
class Team:
    """Machines on one storage, whose readers know one public key."""

    place: Place
    objects: Objects = field(default_factory=memory)

    def __post_init__(self) -> None:
        add(self.place.root)
        use(self.place.tiny, "lib")
        (self.plan,) = self.place.plan().libraries
        self.private, self.public = keypair(self.place.folder, "team")
        self.foreign, _ = keypair(self.place.folder, "foreign")

    def machine(
        self, name: str, *, write: bool = True, key: Path | None = None, demand: bool = False
    ) -> Machine:
        said = io.StringIO()
        options = Options(root=self.place.root, store=self.place.folder / name, offline=True)
        context = Context(options, Console(err=said))
        keys = (public_key(self.public),) if demand else ()
        signer = KeyFile(key) if key else None
        shared = SharedResults(context, self.objects, write=write, keys=keys, signer=signer)
        context.shared = shared
        return Machine(self.place, self.plan, shared, context, said)

    def gives(self, name: str = "a", key: Path | None = None, data: bytes | None = None) -> str:
        one = self.machine(name, key=key)
        built = one.builds(data)
        assert one.makes().sha256 == built.sha256
        return built.sha256

    @property
    def record(self) -> Result:
        return Result.model_validate_json(must(self.objects, action_path(self.plan.key)))

    def put(self, record: Result | bytes) -> None:
        text = record if isinstance(record, bytes) else record.text()
        self.objects.overwrite(action_path(self.plan.key), text, HEADERS)

    def put_blob(self, data: bytes) -> None:
        """Other bytes, with a record that fits them."""
        sha256 = sha256_of(data)
        self.objects.overwrite(blob_path(sha256), data, HEADERS)
        self.put(self.record.model_copy(update={"sha256": sha256, "size": len(data)}))


@pytest.fixture
def team(place: Place) -> Team:
    return Team(place)


def test_a_machine_without_the_library_takes_it(team: Team) -> None:
    sha256 = team.gives()
    second = team.machine("b", write=False)
    rows = [{"state": "build", "key": team.plan.key, "because": "never", "dirty": False}]
    second.shared.mark(rows)
    assert rows[0]["state"] == SHARED_HIT
    made = second.makes()
    assert (made.sha256, made.seconds, made.shared, made.hit) == (sha256, 2.5, True, True)
    record = second.context.store.read_record("actions", team.plan.key)
    assert record is not None
    assert (record["builder"], record["root"]) == ("https://ci.example/a", "r")
    assert list(second.context.store.blobs()) == [sha256]
    # Later it is in the store; whoever may only read, gives nothing.
    assert not team.machine("b", write=False).makes().shared


def test_build_takes_it_and_says_so(team: Team) -> None:
    folder = team.place.folder / "results"
    team.objects = FolderObjects(folder)
    sha256 = team.gives()
    words = ("--offline", "--json", "build", *LIB, "--shared", str(folder), "--out", "dist")
    answer = team.place.run(*words)
    assert answer.code == 0, answer.err
    (target,) = answer.json["targets"]
    assert (target["shared"], target["sha256"], target["audit"]) == (True, sha256, None)
    assert Path(target["wheel"]).read_bytes() == library()


def test_it_is_given_once_also_by_who_had_it(team: Team) -> None:
    one = team.machine("a")
    one.builds()
    for _ in range(3):  # three wheels that are built with it
        one.makes()
    assert one.said.getvalue().count("shared at") == 1
    assert team.record.kind == "library"
    assert team.record.verdict is None


def test_the_wheel_above_asks_for_it_before_it_builds(team: Team) -> None:
    """Its own result is not there; the library's is taken, then it lacks an engine."""
    folder = team.place.folder / "results"
    team.objects = FolderObjects(folder)
    team.gives()
    team.place.mirror()
    words = ("build", "tiny", "--python", "3.11", "--glibc", "2.36", "--arch", "x86_64", "--cpu",
             "--shared", str(folder))  # fmt: skip
    answer = team.place.run(*words)
    assert "no container engine" in answer.err
    assert stored_library(Context(Options(root=team.place.root, store=team.place.store.root),
                                  Console()), team.plan)  # fmt: skip


# -- what is refused ------------------------------------------------------------------------------


def other_bytes(it: Team) -> None:
    data = bytearray(must(it.objects, blob_path(it.record.sha256)))
    data[600] ^= 1
    it.objects.overwrite(blob_path(it.record.sha256), bytes(data), HEADERS)


def truncated(it: Team) -> None:
    data = must(it.objects, blob_path(it.record.sha256))
    it.objects.overwrite(blob_path(it.record.sha256), data[:-7], HEADERS)


def absent(it: Team) -> None:
    it.objects.delete(blob_path(it.record.sha256))


def another_key(it: Team) -> None:
    it.put(it.record.model_copy(update={"key": "0" * 64}))


def another_library(it: Team) -> None:
    name = it.plan.tar.replace("lib-", "evil-")
    it.put(it.record.model_copy(update={"file": name}))


def a_wheel_in_its_place(it: Team) -> None:
    verdict = Verdict(name="n", report={})
    it.put(it.record.model_copy(update={"result_schema": 1, "verdict": verdict}))


def a_verdict_of_its_own(it: Team) -> None:
    document = json.loads(it.record.text()) | {"verdict": {"name": "n", "report": {}}}
    it.put(json.dumps(document).encode())


def outside(it: Team) -> None:
    """What else no library is: tests/unit/build/test_library_form.py."""
    it.put_blob(library(*FILES, File("usr/bin/gcc", b"evil", 0o755)))


POISONS: dict[Callable[[Team], None], str] = {
    other_bytes: "its library has the sha256",
    truncated: "bytes, its record says",
    absent: "its library is not there",
    another_key: "is that of the key 000000000000",
    another_library: "which is no library of this target",
    a_wheel_in_its_place: "which is no library of this target",
    a_verdict_of_its_own: "cannot be read",
    outside: "lies outside of /opt/lib",
}


@pytest.mark.parametrize("poison", POISONS, ids=lambda one: one.__name__)
def test_a_poisoned_library_is_told_not_used_and_mended(
    team: Team, poison: Callable[[Team], None]
) -> None:
    sha256 = team.gives()
    poison(team)
    one = team.machine("b")
    one.builds_itself()
    assert POISONS[poison] in one.said.getvalue()
    assert stored_library(one.context, team.plan) is None
    one.builds()
    assert one.makes().sha256 == sha256
    last = team.machine("c")
    assert last.makes().sha256 == sha256
    assert "is not used" not in last.said.getvalue()


def unsigned(it: Team) -> None:
    it.put(it.record.model_copy(update={"envelope": None}))


def signed_by_another_key(it: Team) -> None:
    it.put(signed(it.record.model_copy(update={"envelope": None}), KeyFile(it.foreign)))


def true_form_and_false_code(it: Team) -> None:
    """The signature of the true one stands beside it: no digest of the tar tells."""
    files = (*FILES[:-1], File("opt/lib/lib/libx.so.1", b"\x7fELF evil", 0o755))
    it.put_blob(library(*files))


FORGERIES: dict[Callable[[Team], None], str] = {
    unsigned: "its record is unsigned, and a signature is demanded",
    signed_by_another_key: "no demanded key signed its record",
    true_form_and_false_code: "its signature is that of another record",
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda one: one.__name__)
def test_who_writes_without_the_key_is_found_out(team: Team, forge: Callable[[Team], None]) -> None:
    sha256 = team.gives(key=team.private)
    assert team.machine("good", demand=True).makes().sha256 == sha256
    forge(team)
    assert team.machine("fooled", write=False).makes().shared  # the harm that only a key prevents
    one = team.machine("b", key=team.private, demand=True)
    one.builds_itself()
    assert FORGERIES[forge] in one.said.getvalue()
    # A machine that has the key, and the library, mends it for everybody.
    mends = team.machine("c", key=team.private, demand=True)
    mends.builds()
    mends.makes()
    assert "it is replaced" in mends.said.getvalue()
    assert team.machine("d", demand=True).makes().sha256 == sha256


def test_what_was_not_built_here_gets_no_signature(team: Team) -> None:
    team.gives()
    one = team.machine("b", key=team.private)
    one.makes()
    team.machine("b", key=team.private).makes()
    assert team.record.envelope is None


@pytest.mark.parametrize("demand", [True, False])
def test_a_wheel_over_a_foreign_library_gets_no_signature(team: Team, *, demand: bool) -> None:
    """Unless its signature was demanded: else whoever put it there would get one for the wheel."""
    team.gives(key=team.private)
    one = team.machine("b", key=team.private, demand=demand)
    assert one.makes().shared
    plan = team.place.plan()
    wheel_here = wheel(team.place.folder / "built", plan)
    sha256 = one.context.store.add_file(wheel_here)
    built = BuiltWheel(
        key=plan.key, file=wheel_here.name, sha256=sha256, size=wheel_here.stat().st_size,
        seconds=1, hit=False,
    )  # fmt: skip
    one.context.store.write_record("actions", plan.key, {"made": 1})
    assert one.shared.give(plan, built, {}) is False
    assert (team.objects.head(action_path(plan.key)) is not None) == demand
    told = "the native library lib 2.0 debian-bookworm-x86_64-cpu was not built here, nor signed"
    assert (told in one.said.getvalue()) != demand


def test_of_two_machines_the_first_ones_library_counts(team: Team) -> None:
    """Their bytes differ; the wheels of both shall be built with the same."""
    late = team.machine("late")
    other = library(*FILES, File("opt/lib/share/when", b"later"))
    first = team.gives()
    late.builds(other)
    late.context.store.write_record("actions", "x" * 64, {})
    built = stored_library(late.context, team.plan)
    assert built is not None
    fresh = BuiltLibrary(**{**vars(built), "hit": False})
    assert late.shared.give_library(team.plan, fresh) is True
    taken = late.shared.take_library(team.plan)
    assert taken is not None
    assert taken.sha256 == first
    assert "its library is taken" in late.said.getvalue()


def test_records_of_wheels_are_what_they_were() -> None:
    """Signatures are over their digest."""
    made = Result(
        key="a" * 64, file="x.whl", sha256="b" * 64, size=3, seconds=2.5, made=7, root="r",
        verdict=Verdict(name="n", report={"passed": True}),
    )  # fmt: skip
    assert made.digest() == "9b1946f6cade2c8fb93687abd90318617c486aae0683233dffbd1d3363ae205e"
    with pytest.raises(ValueError, match="schema 1 is of a wheel, with a verdict"):
        Result.model_validate(json.loads(made.text()) | {"verdict": None})


def test_a_storage_that_fails_is_left_out(team: Team) -> None:
    team.gives()
    one = team.machine("b")
    one.shared._silent = True  # as after a failure
    one.builds_itself()
