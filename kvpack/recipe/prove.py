"""What a wheel must show, read from its own files: the ``[[prove]]`` tables of a recipe.

One table serves twice: it states a fact about any wheel of the package, and, where it has
``expect``, what a wheel that kvpack built from the recipe has to show. Pure values; what they mean
for a wheel is decided in ``kvpack/audit/prove.py``.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from kvpack.base import Name, Text, Value
from kvpack.names import Accelerator, Arch
from kvpack.recipe.versions import VersionRange, applies

Exact = Annotated[str, StringConstraints(min_length=1)]
"""A text whose spaces count."""
OneOrMore = Exact | Annotated[tuple[Exact, ...], Field(min_length=1)]


def several(words: OneOrMore | None) -> tuple[str, ...]:
    """``"x"`` and ``["x"]`` mean the same."""
    if words is None:
        return ()
    return (words,) if isinstance(words, str) else words


def _pattern(text: str) -> str:
    try:
        compiled = re.compile(text.encode())
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    if compiled.groups == 0:
        raise ValueError(f"{text!r} has no group: what stands in (...) is the value")
    if compiled.match(b""):
        raise ValueError(f"{text!r} matches nothing at all, so it matches everywhere")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression over bytes (Python's ``re``) whose groups are what is looked for."""


class Condition(Value):
    """What one file must show: everything that is named here, together."""

    file: OneOrMore | None = None
    """Globs over member paths; a nested condition without it speaks of the same file."""
    needs_symbol: OneOrMore | None = None
    """Undefined dynamic symbols, perhaps with the version: ``ibv_reg_dmabuf_mr@IBVERBS_1.12``."""
    defines_symbol: OneOrMore | None = None
    """Dynamic symbols that the file exports."""
    has_symbol: OneOrMore | None = None
    """Texts that names of dynamic symbols hold, defined or not."""
    has_string: OneOrMore | None = None
    """Texts anywhere in the file's bytes."""
    needs_library: OneOrMore | None = None
    """Globs over ``DT_NEEDED``; each must match one."""
    elf_kind: tuple[Literal["shared", "pie", "executable", "static-pie", "static"], ...] = ()
    """Kinds of ELF file, one of which it is."""
    executable: bool | None = None
    """Whether the archive gives the file mode ``x``."""
    present: bool | None = None
    """Whether any file matches ``file``; stands alone."""
    unique: bool | None = None
    """Whether no two of the files have one name, in different folders; stands alone."""
    keeps_tag: bool | None = None
    """Whether floor and needed libraries are what the wheel's platform tag promises, beside what
    ``audit.host-libraries`` leaves to the host; stands alone, without ``file``."""
    all_of: tuple["Condition", ...] = Field(default=(), alias="all")
    any_of: tuple["Condition", ...] = Field(default=(), alias="any")
    negated: "Condition | None" = Field(default=None, alias="not")

    @property
    def nested(self) -> tuple["Condition", ...]:
        return (*self.all_of, *self.any_of, *((self.negated,) if self.negated else ()))

    @property
    def says_something(self) -> bool:
        return bool(set(_SPOKEN) & {name for name, value in self if value not in {None, ()}})

    def walk(self, globs: tuple[str, ...] = ()) -> Iterator[tuple["Condition", tuple[str, ...]]]:
        """This condition and all in it, each with the globs that hold for it."""
        here = several(self.file) or globs
        yield self, here
        for inner in self.nested:
            yield from inner.walk(here)

    @property
    def reads_content(self) -> bool:
        """Whether the bytes of its files are asked, beyond what every audit knows of them."""
        asked = (self.needs_symbol, self.defines_symbol, self.has_symbol, self.has_string)
        return any(asked)

    def faults(self, globs: tuple[str, ...]) -> Iterator[str]:
        """What is wrong with it, nested ones left out.

        :param globs: of its files, its own or inherited.
        """
        spoken = {name for name, value in self if value not in {None, ()}} & set(_SPOKEN)
        if spoken & set(_OF_A_FILE) and not globs:
            yield 'a condition names no file: add file = "…" to it or above it'
        if spoken & set(_ALONE) and len(spoken) > 1:
            yield "present, unique and keeps-tag are about the whole wheel: each stands alone"
        if spoken & {"present", "unique"} and not self.file:
            yield 'present and unique need file = "…" beside them'


_OF_A_FILE = (
    *("needs_symbol", "defines_symbol", "has_symbol", "has_string", "needs_library"),
    *("elf_kind", "executable"),
)
_ALONE = ("present", "unique", "keeps_tag")
_SPOKEN = (*_OF_A_FILE, *_ALONE, "all_of", "any_of", "negated")


class Case(Condition):
    """One possible value, and when it is the one; a case without conditions is the last."""

    value: Text


class Extract(Value):
    """A value that is read, not chosen; several groups are joined by dots."""

    string: Pattern | None = None
    """Expression over the files' bytes."""
    library: Pattern | None = None
    """Expression over ``DT_NEEDED`` entries."""
    path: Pattern | None = None
    """Expression over the members' paths."""
    single: bool = False
    """More than one value is wrong."""

    @model_validator(mode="after")
    def _one_source(self) -> "Extract":
        if sum(one is not None for one in (self.string, self.library, self.path)) != 1:
            raise ValueError("a value is read from one of string, library or path: name one")
        return self


class Expectation(Value):
    """What our build must show where all that is named here fits; the first that fits counts."""

    accelerator: tuple[Accelerator, ...] | None = None
    arch: tuple[Arch, ...] | None = None
    when: VersionRange | None = None
    to_be: bool | Text = Field(alias="is")

    def fits(self, version: str, accelerator: Accelerator | None, arch: str | None) -> bool:
        return (
            applies(self.when, version)
            and (self.accelerator is None or accelerator in self.accelerator)
            and (self.arch is None or arch in self.arch)
        )


class Prove(Condition):
    """One fact that the files of a wheel show or do not show."""

    id: Name
    summary: Text
    """What it means if it holds."""
    each: bool = False
    """Every file that matches must show it; otherwise one is enough."""
    case: tuple[Case, ...] = ()
    """Possible values, the first that is true counts."""
    value: Extract | None = None
    when: VersionRange | None = None
    """Versions that it says something about."""
    expect: bool | Text | tuple[Expectation, ...] | None = None
    """What our build must show: whether it holds, or its value."""
    torch: bool = False
    """Whether its value must be the minor versions of torch that our build was for: ``2.13, 2.14``;
    a wheel without extensions of torch shows none."""
    optional: bool = False
    """Whether a wheel of ours that shows nothing of it (``null``) is right as well: of a part that
    an option can leave out."""
    profile: tuple[Name, ...] = ()
    """Uses that need it: ``kvpack audit --profile``."""
    hint: str = ""
    """What to do when our build does not show it."""

    @model_validator(mode="after")
    def _coherent(self) -> "Prove":
        faults = [*self._form_faults(), *self._expect_faults()]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _form_faults(self) -> Iterator[str]:
        if self.case and self.value:
            yield "a value comes from case or from value: name one"
        if not (self.says_something or self.case or self.value):
            yield "it says nothing: name a condition, cases or a value"
        own = several(self.file)
        for part in (self, *self.case):
            for condition, globs in part.walk(own):
                yield from condition.faults(globs)
        if self.value and not own:
            yield "a value is read from files: add file"
        for case in self.case[:-1]:
            if not case.says_something:
                yield f"the case {case.value!r} is always true: it must be the last"

    def _expect_faults(self) -> Iterator[str]:
        if self.torch and (self.expect is not None or not self.value):
            yield "torch = true is about a value that is read, and nothing else is expected of it"
        known = {case.value for case in self.case}
        for wanted in self.expectations:
            if isinstance(wanted.to_be, str) and not (self.case or self.value):
                yield f"it has no value that could be {wanted.to_be!r}: expect true or false"
            elif isinstance(wanted.to_be, str) and self.case and wanted.to_be not in known:
                yield f"no case gives the value {wanted.to_be!r}"

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        if self.expect is None:
            return ()
        if isinstance(self.expect, tuple):
            return self.expect
        return (Expectation(to_be=self.expect),)

    def expected(
        self, version: str, accelerator: Accelerator | None, arch: str | None
    ) -> bool | str | None:
        """What a wheel must show; ``None``: nothing."""
        fitting = (one for one in self.expectations if one.fits(version, accelerator, arch))
        found = next(fitting, None)
        return None if found is None or not applies(self.when, version) else found.to_be


def _unique_ids(proves: tuple[Prove, ...]) -> tuple[Prove, ...]:
    ids = [prove.id for prove in proves]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise ValueError(f"several tables have the id {', '.join(twice)}")
    return proves


Proves = Annotated[tuple[Prove, ...], AfterValidator(_unique_ids)]


class Identity(Value):
    """Where a wheel says which commit it was made from."""

    file: OneOrMore
    match: Pattern
    """Expression over the files' bytes, with the groups ``version`` and ``commit``."""
    when: VersionRange | None = None
    """Versions that say it."""

    @model_validator(mode="after")
    def _named(self) -> "Identity":
        unknown = set(re.compile(self.match).groupindex) ^ {"version", "commit"}
        if unknown:
            raise ValueError("the expression needs the groups (?P<version>…) and (?P<commit>…)")
        return self
