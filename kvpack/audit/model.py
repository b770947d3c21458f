"""What an audit is told and what it tells: facts of a wheel, the rules it is held to, findings."""

from collections import Counter
from enum import StrEnum
from typing import Literal

from pydantic import Field, computed_field, model_validator

from kvpack import base
from kvpack.base import Value


class Severity(StrEnum):
    """How bad a finding is. Only an error keeps a wheel out of the output folder."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Proof(Value):
    """What a recipe's ``[[prove]]`` table says about one wheel."""

    id: str
    holds: bool | None
    """``None``: it cannot be told."""
    value: str | None = None
    """For tables with cases or a value."""
    evidence: str
    """Which member shows it, or what was not found where."""


class Finding(Value):
    """One fact that breaks a rule, or that a user should know."""

    check: str
    """Id of the check, kebab-case: ``floor``, ``runpath``."""
    severity: Severity
    place: str
    """Member path; the file name of the wheel when it is about the wheel as a whole."""
    message: str
    """What is wrong, with the value."""
    hint: str = ""
    """The next step."""


class ElfKind(StrEnum):
    """What the loader does with an ELF file (gABI ``e_type``, ``PT_INTERP``, ``DF_1_PIE``)."""

    SHARED = "shared"
    PIE = "pie"
    EXECUTABLE = "executable"
    STATIC_PIE = "static-pie"
    STATIC = "static"
    RELOCATABLE = "relocatable"
    OTHER = "other"
    """Core dumps, device code, machine-specific types."""

    @property
    def is_program(self) -> bool:
        return self in {ElfKind.PIE, ElfKind.EXECUTABLE, ElfKind.STATIC_PIE, ElfKind.STATIC}


class ElfFile(Value):
    """One ELF file of a wheel, as its own headers describe it."""

    path: str
    """Member path in the wheel."""
    arch: str
    """As in platform tags; ``cuda``, ``amdgpu``, ``bpf`` for device code; else ``other``."""
    device: bool = False
    """Code for a device: not for the host's loader, so no host rule applies."""
    kind: ElfKind
    soname: str | None = None
    needed: tuple[str, ...] = ()
    """``DT_NEEDED``, in order."""
    rpath: tuple[str, ...] = ()
    """Entries of ``DT_RPATH``; an empty entry means the working directory."""
    runpath: tuple[str, ...] = ()
    """Entries of ``DT_RUNPATH``; an empty entry means the working directory."""
    interpreter: str | None = None
    """``PT_INTERP``: the loader that a program names."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Symbol version prefix -> highest number needed: ``GLIBC`` -> ``2.34``."""
    symbol_versions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Soname -> all version names needed from it (``.gnu.version_r``), ``GLIBC_PRIVATE`` too."""
    relr: bool = False
    """Leaves ``DT_RELR`` relocations to the host's glibc: only 2.36 and later apply them."""
    build_id: str | None = None
    """Hexadecimal ``NT_GNU_BUILD_ID``."""
    executable_bit: bool = False
    """The archive gives the member mode ``x``."""
    executable_stack: bool = False
    """``PT_GNU_STACK`` asks for an executable stack."""
    text_relocations: bool = False
    """``DT_TEXTREL`` or ``DF_TEXTREL``."""
    isa: str | None = None
    """The x86-64 level that the file says it needs, beyond the baseline: ``x86-64-v3``."""
    floor: base.Glibc | None = None
    """The lowest glibc floor that offers all its needs; ``None`` if none does, or for musl."""


class WheelFacts(Value):
    """What a wheel is, what it needs, what it owns. Read from its bytes; nothing is executed."""

    facts_schema: Literal[1] = Field(default=1, alias="schema")
    filename: str
    distribution: str
    """Normalized project name (PEP 503), from the file name."""
    name: str
    """``Name`` as METADATA spells it."""
    version: str
    build_tag: str | None = None
    tags: tuple[str, ...]
    """Expanded and sorted: ``cp311-cp311-manylinux_2_28_x86_64`` (PEP 425)."""
    sha256: base.Sha256
    size: int
    """Bytes of the wheel file."""
    requires_python: str | None = None
    requires: tuple[str, ...] = ()
    """``Requires-Dist``, as written."""
    licence: tuple[str, ...] = ()
    """``License-Expression`` (PEP 639), else ``License`` and the licence classifiers."""
    licence_files: tuple[str, ...] = ()
    """Members that hold licence texts."""
    top_level: tuple[str, ...] = ()
    """Import names that it owns: packages and modules it puts into purelib or platlib."""
    console_scripts: tuple[str, ...] = ()
    elf: tuple[ElfFile, ...] = ()
    true_floor: base.Glibc | None = None
    """The highest floor of its ELF files; ``None`` if it has none, or if no known glibc will do."""
    needed_from_host: tuple[str, ...] = ()
    """Sonames that neither the wheel nor the manylinux whitelist of its floor provides."""
    grafted: tuple[str, ...] = ()
    """Members of ``*.libs/``."""
    startup: tuple[str, ...] = ()
    """``*.pth`` members: lines in them run at every start of the interpreter."""
    key: str | None = None
    """Action key of the build that made it (``*.dist-info/kvpack/key``)."""
    commit: str | None = None
    """Upstream's commit, where the recipe knows which member tells it."""
    cuda_major: int | None = None
    """The one CUDA major that its files need; ``None`` for none, or for more than one."""
    sboms: tuple[str, ...] = ()
    """Members of ``*.dist-info/sboms/`` (PEP 770)."""

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags alone, sorted."""
        return tuple(sorted({tag.split("-", 2)[2] for tag in self.tags}))

    @property
    def host_elf(self) -> tuple[ElfFile, ...]:
        """The files that the host's loader may map: no device code."""
        return tuple(elf for elf in self.elf if not elf.device)


class Policy(Value):
    """What a wheel is held to. The default judges a foreign wheel by its own tags."""

    glibc: base.Glibc | None = None
    """The floor; ``None``: the one that the wheel's own platform tag promises."""
    arch: str | None = None
    """``None``: the architecture of the wheel's own platform tag."""
    host_libraries: tuple[str, ...] | None = None
    """Soname globs that the host supplies; ``None``: nobody said, so needs become notes."""
    host_folders: tuple[str, ...] = ()
    """Absolute folders that a search path may name: where those libraries lie on every host."""
    owns: tuple[str, ...] = ()
    """Import names that it may own; empty: not checked."""
    distribution: str | None = None
    """Expected normalized name; ``None``: not checked."""
    never_graft: tuple[str, ...] | None = None
    """Soname globs that must not be inside; ``None``: the list in ``policy.toml``."""
    tag_exact: bool = False
    """The platform tag must be ``manylinux_<floor>_<arch>`` alone (kvpack's own wheels)."""


class AuditReport(Value):
    """All findings about one wheel."""

    report_schema: Literal[1] = Field(default=1, alias="schema")
    facts: WheelFacts
    findings: tuple[Finding, ...]
    """Errors first, then by place."""
    proofs: tuple[Proof, ...] = ()
    """In the order of the recipe."""

    @model_validator(mode="before")
    @classmethod
    def _drop_computed(cls, given: object) -> object:
        """Let a report be read back: what it computes is computed again."""
        if isinstance(given, dict):
            return {key: one for key, one in given.items() if key not in {"passed", "counts"}}
        return given

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether no finding is an error."""
        return not self.errors

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """Findings per severity, all severities present."""
        found = Counter(one.severity for one in self.findings)
        return {severity.value: found[severity] for severity in Severity}

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity is Severity.ERROR)
