"""kvpack audit --recipe: proofs in the table and in JSON, profiles, the family, our own wheels."""

from pathlib import Path

import pytest

from kvpack.build.model import BuiltWheel
from kvpack.cli.context import Context, Options
from kvpack.cli.judge import judge, remembered, verdict_name
from kvpack.console import Console
from tests.unit.audit.elves import Elf
from tests.unit.audit.wheels import Wheel
from tests.unit.cli.face import Place

TABLES = """
[identity]
file = "tiny/master"
match = '(?P<version>\\d[\\w.]*) \\(git: (?P<commit>[0-9a-f]{7,40})\\)'

[[prove]]
id = "mnnvl"
summary = "multi-node NVLink"
file = "tiny/engine.so"
has-symbol = "Nvlink"
expect = true
profile = ["gb200"]
hint = "set the option mnnvl"

[[prove]]
id = "switch"
summary = "how it is switched"
file = "tiny/engine.so"
case = [{ value = "run-time", has-string = "SWITCH" }, { value = "never" }]
"""
NAME = "tiny-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
MNNVL = Elf(symbols=["_ZN5NvlinkE", "memcpy"], needed=["libcudart.so.12", "libc.so.6"])


def tiny_wheel(
    place: Place, engine: Elf, *, distribution: str = "tiny", key: str = "", name: str = NAME
) -> Path:
    stem = distribution.replace("-", "_")
    dist_info = f"{stem}-1.0.dist-info"
    extra = {f"{dist_info}/kvpack/key": key.encode()} if key else {}
    files = {"tiny/engine.so": bytes(engine), "tiny/master": b"1.0 (git: abcdef0)", **extra}
    return Wheel(
        filename=name.replace("tiny", stem, 1),
        dist_info=dist_info,
        metadata=f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 1.0\n",
        files={path: data for path, data in files.items() if "demo/" not in path},
    ).write(place.folder)


@pytest.fixture
def proved(place: Place) -> Place:
    place.tiny.recipe_file.write_text(place.tiny.recipe_file.read_text() + TABLES)
    place.tiny.edit('import = ["tiny"]', 'import = ["tiny"]\nhost-libraries = ["libcudart.so.*"]')
    place.tiny.edit('owns = ["tiny"]', 'owns = ["tiny", "demo"]')
    return place


def test_one_wheel_is_answered_at_the_top_level_too(proved: Place) -> None:
    wheel = str(tiny_wheel(proved, MNNVL))
    document = proved.run("audit", "--recipe", "tiny", wheel, "--json").json
    (row,) = document["wheels"]
    assert {key: document[key] for key in ("facts", "findings", "proofs")} == {
        key: row[key] for key in ("facts", "findings", "proofs")
    }
    snake = ("version", "commit", "cuda_major", "true_floor", "needed_from_host")
    assert [document["facts"][key] for key in snake] == [
        "1.0", "abcdef0", 12, "2.5", ["libcudart.so.12"],
    ]  # fmt: skip
    assert document["proofs"] == [
        {"id": "mnnvl", "holds": True, "value": None,
         "evidence": "tiny/engine.so has 1 symbol with Nvlink"},
        {"id": "switch", "holds": True, "value": "never",
         "evidence": "tiny/engine.so has no string 'SWITCH'"},
    ]  # fmt: skip
    assert document["exit-code"] == 0
    two = proved.run("audit", "--recipe", "tiny", wheel, wheel, "--json").json
    assert "facts" not in two
    assert len(two["wheels"]) == 2


def test_the_table_shows_proofs(proved: Place) -> None:
    out = proved.run("audit", "--recipe", "tiny", str(tiny_wheel(proved, Elf()))).out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "commit abcdef0" in lines
    assert "proof holds value evidence" in lines
    told = "shows no symbols: it has no dynamic symbol table"
    assert f"mnnvl unknown tiny/engine.so {told}" in lines
    assert "switch yes never tiny/engine.so has no string 'SWITCH'" in lines


def test_without_a_recipe_nothing_is_proved(proved: Place) -> None:
    document = proved.run("audit", str(tiny_wheel(proved, MNNVL)), "--json").json
    assert document["proofs"] == []
    assert (document["facts"]["commit"], document["facts"]["cuda_major"]) == (None, 12)


def test_a_profile_makes_a_foreign_wheel_fail(proved: Place) -> None:
    wheel = str(tiny_wheel(proved, Elf(symbols=["memcpy"])))
    assert proved.run("audit", "--recipe", "tiny", wheel).code == 0
    answer = proved.run("audit", "--recipe", "tiny", "--profile", "gb200", wheel)
    assert answer.code == 50
    assert "mnnvl: it does not hold, but the profile gb200 wants it" in answer.out
    assert "next, prove: set the option mnnvl" in answer.out
    good = str(tiny_wheel(proved, MNNVL))
    assert proved.run("audit", "--recipe", "tiny", "--profile", "gb200", good).code == 0


def test_our_own_wheel_must_show_it(proved: Place) -> None:
    wheel = tiny_wheel(proved, Elf(symbols=["memcpy"]), key="a" * 64)
    document = proved.run("audit", "--recipe", "tiny", str(wheel), "--json").json
    assert document["exit-code"] == 50
    assert [one["check"] for one in document["findings"] if one["severity"] == "error"] == ["prove"]


def test_a_relative_that_the_recipe_does_not_build_is_no_error(proved: Place) -> None:
    proved.tiny.edit('cpu = "tiny"', 'cpu = "nixl-cu12"')
    wheel = str(tiny_wheel(proved, MNNVL, distribution="nixl-rocm"))
    document = proved.run("audit", "--recipe", "tiny", wheel, "--json").json
    assert document["exit-code"] == 0
    assert {one["severity"] for one in document["findings"]} == {"note"}
    assert document["proofs"][0]["holds"] is True
    other = str(tiny_wheel(proved, MNNVL, distribution="somebody"))
    document = proved.run("audit", "--recipe", "tiny", other, "--json").json
    assert "distribution" in [one["check"] for one in document["findings"]]


@pytest.mark.parametrize(
    ("words", "what", "cause"),
    [
        (["--profile", "gb200"], "--profile gb200 needs --recipe", "[[prove]]"),
        (
            ["--recipe", "tiny", "--profile", "gb20"],
            "has no profile 'gb20'",
            "did you mean 'gb200'",
        ),
    ],
)
def test_a_profile_that_is_none(proved: Place, words: list[str], what: str, cause: str) -> None:
    answer = proved.run("audit", *words, str(tiny_wheel(proved, MNNVL)))
    assert answer.code == 2
    assert what in answer.err
    assert cause in answer.err


def test_a_build_is_judged_by_its_proofs(proved: Place) -> None:
    """After a build: it fails before anything of it is run, and the verdict says why."""
    plan, wheel = proved.plan(), tiny_wheel(proved, Elf(symbols=["memcpy"]), key="a" * 64)
    built = BuiltWheel(
        key=plan.key,
        file=wheel.name,
        sha256=proved.store.add_file(wheel),
        size=wheel.stat().st_size,
        seconds=1,
        hit=False,
    )
    context = Context(Options(root=proved.root, store=proved.store.root), Console())
    verdict = judge(context, plan, built)
    assert verdict["passed"] is False
    assert "prove" in [one["check"] for one in verdict["findings"] if one["severity"] == "error"]
    assert [one["holds"] for one in verdict["proofs"]] == [False, True]
    assert verdict["facts"]["commit"] == "abcdef0"
    assert remembered(context, plan, built.sha256) == verdict


def test_a_verdict_is_remembered_under_the_proofs(proved: Place) -> None:
    names = {verdict_name(proved.plan(), "0" * 64)}
    proved.tiny.edit('has-symbol = "Nvlink"', 'has-symbol = "NvlinkTransport"')
    names.add(verdict_name(proved.plan(), "0" * 64))
    proved.tiny.edit("expect = true", "expect = false")
    names.add(verdict_name(proved.plan(), "0" * 64))
    proved.tiny.edit("{7,40}", "{8,40}")
    names.add(verdict_name(proved.plan(), "0" * 64))
    assert len(names) == 4
