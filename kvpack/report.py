"""Progress as a port: stages tell what they do, a face decides how it looks."""

from typing import Protocol, Self


class Reporter(Protocol):
    """What a stage may say while it works. All of it is narration: results are return values."""

    def step(self, title: str) -> "Step":
        """Open a step; it ends, with its time, when the context manager does."""
        ...

    def note(self, text: str) -> None:
        """One line that a user may want to know."""
        ...

    def detail(self, text: str) -> None:
        """One line for ``-v``: commands, places, decisions."""
        ...

    def warn(self, text: str) -> None:
        """Something that a user should act on, although the command goes on."""
        ...


class Step(Protocol):
    """A running step."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

    def progress(self, done: int, total: int, unit: str) -> None:
        """How far it is. ``total`` 0 means unknown; ``unit`` is ``B`` for bytes."""
        ...

    def line(self, text: str) -> None:
        """One line of a tool's output."""
        ...


class Silent:
    """A reporter that says nothing (``-q``, and tests)."""

    def step(self, title: str) -> Step:  # noqa: ARG002
        return SilentStep()

    def note(self, text: str) -> None:
        pass

    def detail(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


class SilentStep:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def progress(self, done: int, total: int, unit: str) -> None:
        pass

    def line(self, text: str) -> None:
        pass
