"""A build environment for each minor version of torch, of each accelerator that offers it."""

from dataclasses import dataclass

import pytest

from kvpack.errors import LockDrift, LockMissing, ResolutionFailed
from kvpack.lock.check import Slicer, check
from kvpack.lock.diff import differences
from kvpack.lock.model import Closure, Lock, LockedWheel
from kvpack.lock.torch import check_torch
from kvpack.lock.uv import Question
from kvpack.names import Accelerator, Arch
from kvpack.recipe.expand import expand
from kvpack.recipe.model import Recipe, Selection, Target
from kvpack.tools.files import sha256_of
from tests.unit.catalogues import PATCH, ROOTS, lock_of, recipe_of
from tests.unit.lock.outside import Outside, wheel
from tests.unit.recipe.test_recipe_torch import TORCH


@dataclass
class WithTorch(Outside):
    """An index that has torch, for one CUDA alone."""

    cuda: str = "12.9.79"

    def __post_init__(self) -> None:
        self.versions |= {"torch": "?", "nvidia-cuda-runtime": self.cuda}
        self.needs["torch"] = ["nvidia-cuda-runtime"]

    def wheels(self, question: Question) -> tuple[LockedWheel, ...]:
        wanted = next((text for text in question.requires if text.startswith("torch==")), "")
        self.versions["torch"] = wanted.removeprefix("torch==").replace(".*", ".0")
        return super().wheels(question)


def locked(text: str = TORCH, outside: Outside | None = None) -> tuple[Recipe, Lock]:
    made = recipe_of(text)
    return made, lock_of(made, outside or WithTorch())


def target(made: Recipe, *minors: str) -> Target:
    chosen = Selection(
        python=("3.11",), glibc=("2.36",), accelerator=(Accelerator.CUDA12,), torch=minors
    )
    (found,) = expand(made, ROOTS, chosen, version=None, machine=Arch.X86_64)
    return found


def test_each_minor_has_an_environment_of_its_own() -> None:
    made, lock = locked()
    found = [one for one in lock.closure if one.torch]
    cells = {(one.version, one.python, one.root, one.arch) for one in found}
    assert len(found) == 3 * len(cells)
    assert {one.accelerator for one in found} == {"cuda12"}
    first = next(one for one in found if one.torch == "2.9" and one.version == "1.0")
    assert first.requires == ("backend>=1", "build", "torch==2.9.*")
    assert "torch-2.9.0-py3-none-any.whl" in first.files
    assert first.title.endswith("x86_64 cuda12 torch 2.9")
    check(made, ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(PATCH))


def test_a_target_gets_the_environments_of_its_minors() -> None:
    made, lock = locked()
    lean, one, two = (
        Slicer(made, lock).inputs(target(made, *minors))
        for minors in ((), ("2.13",), ("2.13", "2.9"))
    )

    def torch(wheels: tuple[LockedWheel, ...]) -> list[str]:
        return [wheel.version for wheel in wheels if wheel.project == "torch"]

    assert (torch(lean.build), lean.torch) == ([], ())
    assert (torch(one.build), one.torch) == (["2.13.0"], ())
    assert torch(two.build) == ["2.9.0"]
    assert [(more.minor, torch(more.wheels)) for more in two.torch] == [("2.13", ["2.13.0"])]


def test_a_minor_that_came_later_has_to_be_locked() -> None:
    made, lock = locked(TORCH.replace('"2.9", ', ""))
    more = recipe_of(TORCH)
    with pytest.raises(LockDrift) as caught:
        check(more, ROOTS, lock, "lock/tiny.toml", lambda _file: sha256_of(PATCH))
    assert all("torch 2.9 is not locked" in fault.message for fault in caught.value.faults)
    with pytest.raises(LockMissing):
        Slicer(more, lock).inputs(target(more, "2.9"))
    again = lock_of(more, WithTorch(), old=lock)
    assert {change.before for change in differences(lock, again)} == {""}
    gone = lock_of(made, WithTorch(), old=again)
    assert gone == lock


@pytest.mark.parametrize(
    ("accelerator", "cuda", "wrong"),
    [
        ("cuda12", "13.0.96", "13"),
        ("cuda13", "12.9.79", "12"),
        ("rocm7", "13.0.96", "13"),
        ("cuda12", "12.9.79", ""),
        ("cuda13", "13.0.96", ""),
    ],
)
def test_torch_is_for_the_cuda_of_the_target(accelerator: str, cuda: str, wrong: str) -> None:

    closure = Closure.model_validate(
        {"use": "build", "requires": (), "accelerator": accelerator, "torch": "2.13", "files": ()}
    )
    wheels = [wheel("torch", "2.13.0"), wheel("nvidia-cuda-runtime", cuda)]
    if not wrong:
        check_torch(closure, wheels)
        return
    with pytest.raises(ResolutionFailed) as caught:
        check_torch(closure, wheels)
    assert f"is for CUDA {wrong}, the target for {accelerator}" in caught.value.what


def test_a_lock_with_torch_for_another_cuda_is_not_written() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        locked(outside=WithTorch(cuda="13.0.96"))
    assert "torch 2.9 of the index is for CUDA 13" in caught.value.what
    (fault,) = caught.value.faults
    assert fault.place == "nvidia_cuda_runtime-13.0.96-py3-none-any.whl"


class Without(WithTorch):
    """An index whose torch 2.13 has no wheels for Python 3.11."""

    def wheels(self, question: Question) -> tuple[LockedWheel, ...]:
        if "torch==2.13.*" in question.requires and question.environment.python == "3.11":
            raise ResolutionFailed("no set of wheels", cause="uv says", hint="look at the index")
        return super().wheels(question)


def test_where_torch_has_no_wheels_the_key_that_says_so_is_named() -> None:
    with pytest.raises(ResolutionFailed) as caught:
        locked(outside=Without())
    assert 'targets.torch-python = { "2.13" = [...] }; else look at the index' in caught.value.hint
    assert "for Python 3.11" in caught.value.hint
    text = TORCH.replace("torch = {", 'torch-python = { "2.13" = ["3.13"] }\ntorch = {')
    _, lock = locked(text, Without())
    assert {one.python for one in lock.closure if one.torch == "2.13"} == {"3.13"}
