"""What must hold for every value, tried on generated ones. Derandomized: the same every time."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kvpack.build.stamp import stamp, write
from kvpack.errors import LockInvalid, TargetUnavailable
from kvpack.lock.diff import differences
from kvpack.lock.file import content_digest, dump, parse, plain, seal
from kvpack.lock.model import (
    Closure,
    Lock,
    LockedDeb,
    LockedRoot,
    LockedWheel,
)
from kvpack.lock.source import (
    LockedArchive,
    LockedGit,
    LockedPatch,
    LockedSource,
    LockedSubmodule,
    PendingArchive,
    PendingGit,
    PendingPatch,
)
from kvpack.names import Accelerator, Arch, version_key
from kvpack.recipe.expand import expand, matrix
from kvpack.recipe.model import EPOCH_MAX, EPOCH_MIN, Selection
from kvpack.recipe.roots import load_roots
from kvpack.tools.files import canonical_json
from tests.unit.catalogues import recipe_of

FAST = settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),  # they measure time
)  # fmt: skip

# -- locks ------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and bool(text)
)
names = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,4})?", fullmatch=True)
files = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+~!%-]{0,12}", fullmatch=True)
places = st.from_regex(r"[A-Za-z0-9][!-9;-\[\]-~é]{0,20}", fullmatch=True).filter(
    lambda place: ".." not in place.split("/")
)
digests = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
versions = st.from_regex(r"[1-9]\.[0-9](rc[1-9])?", fullmatch=True)
sizes = st.integers(1, 2**62)

wheels = st.builds(
    LockedWheel, file=files, project=names, version=texts, path=places, sha256=digests
)
debs = st.builds(LockedDeb, name=texts, version=texts, path=places, size=sizes, sha256=digests)
roots = st.builds(
    LockedRoot,
    id=texts,
    arch=st.sampled_from(Arch),
    include=st.lists(texts, max_size=3).map(tuple),
    packages=st.lists(debs, max_size=3).map(tuple),
    image=st.none() | texts,
)
commits = st.from_regex(r"[0-9a-f]{40}", fullmatch=True)
tags = st.from_regex(r"v[0-9]\.[0-9]{1,2}(\.post[0-9])?", fullmatch=True)
git_urls = st.from_regex(r"(https|ssh)://[a-z]{1,9}\.example/[a-z]{1,9}\.git", fullmatch=True)
web_urls = st.from_regex(r"https?://[a-z]{1,9}\.example/[a-z]{1,9}\.tar\.gz", fullmatch=True)
epochs = st.integers(EPOCH_MIN, EPOCH_MAX)
requirements = st.lists(texts, max_size=2).map(tuple)
submodules = st.builds(LockedSubmodule, path=texts, url=texts, commit=commits, tree=commits)
git_sources = st.builds(
    LockedGit,
    version=versions,
    git=git_urls,
    tag=st.none() | tags,
    commit=commits,
    submodules=st.booleans(),
    tree=commits,
    sha256=digests,
    size=sizes,
    epoch=epochs,
    backend=texts,
    build_requires=requirements,
    submodule=st.lists(submodules, max_size=2).map(tuple),
)
archives = st.builds(
    LockedArchive,
    version=versions,
    archive=web_urls,
    file=files,
    sha256=digests,
    size=sizes,
    epoch=epochs,
    backend=texts,
)
unread = st.builds(
    PendingGit,
    version=versions,
    git=git_urls,
    tag=st.none() | tags,
    commit=st.none() | commits,
    submodules=st.booleans(),
) | st.builds(PendingArchive, version=versions, archive=web_urls, sha256=digests)
sdists = st.builds(
    LockedSource,
    version=versions,
    project=names,
    file=files,
    path=places,
    sha256=digests,
    size=sizes,
    epoch=st.integers(EPOCH_MIN, EPOCH_MAX),
    backend=texts,
    build_requires=st.lists(texts, max_size=2).map(tuple),
    run_requires=st.lists(texts, max_size=2).map(tuple),
)
sources = sdists | git_sources | archives | unread


hostile = st.one_of(
    st.tuples(places, places).map(":".join),
    st.tuples(places, places).map("/../".join),
    places.map(lambda place: f"{place}/.."),
    places.map(lambda place: f"../{place}"),
    places.map(lambda place: f"/{place}"),
    places.map(lambda place: f"{place}\\x"),
    places.map(lambda place: f"{place} x"),
)


@FAST
@given(places, hostile)
def test_a_place_is_below_its_registry(good: str, bad: str) -> None:
    """Appended to a base URL it reaches no other host and no folder above."""
    fields = {"file": "x.whl", "project": "x", "version": "1", "sha256": "0" * 64}
    assert LockedWheel.model_validate({**fields, "path": good}).path == good
    with pytest.raises(ValidationError, match="is no place below a registry's root"):
        LockedWheel.model_validate({**fields, "path": bad})


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    found = draw(st.lists(wheels, max_size=4, unique_by=lambda wheel: wheel.file))
    some = st.lists(st.sampled_from(found), unique=True) if found else st.just([])
    closures = st.builds(
        Closure,
        use=st.sampled_from(["build", "import", "root", "host"]),
        requires=st.lists(texts, max_size=3).map(tuple),
        version=st.none() | versions,
        python=st.none() | st.sampled_from(["3.9", "3.13"]),
        root=st.none() | texts,
        arch=st.none() | st.sampled_from(Arch),
        files=some.map(lambda chosen: tuple(wheel.file for wheel in chosen)),
    )
    patches = (
        st.builds(LockedPatch, id=names, file=files, sha256=digests)
        | st.builds(LockedPatch, id=names, commit=commits, sha256=digests)
        | st.builds(PendingPatch, id=names, commit=commits)
    )
    return seal(
        Lock(
            lock_schema=1,
            recipe=draw(names),
            digest="sha256:" + "0" * 64,
            incomplete=tuple(draw(st.lists(texts, max_size=2))),
            source=tuple(draw(st.lists(sources, min_size=1, max_size=3))),
            patches=tuple(draw(st.lists(patches, max_size=2))),
            closure=tuple(draw(st.lists(closures, max_size=3))),
            root=tuple(draw(st.lists(roots, max_size=2))),
            wheels=tuple(found),
        )
    )


@FAST
@given(locks())
def test_a_lock_and_its_text_are_one(lock: Lock) -> None:
    text = dump(lock)
    again = parse(text.encode(), f"lock/{lock.recipe}.toml")
    assert again == lock
    assert dump(again) == text
    assert differences(lock, again) == []


@FAST
@given(locks(), st.data())
def test_an_edit_of_a_digest_shows(lock: Lock, data: st.DataObject) -> None:
    text = dump(lock)
    digest = data.draw(st.sampled_from(re.findall(r"[0-9a-f]{40,64}", text)))
    edited = text.replace(digest, f"{int(digest, 16) ^ 1:0{len(digest)}x}")
    assert edited != text
    with pytest.raises(LockInvalid):
        parse(edited.encode(), "lock/x.toml")


@FAST
@given(locks())
def test_the_digest_of_a_lock_ignores_the_order_of_its_keys(lock: Lock) -> None:
    raw = plain(lock)
    assert content_digest(dict(reversed(raw.items()))) == content_digest(raw) == lock.digest


@FAST
@given(st.binary(max_size=60))
def test_no_bytes_are_a_traceback(data: bytes) -> None:
    with pytest.raises(LockInvalid):
        parse(data, "lock/x.toml")


# -- targets ----------------------------------------------------------------------------------

RECIPE, ROOTS = recipe_of(), load_roots()
OFFERED = RECIPE.targets
selections = st.builds(
    Selection,
    python=st.none() | st.lists(st.sampled_from(["3.9", "3.11", "3.13"]), min_size=1).map(tuple),
    glibc=st.none() | st.lists(st.sampled_from([*OFFERED.glibc, "2.40"]), min_size=1).map(tuple),
    arch=st.none() | st.lists(st.sampled_from(Arch), min_size=1).map(tuple),
    accelerator=st.none() | st.lists(st.sampled_from(Accelerator), min_size=1).map(tuple),
)


@settings(FAST, max_examples=200)
@given(selections, st.sampled_from([None, "1.0", "2.0rc1"]), st.sampled_from(Arch))
def test_targets_are_offered_sorted_and_always_the_same(
    selection: Selection, version: str | None, machine: Arch
) -> None:
    wanted = selection.model_dump(exclude_none=True)
    if any(set(wanted[axis]) - set(getattr(OFFERED, axis)) for axis in wanted):
        with pytest.raises(TargetUnavailable, match="does not offer"):
            expand(RECIPE, ROOTS, selection, version=version, machine=machine)
        return
    try:
        found = expand(RECIPE, ROOTS, selection, version=version, machine=machine)
    except TargetUnavailable:
        lowest = min(selection.glibc or ["2.36"], key=version_key)
        assert selection.python is not None
        assert any(ROOTS.pick("debian", python, lowest) is None for python in selection.python)
        return
    assert found == expand(RECIPE, ROOTS, selection, version=version, machine=machine)
    keys = [(version_key(t.glibc), version_key(t.python), t.arch, t.accelerator) for t in found]
    assert keys == sorted(set(keys))
    every = set(matrix(RECIPE, ROOTS, version or RECIPE.default_version))
    assert set(found) <= every
    for axis in ("python", "glibc", "arch", "accelerator"):
        chosen = getattr(selection, axis)
        assert chosen is None or {getattr(t, axis) for t in found} == set(chosen)


# -- canonical JSON, versions -----------------------------------------------------------------

plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def reordered(value: object) -> object:
    """The same value with the keys of every table in the other order."""
    if isinstance(value, dict):
        return {key: reordered(inner) for key, inner in reversed(value.items())}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


@FAST
@given(plain_json)
def test_canonical_json_ignores_the_order_of_keys_and_nothing_else(value: object) -> None:
    text = canonical_json(value)
    assert canonical_json(reordered(value)) == text
    assert json.loads(text) == value
    assert canonical_json([value, 0]) != canonical_json([value])


numbers = st.lists(st.integers(0, 200), min_size=1, max_size=4)


@FAST
@given(numbers, numbers)
def test_versions_are_ordered_as_numbers(one: list[int], two: list[int]) -> None:
    first, second = (".".join(map(str, parts)) for parts in (one, two))
    assert (version_key(first) < version_key(second)) == (one < two)


# -- stamped wheels ---------------------------------------------------------------------------

member_names = st.from_regex(r"[a-z]{1,3}/[a-z,\"]{1,4}\.(py|so)", fullmatch=True)
members = st.dictionaries(
    member_names, st.tuples(st.binary(max_size=40), st.sampled_from([0o644, 0o755])), max_size=5
)


def packed(folder: Path, content: dict[str, tuple[bytes, int]], date: int) -> Path:
    """A wheel as a build leaves it: members in some order, with some dates and modes."""
    folder.mkdir(parents=True)
    path = folder / "demo-1.0-cp311-cp311-linux_x86_64.whl"
    info = {
        "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: Demo\nVersion: 1.0\n\nText\n",
        "demo-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
        "demo-1.0.dist-info/RECORD": b"",
    }
    rows = {**content, **{name: (data, 0o644) for name, data in info.items()}}
    order = list(rows) if date % 2 else list(reversed(rows))
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_STORED if date % 2 else zipfile.ZIP_DEFLATED
    ) as out:
        for name in order:
            data, mode = rows[name]
            entry = zipfile.ZipInfo(name, (1980 + date, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100000 | mode) << 16
            out.writestr(entry, data)
    return path


ORDER: dict[str, object] = {"name": "demo-cu12", "version": "1.0+kvp.abc", "epoch": 1_700_000_000}


@settings(FAST, max_examples=25)
@given(members)
def test_a_stamped_wheel_depends_on_its_content_alone(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, tuple[bytes, int]]
) -> None:
    folder = tmp_path_factory.mktemp("stamp")
    evidence = folder / "evidence"
    (evidence / "sboms").mkdir(parents=True)
    (evidence / "sboms" / "x.json").write_bytes(b"{}")
    made = []
    for date in (1, 8):
        target = folder / f"out-{date}"
        target.mkdir()
        made.append(stamp(packed(folder / str(date), content, date), target, ORDER, evidence))
    one, two = made
    assert one.name == two.name == "demo_cu12-1.0+kvp.abc-cp311-cp311-linux_x86_64.whl"
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        infos = archive.infolist()
        assert infos[-1].filename == "demo_cu12-1.0+kvp.abc.dist-info/RECORD"
        assert {entry.date_time for entry in infos} == {(2023, 11, 14, 22, 13, 20)}
        for name, (data, mode) in content.items():
            assert archive.read(name) == data
            assert archive.getinfo(name).external_attr >> 16 == 0o100000 | mode
        metadata = archive.read("demo_cu12-1.0+kvp.abc.dist-info/METADATA").decode()
        record = archive.read(infos[-1]).decode()
    assert metadata == "Metadata-Version: 2.1\nName: demo-cu12\nVersion: 1.0+kvp.abc\n\nText\n"
    assert record.count("\n") == len(infos)


@settings(FAST, max_examples=25)
@given(members)
def test_written_members_do_not_depend_on_their_order(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, tuple[bytes, int]]
) -> None:
    folder = tmp_path_factory.mktemp("write")
    rows = {**content, "x.dist-info/RECORD": (b"", 0o644), "x.dist-info/METADATA": (b"", 0o644)}
    one = write(folder / "one.whl", rows, "x.dist-info", 0)
    two = write(folder / "two.whl", dict(reversed(rows.items())), "x.dist-info", 0)
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        names = archive.namelist()
    assert names[-2:] == ["x.dist-info/METADATA", "x.dist-info/RECORD"]
    assert names[:-2] == sorted(content)
