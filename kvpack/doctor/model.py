"""What the doctor tells: findings with the commands that mend them."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from pydantic import Field, computed_field, model_validator

from kvpack.base import Text, Value

Severity = Literal["error", "warning", "note"]
"""``error``: does not work, or not as it says; ``warning``: breaks or wastes under some conditions;
``note``: worth knowing, nothing to do here and now."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""


class Mend(Value):
    """One way to mend."""

    tool: Literal["pip", "uv", "system", "environment", "file", "kernel"]
    """Who does it; of ``pip`` and ``uv`` one is enough, they are two ways to the same end."""
    command: Text
    """The exact command, or the exact line of a file or of a launcher's environment."""


class Finding(Value):
    """One thing that is wrong, or worth knowing."""

    check: str
    """Id of the check, kebab-case."""
    severity: Severity
    place: Text
    """Distribution, path, variable or key path."""
    message: Text
    """What is wrong, with the value."""
    why: str = ""
    """The consequence, and where that is known from (issue or pull request)."""
    mend: tuple[Mend, ...] = ()
    """In the order in which they are to be tried or run; those of one tool belong together."""


class Diagnosis(Value):
    """All findings about one environment on one machine."""

    diagnosis_schema: Literal[1] = Field(default=1, alias="schema")
    findings: tuple[Finding, ...]
    """Errors first, then by check and place."""
    looked_at: tuple[str, ...] = ()
    """What was read: the environment, the machine, the configuration."""
    not_checked: tuple[str, ...] = ()
    """What could not be looked at, and why: one short line each."""

    @model_validator(mode="before")
    @classmethod
    def _drop_computed(cls, given: object) -> object:
        """Let a diagnosis be read back: what it computes is computed again."""
        if isinstance(given, dict):
            return {key: one for key, one in given.items() if key not in {"healthy", "counts"}}
        return given

    @computed_field  # type: ignore[prop-decorator]
    @property
    def healthy(self) -> bool:
        """Whether nothing is to be mended: notes are allowed."""
        return all(one.severity == "note" for one in self.findings)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """Findings per severity, all severities present."""
        found = Counter(one.severity for one in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then by check and place; the same finding once."""
    order = {severity: index for index, severity in enumerate(SEVERITIES)}
    once = dict.fromkeys(findings)
    return tuple(
        sorted(once, key=lambda one: (order[one.severity], one.check, one.place, one.message))
    )
