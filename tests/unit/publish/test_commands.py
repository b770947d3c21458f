"""The commands, on a tiny catalogue whose wheels were really audited."""

import json
from pathlib import Path

import pytest

from kvpack.tools.folder import FolderObjects
from tests.unit.cli.face import SELECTED, Answer, Place
from tests.unit.publish.dist import beside, deliver, plans_of
from tests.unit.publish.made import complete, listed


def build(place: Place, count: int = 9) -> list[Path]:
    """Deliver the wheels of the recipe's default targets, or of some."""
    plans = plans_of(place.root, place.store.root, "tiny")
    assert len(plans) > 1
    return [deliver(plan, place.root / "dist") for plan in plans[:count]]


def publish(place: Place, *more: str) -> Answer:
    return place.run("publish", "tiny", "--to", "out", *more)


def test_publish_list_show_and_again(place: Place) -> None:
    wheels = build(place)
    answer = publish(place, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["moved"]
    assert not found["release"]["partial"]
    assert {one["filename"] for one in found["release"]["wheels"]} == {w.name for w in wheels}
    objects = FolderObjects(place.root / "out")
    complete(objects)
    assert listed(objects) == {wheel.name for wheel in wheels}
    again = publish(place, "--json").json
    assert (again["moved"], again["new-objects"], again["pages"]) == (False, 0, 0)
    name = found["release"]["id"]
    (row,) = place.run("release", "list", "--at", "out", "--json").json["releases"]
    assert (row["id"], row["channels"]) == (name, "stable")
    assert wheels[0].name in place.run("release", "show", name, "--at", "out").out
    assert "the same wheels" in place.run("release", "diff", name, name, "--at", "out").out


def test_a_target_without_a_wheel_stops_everything(place: Place) -> None:
    build(place, 1)
    answer = publish(place)
    assert answer.code == 82
    assert "kvpack build tiny --version 1.0 --python" in answer.err
    assert "--cpu --out" in answer.err
    assert not (place.root / "out").exists()
    partial = publish(place, "--allow-partial", "--json").json["release"]
    assert partial["partial"]
    assert partial["promises"][0]["missing"]
    assert publish(place, *SELECTED[1:], "--json").json["release"]["partial"] is False


def test_terms_of_their_own_are_told_before_anything_is_written(place: Place) -> None:
    """As nixl 1.4 and newer have them."""
    plans = plans_of(place.root, place.store.root, "tiny")
    text = "@info/licenses/NVIDIA-proprietary-LICENSE.txt"
    wheels = [deliver(plan, place.root / "dist", more=text) for plan in plans[:1]]
    wheels += [deliver(plan, place.root / "dist") for plan in plans[1:]]
    err = publish(place).err
    assert err.count("NVIDIA-proprietary-LICENSE.txt; texts:") == 1
    assert f"warning: {wheels[0].name}: it is under terms of its own" in err
    assert err.index("of its own") < err.index("Writing")


def test_an_empty_folder_is_no_release(place: Place) -> None:
    (place.root / "dist").mkdir()
    assert publish(place, "--allow-partial").code == 82
    assert publish(place, "--from", "absent").code == 2


def spoil_wheel(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"!")


def spoil_action(wheel: Path) -> None:
    path = beside(wheel, ".action.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))


def spoil_report(wheel: Path) -> None:
    path = beside(wheel, ".audit.json")
    report = json.loads(path.read_text())
    bad = {"check": "floor", "severity": "error", "place": "x", "message": "m", "hint": ""}
    path.write_text(json.dumps({**report, "findings": [bad]}))


def cut_report(wheel: Path) -> None:
    beside(wheel, ".audit.json").write_text("{")


def drop_bill(wheel: Path) -> None:
    beside(wheel, ".cdx.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_wheel, "its audit report is about"),
        (spoil_action, "its action document does not have the key"),
        (spoil_report, "its audit report has 1 errors"),
        (cut_report, "no audit report"),
        (drop_bill, ".cdx.json is missing"),
    ],
)
def test_evidence_that_proves_nothing(place: Place, spoil: object, message: str) -> None:
    wheels = build(place)
    assert callable(spoil)
    spoil(wheels[0])
    for more in ([], ["--allow-partial"]):
        answer = publish(place, *more)
        assert answer.code == 82
        assert message in answer.err
    assert not (place.root / "out").exists()


def test_wheels_of_other_keys_are_passed_over(place: Place) -> None:
    wheels = build(place)
    report = json.loads(beside(wheels[0], ".audit.json").read_text())
    report["facts"] |= {"key": "0" * 64, "filename": "old-1.0-py3-none-any.whl"}
    (place.root / "dist" / "old-1.0-py3-none-any.whl.audit.json").write_text(json.dumps(report))
    answer = publish(place)
    assert answer.code == 0
    assert "not published: old-1.0-py3-none-any.whl" in answer.err


def test_mirrors_rollback_and_verify(place: Place) -> None:
    build(place)
    first = publish(place, *SELECTED[1:], "--mirror", "m1", "--json").json["release"]["id"]
    (place.root / "broken").write_text("a file, not a folder")
    answer = publish(place, "--mirror", "m1", "--mirror", "broken/m2")
    assert answer.code == 86
    assert "mirror m1: up to date" in answer.out
    assert "kvpack mirror sync" in answer.err
    assert place.run("mirror", "verify", "out", "m1").code == 0
    back = place.run("rollback", "stable", "--to", first, "--at", "out", "--mirror", "m1")
    assert back.code == 0
    assert back.out.startswith("- tiny-1.0")
    assert listed(FolderObjects(place.root / "m1")) == listed(FolderObjects(place.root / "out"))
    wheel = next((place.root / "m1" / "files").rglob("*.whl"))
    spoil_wheel(wheel)
    verdict = place.run("mirror", "verify", "out", "m1")
    assert verdict.code == 86
    assert "next: kvpack mirror sync out m1" in verdict.out
    assert place.run("mirror", "sync", "out", "m1").code == 0
    assert place.run("mirror", "verify", "out", "m1").code == 0


def test_retire_and_restore(place: Place) -> None:
    build(place)
    name = publish(place, "--json").json["release"]["id"]
    assert place.run("release", "retire", name, "--at", "out").code == 2
    words = (name, "--at", "out", "--channel", "stable")
    assert "- tiny-1.0" in place.run("release", "retire", *words, "--why", "leaks").out
    refused = publish(place)
    assert refused.code == 85
    assert "leaks" in refused.err
    assert "+ tiny-1.0" in place.run("release", "restore", *words).out


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("publish", "tiny", "--to", "ftp://x"), 2, "no object storage"),
        (("publish", "tiny", "--to", "out", "--channel", "../x"), 2, "no name for a channel"),
        (("publish", "tiny", "--to", "out", "--channel", "files"), 2, "its own objects"),
        (("publish", "tiny", "--to", "s3://b/p", "--offline"), 32, "--offline"),
        (("rollback", "stable", "--to", "x", "--at", "out"), 85, "no channel 'stable'"),
        (("release", "show", "x", "--at", "out"), 85, "no release 'x'"),
        (("release", "show", "--at", "out"), 2, "takes 1 ids"),
        (("mirror", "sync", "out"), 2, "a primary and a mirror"),
    ],
)
def test_bad_words(place: Place, words: tuple[str, ...], code: int, part: str) -> None:
    build(place)
    answer = place.run(*words)
    assert answer.code == code, answer.err
    assert part in answer.err
    assert "next:" in answer.err
