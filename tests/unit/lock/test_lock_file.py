"""lock/*.toml: one text per lock, and every way in which a text is no lock."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvpack.errors import LockInvalid, LockMissing
from kvpack.lock.file import (
    content_digest,
    dump,
    load_toml,
    parse,
    plain,
    read_lock,
    seal,
    write_lock,
)
from kvpack.lock.model import Lock
from tests.unit.catalogues import REPOSITORY, lock_of, recipe_of, text_of

PLACE = "lock/tiny.toml"


@pytest.fixture(scope="module")
def lock() -> Lock:
    return lock_of(recipe_of())


def refused(data: bytes) -> LockInvalid:
    with pytest.raises(LockInvalid) as caught:
        parse(data, PLACE)
    assert "kvpack lock tiny" in caught.value.hint
    assert "git checkout lock/tiny.toml" in caught.value.hint
    assert caught.value.cause
    return caught.value


def test_a_lock_survives_its_text(lock: Lock) -> None:
    text = dump(lock)
    assert parse(text.encode(), PLACE) == lock
    assert dump(parse(text.encode(), PLACE)) == text


@pytest.mark.parametrize("path", sorted((REPOSITORY / "lock").glob("*.toml")), ids=lambda p: p.stem)
def test_the_committed_locks_are_what_would_be_written(path: Path) -> None:
    data = path.read_bytes()
    lock = parse(data, path.name)
    assert dump(lock).encode() == data
    assert not write_lock(path, lock)


def test_one_input_is_one_line(lock: Lock) -> None:
    lines = dump(lock).splitlines()
    for wheel in lock.wheels:
        assert sum(f'sha256 = "{wheel.sha256}"' in line for line in lines) == 1
    debs = [deb for root in lock.root for deb in root.packages]
    assert sum('file = "' not in line and "pool/" in line for line in lines) == len(debs)


def test_the_digest_is_that_of_the_content_alone(lock: Lock) -> None:
    assert lock.digest == content_digest(plain(lock))
    assert seal(lock.model_copy(update={"digest": "sha256:" + "0" * 64})) == lock


def test_strings_of_every_kind_survive(lock: Lock) -> None:
    name = 'quote " backslash \\ tab \t newline \n delete \x7f é 漢 😀'
    changed = seal(lock.model_copy(update={"incomplete": (name,)}))
    assert parse(text_of(changed), PLACE).incomplete == (name,)
    assert "\\u0009" in dump(changed)


def answered(read: Callable[[str], Any], text: str) -> object:
    try:
        return read(text)
    except ValueError as error:
        return repr(error)


def test_what_was_dumped_is_not_left_to_tomllib(
    lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain(lock)
    monkeypatch.delattr(tomllib, "loads")
    assert load_toml(dump(lock)) == expected


SMALL = r"""# a comment

schema = 1
digest = "quote \" backslash \\ { a = 1 }, [[x]] \u0009 \u007f é"
incomplete = []
wheels = [
  { file = "a, b = 1", size = 10, from-recipe = true },
  { file = "b" },
]

[[source]]
version = "1"
requires = ["a"]

[[source]]
version = "2"
requires = [
  "a",
  "b",
]

[[closure]]
files = ["c"]
"""
"""Every form that ``dump`` writes."""
PIECES = (
    *('"', "\\", "\\u0000", "\\ud800", "\\n", "\n", "\r", ",", " = ", "[", "]", "{ ", "é", "#"),
    *(", a = 1", ',"a":1', "null", "-1", "01", "1.5", "[[source]]\n", "a = 1\n", "a = {}\n"),
)


def test_any_other_text_is_read_as_tomllib_reads_it() -> None:
    """Each line twice, left out, or after the next; and pieces of TOML and of JSON in between."""
    lines = SMALL.splitlines(keepends=True)
    edited = [
        "".join([*lines[:index], *between, *lines[index + 2 :]])
        for index in range(len(lines) - 1)
        for one, two in [lines[index : index + 2]]
        for between in ((one, two), (one, one, two), (two,), (two, one))
    ]
    places = range(0, len(SMALL), 3)
    edited += [SMALL[:place] + piece + SMALL[place:] for place in places for piece in PIECES]
    for text in edited:
        assert answered(load_toml, text) == answered(tomllib.loads, text)


def test_a_lock_edited_by_hand(lock: Lock) -> None:
    error = refused(text_of(lock).replace(b'"1:1.0-1"', b'"1:1.0-2"', 1))
    assert error.what == "lock/tiny.toml contradicts itself"
    assert "edited by hand" in error.cause
    (fault,) = error.faults
    assert fault.place == "lock/tiny.toml: digest"
    assert lock.digest in fault.message


def test_comments_and_spaces_are_not_content(lock: Lock) -> None:
    data = text_of(lock).replace(b"schema = 1", b"schema   =  1 # reviewed\n")
    assert parse(data, PLACE) == lock


def test_a_closure_that_names_a_wheel_that_is_not_there(lock: Lock) -> None:
    closure = lock.closure[1].model_copy(update={"files": ("gone-1.0-py3-none-any.whl",)})
    other = seal(lock.model_copy(update={"closure": (lock.closure[0], closure)}))
    error = refused(text_of(other))
    assert [(fault.place, fault.message) for fault in error.faults] == [
        (
            "lock/tiny.toml: closure[1].files",
            "no wheel 'gone-1.0-py3-none-any.whl' in [[wheels]]",
        )
    ]


def test_every_fault_at_once(lock: Lock) -> None:
    wheel = lock.wheels[0]
    data = text_of(lock).replace(wheel.sha256.encode(), b"abc").replace(b"size = 1234", b"size = 0")
    data = data.replace(b"[[closure]]", b'[[closure]]\nusse = "x"', 1)
    found = {fault.place.removeprefix("lock/tiny.toml: ") for fault in refused(data).faults}
    assert found == {"wheels[0].sha256", "source[0].size", "source[1].size", "closure[0].usse"}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "it is no lock"),
        (b"schema = 1\n<<<<<<< ours\nrecipe = 'a'\n=======\n", "a merge left its conflict markers"),
        (b"\x00\x01\x02", "it is damaged"),
        (b"\xff", "it is damaged"),
        (b"a = " + b"[" * 5000, "it is damaged"),
    ],
    ids=["empty", "merge", "binary", "latin", "deep"],
)
def test_what_is_no_lock(data: bytes, cause: str) -> None:
    error = refused(data)
    assert error.cause.startswith(cause)
    assert error.faults


def test_a_newer_schema_is_named(lock: Lock) -> None:
    error = refused(text_of(lock).replace(b"schema = 1", b"schema = 2"))
    assert ("lock/tiny.toml: schema", "known here: 1") in {(f.place, f.hint) for f in error.faults}


def test_no_lock(tmp_path: Path) -> None:
    with pytest.raises(LockMissing, match=r"there is no lock/tiny\.toml") as caught:
        read_lock(tmp_path / "tiny.toml", PLACE)
    assert caught.value.hint == "kvpack lock tiny"


def test_the_lock_of_another_recipe(tmp_path: Path, lock: Lock) -> None:
    path = tmp_path / "other.toml"
    write_lock(path, lock)
    with pytest.raises(LockInvalid, match="is the lock of recipe 'tiny'") as caught:
        read_lock(path, "lock/other.toml")
    assert caught.value.hint == "kvpack lock other"


def test_writing_says_whether_it_changed_anything(tmp_path: Path, lock: Lock) -> None:
    path = tmp_path / "lock" / "tiny.toml"
    assert write_lock(path, lock)
    before = path.stat().st_mtime_ns
    assert not write_lock(path, lock)
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"\xff no UTF-8")
    assert write_lock(path, lock)
    assert path.read_bytes() == text_of(lock)
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.toml"]


def test_no_host_is_in_a_lock(lock: Lock) -> None:
    assert "://" not in dump(lock)
