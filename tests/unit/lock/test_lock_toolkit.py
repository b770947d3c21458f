"""Toolkits that are images: locked by digest, kept, moved, missed; what differs is told."""

import pytest

from kvpack.errors import FetchFailed, LockMissing, ResolutionFailed
from kvpack.lock.check import Slicer, drift, inputs_for
from kvpack.lock.diff import differences
from kvpack.lock.expect import is_complete
from kvpack.lock.file import dump, load_toml, parse
from kvpack.lock.model import Lock
from kvpack.names import Accelerator, Arch
from kvpack.recipe.expand import matrix
from kvpack.recipe.model import Recipe, Target
from kvpack.tools.files import sha256_of
from tests.unit.catalogues import PATCH, ROOTS, TINY, lock_of, recipe_of
from tests.unit.lock.outside import Outside

NAMED = "docker.io/rocm/dev-almalinux-8:7.2.1-complete"
TEXT = TINY.replace('["cpu", "cuda12"]', '["cpu", "cuda12", "rocm7"]')
OTHER = """\
[build.toolkit-image]
rocm7 = { image = "registry.example:5000/rocm:8", folder = "/opt/rocm", glibc = "2.36", \
arch = ["x86_64", "aarch64"] }

[build]
"""


def there(bytes_: str = "first", *more: str) -> Outside:
    """A world whose registry has the image."""
    return Outside(images=dict.fromkeys((NAMED, *more), bytes_))


def messages(recipe: Recipe, lock: Lock) -> list[str]:
    found = drift(recipe, ROOTS, lock, "lock", lambda _file: sha256_of(PATCH))
    return [f"{fault.place.removeprefix('lock: ')}: {fault.message}" for fault in found]


def cell(recipe: Recipe, arch: Arch = Arch.X86_64) -> Target:
    return next(
        one
        for one in matrix(recipe, ROOTS, "1.0")
        if one.accelerator == Accelerator.ROCM7 and one.arch == arch
    )


def test_the_lock_names_digest_and_layers_and_the_target_gets_them() -> None:
    recipe = recipe_of(TEXT)
    lock = lock_of(recipe, there())
    (image,) = lock.toolkit
    assert (image.title, image.tagged, image.folder) == ("rocm7 x86_64", NAMED, "/opt/rocm")
    assert image.image.startswith("docker.io/rocm/dev-almalinux-8@sha256:")
    assert (lock.incomplete, messages(recipe, lock)) == ((), [])
    inputs = inputs_for(recipe, lock, cell(recipe))
    assert (inputs.toolkit_image, inputs.toolkit, inputs.has_toolkit) == (image, (), True)
    others = (one for one in matrix(recipe, ROOTS, "1.0") if one.accelerator != "rocm7")
    assert all(inputs_for(recipe, lock, one).toolkit_image is None for one in others)


def test_it_is_read_as_it_was_written() -> None:
    lock = lock_of(recipe_of(TEXT), there())
    text = dump(lock)
    assert parse(text.encode(), "lock/tiny.toml") == lock
    (table,) = load_toml(text)["toolkit"]
    assert f'  {{ sha256 = "{table["layers"][0]["sha256"]}", size = 99 }},\n' in text


def test_what_is_locked_stays_and_nothing_is_asked() -> None:
    recipe, later = recipe_of(TEXT), there("later")
    old = lock_of(recipe, there())
    assert lock_of(recipe, later, old=old) == old
    assert later.asked == []
    moved = lock_of(recipe, later, old=old, upgrade="rocm7")
    (change,) = differences(old, moved)
    assert (change.kind, change.name) == ("toolkit", "rocm7 x86_64")
    assert change.before.startswith(f"{NAMED} ")
    assert change.before.endswith(" /opt/rocm")
    assert change.before != change.after
    assert later.asked == [f"tag {NAMED} x86_64"]


def test_a_registry_that_does_not_answer() -> None:
    recipe = recipe_of(TEXT)
    lock = lock_of(recipe)
    reason = f"accelerator rocm7: the digest of {NAMED} is not known (registry unreachable)"
    assert (lock.toolkit, lock.incomplete) == ((), (reason,))
    assert messages(recipe, lock) == []
    assert (is_complete(lock, "cuda12"), is_complete(lock, "rocm7")) == (True, False)
    assert not Slicer(recipe, lock).complete(cell(recipe))
    with pytest.raises(LockMissing, match="the lock is incomplete") as caught:
        inputs_for(recipe, lock, cell(recipe))
    assert (caught.value.cause, "kvpack lock tiny" in caught.value.hint) == (reason, True)
    # It answers later: only then the lock is complete, without --upgrade.
    assert lock_of(recipe, there(), old=lock) == lock_of(recipe, there())


def test_what_was_locked_is_not_given_up_to_a_registry_that_does_not_answer() -> None:
    recipe = recipe_of(TEXT)
    old = lock_of(recipe, there())
    with pytest.raises(FetchFailed):
        lock_of(recipe, Outside(), old=old, upgrade="rocm7")
    assert lock_of(recipe, Outside(), old=old) == old


def test_an_upgrade_may_name_an_accelerator_that_has_an_image_alone() -> None:
    recipe = recipe_of(TEXT)
    old = lock_of(recipe, there())
    with pytest.raises(ResolutionFailed, match="no input 'cuda12'") as caught:
        lock_of(recipe, there(), old=old, upgrade="cuda12")
    assert "rocm7" in caught.value.hint


def test_another_image_is_drift_until_it_is_locked() -> None:
    recipe, other = recipe_of(TEXT), recipe_of(TEXT.replace("[build]\n", OTHER))
    lock = lock_of(recipe, there())
    named = "registry.example:5000/rocm:8"
    missing = [
        f"accelerator rocm7: the digest of {named} for {arch} is not known (registry unreachable)"
        for arch in ("x86_64", "aarch64")
    ]
    before, now = f"/opt/rocm of {NAMED}", f"/opt/rocm of {named}"
    assert messages(other, lock) == [
        f"toolkit: rocm7 x86_64 is locked to {before}, the recipe names {now}",
        f"incomplete: the lock says [], the recipe needs {missing}",
    ]
    both = lock_of(other, there("first", named), old=lock)
    assert [(one.title, one.tagged) for one in both.toolkit] == [
        ("rocm7 x86_64", named), ("rocm7 aarch64", named),
    ]  # fmt: skip
    inputs = inputs_for(other, both, cell(other, Arch.AARCH64))
    assert inputs.toolkit_image == both.toolkit[1]
    assert messages(recipe_of(), both)[0] == (
        "toolkit: the toolkit image rocm7 x86_64 is no longer needed"
    )


def test_a_build_that_needs_no_toolkit_has_no_image() -> None:
    recipe = recipe_of(TEXT.replace("[build]\n", "[build]\ntoolkit = { rocm7 = [] }\n"))
    outside = there()
    lock = lock_of(recipe, outside)
    assert (lock.toolkit, lock.incomplete) == ((), ())
    assert not [one for one in outside.asked if one.startswith("tag ")]
    assert not inputs_for(recipe, lock, cell(recipe, Arch.AARCH64)).has_toolkit
