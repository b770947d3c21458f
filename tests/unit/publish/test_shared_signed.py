"""Shared results whose readers demand a signature: writing there without the key is found out."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.wheel import inspect_wheel
from kvpack.build.model import BuildPlan, BuiltWheel
from kvpack.cli.judge import policy_of, remembered, verdict_name
from kvpack.cli.make import stored
from kvpack.cli.shared import SHARED_HIT, SharedResults
from kvpack.publish.attest import attest
from kvpack.publish.envelope import dump
from kvpack.publish.shared import Result, Verdict, action_path, blob_path, signed
from kvpack.tools.files import sha256_of
from kvpack.tools.folder import FolderObjects
from kvpack.tools.signing import KeyFile, PublicKey, public_key
from kvpack.tools.stored import Objects
from tests.unit.cli.face import SELECTED, Place
from tests.unit.publish.made import memory, must
from tests.unit.publish.signed import keypair, wheel
from tests.unit.publish.test_shared import Machine, overwrite, row


@dataclass
class Team:
    """Machines on one storage, whose readers know one public key."""

    place: Place
    objects: Objects = field(default_factory=memory)
    planned: list[BuildPlan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.private, self.public = keypair(self.place.folder, "team")
        self.foreign, _ = keypair(self.place.folder, "foreign")
        self.planned.append(self.place.plan())

    @property
    def plan(self) -> BuildPlan:
        return self.planned[0]

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        return (public_key(self.public),)

    def machine(self, name: str) -> Machine:
        return Machine(self.place, name, self.objects, planned=self.planned)

    def shared(
        self, machine: Machine, *, write: bool = False, key: Path | None = None, demand: bool = True
    ) -> SharedResults:
        return SharedResults(
            machine.context, self.objects, write=write, keys=self.keys if demand else (),
            signer=KeyFile(key) if key else None,
        )  # fmt: skip

    def gives(self, name: str, key: Path | None, **changes: str) -> BuiltWheel:
        """A machine that builds and shares, signed by a key or by none; it demands nothing."""
        one = self.machine(name)
        built, verdict = one.builds(**changes)
        shared = self.shared(one, write=True, key=key, demand=False)
        assert shared.give(self.plan, built, verdict) is False
        return built

    def record(self) -> Result:
        return Result.model_validate_json(must(self.objects, action_path(self.plan.key)))

    def put(self, result: Result) -> None:
        overwrite(self.objects, action_path(self.plan.key), result.text())


@pytest.fixture
def team(place: Place) -> Team:
    return Team(place)


def test_what_a_known_key_signed_is_taken(team: Team) -> None:
    built = team.gives("a", team.private)
    one = team.machine("b")
    taken = team.shared(one).take(team.plan)
    assert taken is not None
    assert taken.sha256 == built.sha256
    assert one.said.getvalue().count("warning") == 0
    rows = [row(team.plan), *({**row(team.plan), "key": f"{n:064x}"} for n in range(20))]
    for count in (1, 21):  # asked one by one, and listed
        some = [dict(one) for one in rows[:count]]
        team.shared(one).mark(some)
        assert [one["state"] for one in some] == [SHARED_HIT, *["build"] * (count - 1)]
    # Whoever demands nothing takes it, too.
    other = team.machine("c")
    assert team.shared(other, demand=False).take(team.plan) is not None


def evil(it: Team) -> Result:
    """A true action and false code, with a record and a verdict that fit: no digest tells."""
    path = wheel(it.place.folder / "evil", it.plan, module="import os; os.system('evil')")
    data = path.read_bytes()
    overwrite(it.objects, blob_path(sha256_of(data)), data)
    facts, faults = inspect_wheel(path)
    assert facts is not None
    report = audit(facts, policy_of(it.plan), faults).as_json()
    verdict = Verdict(name=verdict_name(it.plan, sha256_of(data)), report=report)
    changes = {"sha256": sha256_of(data), "size": len(data), "verdict": verdict}
    return it.record().model_copy(update=changes)


def unsigned(it: Team) -> None:
    it.put(evil(it).model_copy(update={"envelope": None}))


def old_signature(it: Team) -> None:
    it.put(evil(it))


def another_key(it: Team) -> None:
    it.put(signed(evil(it), KeyFile(it.foreign)))


def another_key_under_the_right_name(it: Team) -> None:
    """The keyid is only a hint, so it may lie."""
    result = signed(evil(it), KeyFile(it.foreign))
    text = json.loads(str(result.envelope))
    text["signatures"][0]["keyid"] = KeyFile(it.private).keyid
    it.put(result.model_copy(update={"envelope": json.dumps(text)}))


def no_signatures(it: Team) -> None:
    result = evil(it)
    text = json.loads(str(signed(result, KeyFile(it.foreign)).envelope))
    it.put(result.model_copy(update={"envelope": json.dumps({**text, "signatures": []})}))


def no_envelope(it: Team) -> None:
    it.put(it.record().model_copy(update={"envelope": "{}"}))


def another_verdict(it: Team) -> None:
    """The wheel is the signed one; that it was run, and how, is not what was signed."""
    result = it.record()
    assert result.verdict is not None
    verdict = result.verdict.model_copy(update={"name": "forged"})
    it.put(result.model_copy(update={"verdict": verdict}))


def another_builder(it: Team) -> None:
    it.put(it.record().model_copy(update={"builder": "https://ci.example/more-trusted"}))


def provenance_in_its_place(it: Team) -> None:
    """The right key signed this wheel's provenance; that is no signature of a shared result."""
    result = it.record()
    path = wheel(it.place.folder / "again", it.plan)
    made = attest(path, it.plan.action, signer=KeyFile(it.private))
    it.put(result.model_copy(update={"envelope": dump(made.envelope).decode().strip()}))


FORGERIES: dict[Callable[[Team], None], str] = {
    unsigned: "its record is unsigned, and a signature is demanded",
    old_signature: "its signature is that of another record",
    another_key: "no demanded key signed its record",
    another_key_under_the_right_name: "no demanded key signed its record",
    no_signatures: "no demanded key signed its record; those that are there name none",
    no_envelope: "its signature cannot be read",
    another_verdict: "its signature is that of another record",
    another_builder: "its signature is that of another record",
    provenance_in_its_place: "its signature is that of another record",
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda one: one.__name__)
def test_who_writes_without_the_key_is_found_out(team: Team, forge: Callable[[Team], None]) -> None:
    built = team.gives("a", team.private)
    forge(team)
    if forge in {unsigned, old_signature, another_key}:  # the harm that only a key prevents
        fooled = team.machine("fooled")
        taken = team.shared(fooled, demand=False).take(team.plan)
        assert taken is not None
        assert taken.sha256 != built.sha256
    one = team.machine("b")
    shared = team.shared(one, write=True, key=team.private)
    rows = [row(team.plan)]
    shared.mark(rows)
    assert rows == [row(team.plan)]  # it has to be built, and the plan says so
    assert shared.take(team.plan) is None
    assert FORGERIES[forge] in one.said.getvalue()
    assert stored(one.context, team.plan) is None
    # It is built instead, and mended for everybody, since this machine has the key.
    made, verdict = one.builds()
    assert shared.give(team.plan, made, verdict) is False
    last = team.machine("c")
    taken = team.shared(last).take(team.plan)
    assert taken is not None
    assert taken.sha256 == made.sha256


def test_who_cannot_sign_rightly_does_not_stand_in_the_way(team: Team) -> None:
    for name, key in (("a", None), ("b", team.foreign)):
        one = team.machine(name)
        built, verdict = one.builds()
        shared = team.shared(one, write=True, key=key)
        assert shared.give(team.plan, built, verdict) is False
        assert "not shared" in one.said.getvalue()
    assert team.objects.head(action_path(team.plan.key)) is None


def test_what_was_not_built_here_is_not_signed(team: Team) -> None:
    """Else an unsigned, poisoned result would get a signature from the first that took it."""
    team.gives("a", None)
    unsigned(team)
    fooled = team.machine("fooled")
    assert team.shared(fooled, demand=False).take(team.plan) is not None
    here = stored(fooled.context, team.plan)
    assert here is not None
    verdict = remembered(fooled.context, team.plan, here.sha256)
    assert verdict is not None
    for demand in (False, True):
        before = must(team.objects, action_path(team.plan.key))
        shared = team.shared(fooled, write=True, key=team.private, demand=demand)
        assert shared.give(team.plan, here, verdict) is False
        assert must(team.objects, action_path(team.plan.key)) == before
    assert "it was not built here" in fooled.said.getvalue()


def test_a_machine_that_has_it_mends_what_is_unsigned(team: Team) -> None:
    one = team.machine("a")
    built, verdict = one.builds()
    hit = BuiltWheel(**{**vars(built), "hit": True})
    team.gives("b", None)
    team.shared(one, write=True, key=team.private).give(team.plan, hit, verdict)
    assert "it is replaced" in one.said.getvalue()
    assert team.shared(team.machine("c")).take(team.plan) is not None
    # A second time, nothing is to be done.
    before = must(team.objects, action_path(team.plan.key))
    team.shared(one, write=True, key=team.private).give(team.plan, hit, verdict)
    assert must(team.objects, action_path(team.plan.key)) == before
    assert one.said.getvalue().count("it is replaced") == 1


def test_the_first_of_two_writers_counts_only_if_it_signed(team: Team) -> None:
    """Their wheels differ; the first one's is unsigned."""
    one = team.machine("late")
    late, verdict = one.builds(module="# another time")
    shared = team.shared(one, write=True, key=team.private)
    assert shared.take(team.plan) is None  # nobody was first yet
    team.gives("a", None)
    assert shared.give(team.plan, late, verdict) is False  # one's own wheel is delivered


def test_commands_and_their_options(team: Team, place: Place) -> None:
    folder = place.folder / "results"
    team.objects = FolderObjects(folder)
    built = team.gives("a", team.private)
    (place.root / "team.pub").write_bytes(team.public.read_bytes())
    (place.root / "kvpack.toml").write_text(
        f'[shared]\nurl = "{folder.as_uri()}"\nkeys = ["team.pub"]\n'
    )
    select = (*SELECTED, "--cpu")
    (told,) = place.run("--json", "plan", *select).json["targets"]
    assert told["state"] == SHARED_HIT
    answer = place.run("--json", "build", *select, "--out", str(place.folder / "dist"))
    assert answer.code == 0, answer.err
    assert [one["sha256"] for one in answer.json["targets"]] == [built.sha256]
    assert "nothing is written to" in answer.err
    for words, code, part in (
        (("--shared-key", "absent.pub"), 88, "absent.pub cannot be read"),
        (("--shared-key", str(team.private)), 88, "holds a private key"),
        (("--shared", "none", "--shared-key", "x"), 2, "--shared-key is about shared results"),
    ):
        for command in ("build", "plan", "why"):
            refused = place.run(command, *select, *words)
            assert refused.code == code
            assert part in refused.err


def test_a_demand_of_the_configuration_holds_for_other_storages(team: Team, place: Place) -> None:
    """It would have to be built instead, which fails here: there is no engine."""
    folder = place.folder / "elsewhere"
    team.objects = FolderObjects(folder)
    team.gives("a", None)
    (place.root / "team.pub").write_bytes(team.public.read_bytes())
    url = (place.folder / "none").as_uri()
    place.mirror()
    with (place.root / "kvpack.toml").open("a") as stream:
        stream.write(f'[shared]\nurl = "{url}"\nkeys = ["team.pub"]\n')
    answer = place.run("build", *SELECTED, "--cpu", "--shared", str(folder))
    assert answer.code != 0
    assert "its record is unsigned, and a signature is demanded" in answer.err
