"""What the check of a Mooncake configuration is told, besides the file and the environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from kvpack.base import Value
from kvpack.doctor.model import Finding, Mend, Severity
from kvpack.doctor.mooncake_rules import Rules
from kvpack.doctor.mooncake_sizes import SizeError, parse_size

Tool = Literal["pip", "uv", "system", "environment", "file", "kernel"]


class Program(Value):
    """How ``mooncake_master`` or ``mooncake_client`` is started, as far as the user said."""

    place: str
    """``--master-args``, ``--client-args``."""
    flags: dict[str, str] = Field(default_factory=dict)
    """Flag -> value, dashes as underscores; of a boolean flag, ``true`` or ``false``."""
    file: dict[str, str] = Field(default_factory=dict)
    """Keys of ``master.yaml``; a flag on the command line beats them (master.cpp)."""
    file_place: str = ""
    """The file as the user named it; empty: none was given."""

    def get(self, *names: str) -> str | None:
        """The first of these settings that is given: all names on the command line, then file."""
        for source in (self.flags, self.file):
            for name in names:
                if name in source:
                    return source[name]
        return None

    def where(self, name: str) -> str:
        """The place of a setting that a finding points at."""
        if name not in self.flags and (name in self.file or (self.file_place and not self.flags)):
            return f"{self.file_place}: {name}"
        return f"{self.place}: --{name}"

    @property
    def reads_unseen_file(self) -> bool:
        """Whether it is started with a file that nobody showed: absent flags are not defaults."""
        return "config_path" in self.flags and not self.file_place


class OwnerSettings(Value):
    """What the user says of the other processes and of the load; ``None``: not said."""

    master: Program | None = None
    client: Program | None = None
    """The owner: the ``mooncake_client`` that has the pool and the SSD."""
    environment: dict[str, str] | None = None
    """The owner's environment; ``None``: taken to be the one that is checked."""
    key_bytes: int | None = Field(default=None, ge=1)
    """Bytes of one key (``--kv-key-bytes``): what a rank writes for one block of all its layers."""
    nodes: int | None = Field(default=None, ge=1)
    """Machines that share the master."""
    faults: tuple[Finding, ...] = ()
    """What was wrong with the command lines and the file themselves."""


class WheelAbility(Value):
    """What the installed Mooncake can do, read from its files; ``None``: they do not tell."""

    distribution: str
    version: str
    store: bool
    """``mooncake.store`` is there."""
    client: bool
    master: bool
    io_uring: bool | None = None
    """The owner's program links liburing; it is optional in Mooncake's build (facts §1d)."""
    dma_buf: bool | None = None
    """The engine needs ``IBVERBS_1.12``, the version that came with ``ibv_reg_dmabuf_mr``."""
    etcd: bool = False
    """``libetcd_wrapper.so`` is there: the CUDA wheels for aarch64 lack it (facts §1f)."""
    redis: bool = False
    """The engine links hiredis: no official wheel does."""
    python: str = "python3"
    """The interpreter of its environment, for the mending commands."""


class PathFact(Value):
    """What lies at a path of this machine."""

    kind: Literal["directory", "file", "symlink", "missing", "unwritable"]
    size: int | None = None
    """Bytes of the file system, if known."""


class MachineFacts(Value):
    """Readings of the machine that runs vLLM; ``None``: not read."""

    gpus: int | None = None
    rdma_devices: tuple[str, ...] | None = None
    """Names in ``/sys/class/infiniband``."""
    memory: int | None = None
    """Bytes of RAM."""
    paths: dict[str, PathFact] = Field(default_factory=dict)
    """By path as it is written in a setting."""
    config_path: str | None = None
    """Absolute path of the file that is checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Everything that is known, for the checks. No pydantic: an environment may be no Unicode."""

    place: str
    given: Mapping[str, object]
    """The JSON object."""
    environment: Mapping[str, str]
    rules: Rules
    owner: OwnerSettings = field(default_factory=OwnerSettings)
    wheel: WheelAbility | None = None
    machine: MachineFacts = field(default_factory=MachineFacts)

    def at(self, key: str) -> str:
        return f"{self.place}: {key}"

    def text(self, key: str) -> str | None:
        """The string that vLLM gets for a key; ``None`` if it is no string."""
        value = self.given.get(key, self.rules.key(key).default)
        return value if isinstance(value, str) else None

    def size(self, key: str) -> int | None:
        """The bytes that vLLM gets for a key; ``None`` if it refuses it."""
        try:
            return parse_size(self.given.get(key, self.rules.key(key).default))
        except SizeError:
            return None

    @property
    def mode(self) -> str | None:
        mode = self.text("mode")
        return mode if mode in self.rules.modes else None

    @property
    def offload(self) -> bool | None:
        """``enable_offload`` as it is meant; ``None`` if it is no boolean."""
        value = self.given.get("enable_offload", False)
        return value if isinstance(value, bool) else None

    @property
    def owner_environment(self) -> Mapping[str, str]:
        theirs = self.owner.environment
        return self.environment if theirs is None else theirs

    def variable_at(self, name: str) -> str:
        """The place of an environment variable, the owner's told apart where it is another."""
        if self.owner.environment is not None and self.rules.is_of(name, "owner"):
            return f"environment of mooncake_client: {name}"
        return f"environment: {name}"


def finding(
    check: str,
    severity: Severity,
    place: str,
    message: str,
    *,
    mend: tuple[Mend, ...] = (),
    **more: str,
) -> Finding:
    """A finding; ``why`` and one mend per tool (``file=``, ``environment=``, ``system=``).

    Text that is no Unicode (of an environment, of escapes in JSON) is shown escaped.
    """
    why = more.pop("why", "")
    mends = tuple(
        Mend.model_validate({"tool": tool, "command": _clean(text)}) for tool, text in more.items()
    )
    return Finding(
        check=f"mooncake-{check}",
        severity=severity,
        place=_clean(place),
        message=_clean(message),
        why=_clean(why),
        mend=mends + mend,
    )


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_SHOWN = 80


def shown(value: object) -> str:
    """A value as it stands in JSON, cut where it is long."""
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):  # thousands of digits; nested without end
        return "a very long value"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
