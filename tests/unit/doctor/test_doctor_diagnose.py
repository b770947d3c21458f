"""The tables, the ranking, the commands, and what is said of what was not looked at."""

import shlex

import pytest
from pydantic import ValidationError

from kvpack.doctor import mends
from kvpack.doctor.diagnose import CHECKS, diagnose
from kvpack.doctor.model import Diagnosis, Finding, ranked
from kvpack.doctor.rules import Rules, holds, load_rules
from tests.unit.doctor.patients import (
    CU13,
    FAMILIES,
    PYTHON,
    dist,
    environment,
    h200,
    mi300,
    patient,
    plain,
)


def finding(severity: str, check: str, place: str = "x") -> Finding:
    return Finding.model_validate(
        {"check": check, "severity": severity, "place": place, "message": "m"}
    )


# -- tables ----------------------------------------------------------------------------------------


def test_the_rules_are_sound() -> None:
    rules = load_rules()
    names = {family.name for family in FAMILIES.family}
    assert set(rules.rdma) <= names
    assert {bug.family for bug in rules.bug} <= names
    for bug in rules.bug:
        assert set(bug.members) <= set(
            next(f for f in FAMILIES.family if f.name == bug.family).names
        )
        assert not holds(bug.versions, bug.upgrade), f"{bug.check} is not mended by its upgrade"
    channels = [entry.channel for entry in rules.ionic]
    assert len(channels) == len(set(channels))


@pytest.mark.parametrize(
    "version", ["0.3.10.post2", "0.3.11", "0.3.11.post1", "0.3.13", "0.3.14+x"]
)
def test_every_mooncake_has_one_rule_for_peermem(version: str) -> None:
    assert [holds(rule.versions, version) for rule in load_rules().peermem].count(True) == 1


@pytest.mark.parametrize(
    ("versions", "version", "inside"),
    [
        (">=0.3.11,<0.3.14", "0.3.13.post1", True),
        (">=0.3.11,<0.3.14", "0.3.13.post1+kvp.1", True),
        (">=0.3.11,<0.3.14", "0.3.14", False),
        ("==0.3.11", "0.3.11.post1", False),
        (">=1.0", "1.1.0rc1", True),
        (">=1.0", "unknown", False),
    ],
)
def test_holds(versions: str, version: str, inside: bool) -> None:
    assert holds(versions, version) is inside


@pytest.mark.parametrize("key", ["peermem", "bug", "torch-minors"])
def test_ranges_are_checked(key: str) -> None:
    content = load_rules().as_json()
    rows = content[key]
    assert isinstance(rows, list)
    rows[0]["versions"] = "newest"
    with pytest.raises(ValidationError):
        Rules.model_validate(content)


# -- ranking ---------------------------------------------------------------------------------------


def test_errors_come_first_and_nothing_twice() -> None:
    given = [finding("note", "a"), finding("error", "z"), finding("warning", "b"),
             finding("error", "c"), finding("error", "z")]  # fmt: skip
    assert [one.check for one in ranked(given)] == ["c", "z", "b", "a"]


@pytest.mark.parametrize(
    ("severities", "healthy"),
    [([], True), (["note"], True), (["note", "warning"], False), (["error"], False)],
)
def test_notes_are_healthy(severities: list[str], healthy: bool) -> None:
    diagnosis = Diagnosis(findings=tuple(finding(one, one) for one in severities))
    assert diagnosis.healthy is healthy
    assert diagnosis.counts == {k: severities.count(k) for k in ("error", "warning", "note")}


# -- commands --------------------------------------------------------------------------------------


def test_commands_of_both_tools_do_the_same() -> None:
    found = mends.packages(
        "/a b/python", remove=["y", "x"], add=["x==1"], again=["z @ file:///z.whl"]
    )
    assert [one.tool for one in found] == ["pip"] * 3 + ["uv"] * 3
    words = [shlex.split(one.command) for one in found]
    assert words == [
        ["/a b/python", "-m", "pip", "uninstall", "-y", "x", "y"],
        ["/a b/python", "-m", "pip", "install", "--no-deps", "x==1"],
        ["/a b/python", "-m", "pip", "install", "--no-deps", "--force-reinstall",
         "z @ file:///z.whl"],
        ["uv", "pip", "uninstall", "--python", "/a b/python", "x", "y"],
        ["uv", "pip", "install", "--python", "/a b/python", "--no-deps", "x==1"],
        ["uv", "pip", "install", "--python", "/a b/python", "--no-deps",
         "--reinstall-package", "z", "z @ file:///z.whl"],
    ]  # fmt: skip


@pytest.mark.parametrize("spec", ["x==1", "x @ file:///x-1.whl", "x<=2", "x>=2,<3", "x"])
def test_name_of(spec: str) -> None:
    assert mends.name_of(spec) == "x"


# -- all of it -------------------------------------------------------------------------------------


def test_one_right_set_on_a_plain_container_has_nothing() -> None:
    found = environment(
        "nixl==1.5.1", "nixl-cu13==1.5.1", "mooncake-transfer-engine-cuda13==0.3.14"
    )
    diagnosis = diagnose(patient(found, plain()))
    assert diagnosis.findings == ()
    assert [line.split(":")[0] for line in diagnosis.not_checked] == ["GPU", "RDMA"]
    assert diagnosis.looked_at[-1].startswith("for cuda13: ")


def test_an_empty_environment_on_bare_metal_has_nothing() -> None:
    for machine in (h200(memlock=65536, modules=()), mi300(memlock=65536, ionic_module="1")):
        found = diagnose(patient(environment(), machine)).findings
        assert [
            one for one in found if one.severity != "note" and one.check != "ionic-channel"
        ] == []


def test_what_could_not_be_checked_is_said() -> None:
    machine = h200(modules=None, open_driver=None, libraries=None)
    found = environment(dist("x", record="absent"), "nixl-cu13", hashed=False)
    said = diagnose(patient(found, machine)).not_checked
    for start in ("host libraries", "kernel modules", "whether NVIDIA", "contents", "files of x"):
        assert any(line.startswith(start) for line in said), start


def test_other_findings_are_ranked_among_the_rest() -> None:
    found = environment("nixl-cu13==1.5.1", torch=CU13)
    diagnosis = diagnose(patient(found), [finding("error", "aaa"), finding("note", "aaa")])
    assert [one.check for one in diagnosis.findings] == ["aaa", "dispatcher-missing", "aaa"]


def test_every_check_says_where_its_rule_comes_from() -> None:
    assert len(CHECKS) == len(set(CHECKS))
    assert [check.__name__ for check in CHECKS if not check.__doc__] == []


def test_every_command_of_pip_names_the_environment() -> None:
    found = environment("nixl-cu13==1.5.1")
    for mend in diagnose(patient(found)).findings[0].mend:
        assert PYTHON in mend.command
