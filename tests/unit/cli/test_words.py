"""The words that several commands take: one meaning, one refusal."""

import pytest

from kvpack.cli import accelerators, words
from kvpack.cli.accelerators import Told
from kvpack.errors import UsageError
from kvpack.names import Accelerator


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (Told(), None),
        (Told(cpu=True), Accelerator.CPU),
        (Told(cuda="12"), Accelerator.CUDA12),
        (Told(cuda="13.0.2"), Accelerator.CUDA13),
        (Told(rocm="7.2"), Accelerator.ROCM7),
    ],
)
def test_the_accelerator_that_is_told(given: Told, meant: Accelerator | None) -> None:
    assert accelerators.told(given) == meant


@pytest.mark.parametrize("word", ["", "11", "1", "130", "x", "12.", "12.x", "13a", " 13", "13\n"])
def test_a_version_that_no_accelerator_has(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        accelerators.told(Told(cuda=word))
    error = caught.value
    assert error.what == f"--cuda does not take {word!r}"
    assert (error.cause, error.hint) == ("kvpack knows CUDA 12 and 13", "such as --cuda 13")


def test_a_command_says_more() -> None:
    with pytest.raises(UsageError) as caught:
        accelerators.of_version("rocm", "6", cause="known majors: 7", hint="kvpack show RECIPE")
    assert (caught.value.cause, caught.value.hint) == ("known majors: 7", "kvpack show RECIPE")


@pytest.mark.parametrize("word", ["2.11", "2.11.0", "2.11.0+cu130", "2.6.0a0+ecf3bae40a.nv25.01"])
def test_a_torch(word: str) -> None:
    words.check_environment(None, None, word)


@pytest.mark.parametrize("word", ["", "2", "new", "v2.11", "2.x", "2.11.x", "2.11\n", " 2.11"])
def test_what_is_no_torch(word: str) -> None:
    with pytest.raises(UsageError, match="--torch does not take"):
        words.check_environment("3.12", "2.39", word)
