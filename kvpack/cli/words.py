"""Words that several commands take, each with its one check."""

import re

from kvpack.errors import UsageError
from kvpack.names import GLIBC_PATTERN, PYTHON_PATTERN, Arch, did_you_mean


def check(option: str, word: str | None, pattern: str, example: str) -> None:
    """:raises UsageError: if a word was given that does not have its form."""
    if word is not None and not re.fullmatch(pattern, word):
        raise _refused(option, word, example)


def check_environment(python: str | None, glibc: str | None, torch: str | None) -> None:
    """:raises UsageError: for the first that does not have its form."""
    check("--python", python, PYTHON_PATTERN, "3.12")
    check("--glibc", glibc, GLIBC_PATTERN, "2.39")
    if torch is not None and not _is_torch(torch):
        raise _refused("--torch", torch, "2.11.0 or 2.11")


def arch_of(word: str, *, hint: str) -> Arch:
    """:raises UsageError: if no architecture is called so."""
    if word not in set(Arch):
        raise UsageError(
            f"--arch does not take {word!r}", cause=did_you_mean(word, Arch), hint=hint
        )
    return Arch(word)


def _refused(option: str, word: str, example: str) -> UsageError:
    return UsageError(f"{option} does not take {word!r}", hint=f"such as {example}")


def _is_torch(word: str) -> bool:
    """A version (PEP 440) with its minor, which extensions are built for."""
    from packaging.version import InvalidVersion, Version

    try:
        return re.fullmatch(r"\d\S*", word) is not None and len(Version(word).release) > 1
    except InvalidVersion:
        return False
