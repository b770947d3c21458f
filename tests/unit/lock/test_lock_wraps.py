"""Subprojects of meson: the archives that their .wrap files name are locked inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kvpack.errors import LockDrift, ResolutionFailed
from kvpack.lock.check import check
from kvpack.lock.diff import differences
from kvpack.lock.model import Lock
from kvpack.lock.sdist import Sdist
from kvpack.lock.source import LockedWrap
from kvpack.lock.wraps import locked_wraps
from kvpack.recipe.model import Recipe
from kvpack.tools.files import sha256_of
from tests.unit.catalogues import PATCH, ROOTS, TINY, lock_of, recipe_of
from tests.unit.lock.outside import Outside

A, B = "a" * 64, "b" * 64
FLOW = f"""
[wrap-file]
directory = flow-3.1
source_url = https://files.example/v3.1.tar.gz
source_filename = flow-3.1.tar.gz
source_hash = {A.upper()}

[provide]
flow = flow_dep
"""
LOGS = f"""
[wrap-file]
directory = logs-1
source_url = https://files.example/logs%20x.tar.gz
source_fallback_url = https://mirror.example/logs.tar.gz
source_filename = logs-1.tar.gz
source_hash = {A}
patch_filename = logs_1-2_patch.zip
patch_url = https://wraps.example/logs_1-2/get_patch
patch_hash = {B}
"""
GIT = "[wrap-git]\nurl = https://git.example/x.git\nrevision = v1\n"
LOCAL = "[wrap-file]\nsource_filename = own.tar.gz\npatch_directory = own\n"
TEXTS = {"flow": FLOW, "logs": LOGS, "far": GIT, "own": LOCAL}


def read(*patterns: str, **texts: str) -> tuple[tuple[LockedWrap, ...], list[str]]:
    given = {name: text.encode() for name, text in {**TEXTS, **texts}.items()}
    return locked_wraps("demo-1.0.tar.gz", given, patterns)


def test_an_archive_and_its_patch() -> None:
    found, notes = read("logs", "flow")
    assert notes == []
    assert [one.as_json() for one in found] == [
        {"name": "flow", "file": "flow-3.1.tar.gz", "url": "https://files.example/v3.1.tar.gz",
         "mirrors": [], "sha256": A},
        {"name": "logs", "file": "logs-1.tar.gz", "url": "https://files.example/logs%20x.tar.gz",
         "mirrors": ["https://mirror.example/logs.tar.gz"], "sha256": A},
        {"name": "logs", "file": "logs_1-2_patch.zip", "mirrors": [], "sha256": B,
         "url": "https://wraps.example/logs_1-2/get_patch"},
    ]  # fmt: skip


def test_a_glob_takes_what_a_lock_can_hold_and_tells_the_rest() -> None:
    found, notes = read("*")
    assert {one.name for one in found} == {"flow", "logs"}
    (note,) = notes
    assert note.startswith("subprojects/far.wrap is not locked: it is a [wrap-git]")
    assert read() == ((), [])


@pytest.mark.parametrize(
    ("patterns", "texts", "place", "message"),
    [
        (["flows"], {}, "build.wraps: flows", "demo-1.0.tar.gz has no such subproject"),
        (["x*"], {}, "build.wraps: x*", "has no such subproject"),
        (["far"], {}, "subprojects/far.wrap", "only [wrap-file] names its bytes"),
        (["x"], {"x": "a = 1"}, "subprojects/x.wrap", "cannot be read"),
        (["x"], {"x": "[other]\na = 1"}, "subprojects/x.wrap", "it is a [none]"),
        (["x"], {"x": FLOW.replace("source_hash", "hash")}, "subprojects/x.wrap",
         "it has no source_hash"),
        (["x"], {"x": FLOW.replace(A.upper(), "1234")}, "subprojects/x.wrap",
         "source_hash is '1234'"),
        (["x"], {"x": FLOW.replace("flow-3.1.tar.gz", "../flow")}, "subprojects/x.wrap",
         "source_filename is '../flow'"),
        (["x"], {"x": FLOW.replace("https:", "file:")}, "subprojects/x.wrap",
         "source_url is 'file://files.example/v3.1.tar.gz'"),
    ],
)  # fmt: skip
def test_what_cannot_be_locked(
    patterns: list[str], texts: Mapping[str, str], place: str, message: str
) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        read(*patterns, **texts)
    (fault,) = caught.value.faults
    assert fault.place == place
    assert message in fault.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        read("far", "flows", "x", x="?")
    assert len(caught.value.faults) == 3
    assert "flow" in caught.value.faults[0].hint


# -- in a lock -------------------------------------------------------------------------------------

ASKS = TINY.replace('debian = ["cmake"]', 'debian = ["cmake"]\nwraps = ["flow"]')


@dataclass
class WithWraps(Outside):
    wraps: dict[str, Any] = field(default_factory=lambda: {"flow": FLOW.encode()})

    def sdist(self, project: str, version: str) -> Sdist:
        return replace(super().sdist(project, version), wraps=self.wraps)


def checked(made: Recipe, lock: Lock) -> None:
    check(made, ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(PATCH))


def test_a_lock_holds_them_and_knows_when_others_are_wanted() -> None:
    made = recipe_of(ASKS)
    lock = lock_of(made, WithWraps())
    assert [(one.wraps, [w.file for w in one.wrap]) for one in lock.source] == [  # type: ignore[union-attr]
        (("flow",), ["flow-3.1.tar.gz"])
    ] * 2
    checked(made, lock)
    with pytest.raises(LockDrift) as caught:
        checked(recipe_of(TINY), lock)
    assert "the subprojects ['flow'] are locked, build.wraps is []" in str(caught.value.faults)
    again = lock_of(recipe_of(TINY), WithWraps(), old=lock)
    gone = [one for one in differences(lock, again) if one.kind == "subproject"]
    assert [(one.name, one.before, one.after) for one in gone] == [
        ("1.0 flow-3.1.tar.gz", A[:12], ""), ("2.0rc1 flow-3.1.tar.gz", A[:12], ""),
    ]  # fmt: skip


def test_a_lock_without_them_is_read_again() -> None:
    old = lock_of(recipe_of(TINY), WithWraps())
    with pytest.raises(LockDrift):
        checked(recipe_of(ASKS), old)
    outside = WithWraps()
    assert lock_of(recipe_of(ASKS), outside, old=old) == lock_of(recipe_of(ASKS), WithWraps())
    assert "sdist tiny 1.0" in outside.asked
