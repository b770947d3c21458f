"""What a recipe's ``[[prove]]`` tables say about a wheel, and what follows for its audit. Pure."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kvpack.audit.conditions import Reason, Told, Wheel, both, of_files
from kvpack.audit.evidence import Seen, commit_of
from kvpack.audit.model import AuditReport, ElfFile, Finding, Proof, Severity, WheelFacts
from kvpack.names import Accelerator
from kvpack.recipe.prove import Identity, Prove, several
from kvpack.recipe.versions import applies


def prove_all(
    proves: Sequence[Prove],
    facts: WheelFacts,
    seen: Mapping[str, Seen],
    host_libraries: tuple[str, ...] | None = (),
) -> tuple[Proof, ...]:
    """Judge every table, in order."""
    wheel = Wheel(
        seen=tuple(seen[path] for path in sorted(seen)),
        facts=facts,
        elf={one.path: one for one in facts.elf},
        host_libraries=host_libraries,
    )
    return tuple(_proof(prove, wheel) for prove in proves)


def _proof(prove: Prove, wheel: Wheel) -> Proof:
    version = wheel.facts.version
    if not applies(prove.when, version):
        text = f"says nothing about {version}: it is about {prove.when}"
        return Proof(id=prove.id, holds=None, evidence=text)
    told, value = Told(holds=True), None
    if prove.says_something:
        told = of_files(prove, wheel, every=prove.each)
    if prove.case:
        chosen, value = _choose(prove, wheel)
        told = both([told, chosen]) if prove.says_something else chosen
    elif prove.value:
        read, value = _extract(prove, wheel)
        told = both([told, read]) if prove.says_something else read
    return Proof(id=prove.id, holds=told.holds, value=value, evidence=_text(told.why))


_LONGEST_EVIDENCE = 400


def _text(why: Iterable[Reason]) -> str:
    """Reasons in one line, each member named once."""
    about: dict[str, list[str]] = {}
    for member, words in dict.fromkeys(why):
        about.setdefault(member, []).append(words)
    lines = [f"{member} {', '.join(words)}".strip() for member, words in about.items()]
    text = "; ".join(lines)
    return text if len(text) <= _LONGEST_EVIDENCE else f"{text[: _LONGEST_EVIDENCE - 1]}…"


# -- values -----------------------------------------------------------------------------------


def _choose(prove: Prove, wheel: Wheel) -> tuple[Told, str | None]:
    """The first case that is true; none if one before it cannot be told."""
    own = several(prove.file)
    why: list[Reason] = []
    for case in prove.case:
        placed = case if case.file else case.model_copy(update={"file": own or None})
        told = of_files(placed, wheel) if own or case.says_something else Told(holds=True)
        if told.holds:
            return Told(holds=True, why=tuple(dict.fromkeys([*told.why, *why]))), case.value
        why += told.why
        if told.holds is None:
            return Told(holds=None, why=told.why), None
    return Told(holds=None, why=tuple(why)), None


def _extract(prove: Prove, wheel: Wheel) -> tuple[Told, str | None]:
    """All values that the files show, and which file shows which."""
    files = wheel.matching(several(prove.file))
    shown: dict[str, list[str]] = {}
    for one in files:
        for value in _values(prove, one, wheel.elf.get(one.path)):
            shown.setdefault(value, []).append(posixpath.basename(one.path))
    if not shown:
        named = " or ".join(several(prove.file))
        text = f"{len(files)} files match {named}, none shows a value"
        return Told(holds=None, why=(("", text if files else f"no file matches {named}"),)), None
    values = sorted(shown, key=_order)
    single = prove.value is not None and prove.value.single
    why = tuple(("", f"{value} in {_few(shown[value])}") for value in values)
    return Told(holds=len(values) == 1 or not single, why=why), ", ".join(values)


_FEW = 4


def _few(names: Sequence[str]) -> str:
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - _FEW} more" if len(known) > _FEW else ""
    return ", ".join(known[:_FEW]) + more


def _values(prove: Prove, file: Seen, elf: ElfFile | None) -> Iterator[str]:
    source = prove.value
    if source is None:
        return
    if source.string:
        yield from (".".join(groups) for groups in file.matches.get(source.string, ()))
        return
    pattern = re.compile(str(source.library or source.path))
    texts = (elf.needed if elf else ()) if source.library else (file.path,)
    for text in texts:
        if found := pattern.search(text):
            yield ".".join(group or "" for group in found.groups())


def _order(value: str) -> tuple[tuple[int, int | str], ...]:
    """Numbers in a value as numbers: 2.9 before 2.11."""
    parts = re.findall(r"\d+|\D+", value)
    return tuple((0, int(one)) if one.isdecimal() else (1, one) for one in parts)


# -- what follows for a report ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What a wheel is, and what it is held to."""

    host_libraries: tuple[str, ...] | None = ()
    """Soname globs that the recipe leaves to the host; ``None``: it does not know this wheel's."""

    accelerator: Accelerator | None = None
    arch: str | None = None
    own: bool = False
    """kvpack built it from the recipe: every ``expect`` must be met."""
    torch: tuple[str, ...] = ()
    """The minor versions of torch that it was built for."""
    commit: str | None = None
    """The locked commit that it was built from."""
    profiles: tuple[str, ...] = ()
    """Uses whose tables must be met, by whoever built it."""


def with_proofs(
    report: AuditReport,
    proves: Sequence[Prove],
    identity: Identity | None,
    seen: Mapping[str, Seen],
    held: Held,
) -> AuditReport:
    """Add the proofs to a report, and an error for each that the wheel had to show and does not."""
    facts, told = report.facts, commit_of(identity, seen)
    found = [*_other_version(facts, told), *_other_commit(facts, identity, told, held)]
    if told:
        facts = facts.model_copy(update={"commit": told[1]})
    proofs = prove_all(proves, facts, seen, held.host_libraries)
    found += _missed(facts, proves, proofs, held)
    order = list(Severity)
    findings = sorted([*found, *report.findings], key=lambda one: order.index(one.severity))
    return report.model_copy(update={"facts": facts, "proofs": proofs, "findings": tuple(findings)})


def _other_version(facts: WheelFacts, told: tuple[str, str] | None) -> Iterator[Finding]:
    public = facts.version.partition("+")[0]
    if told and told[0] != public:
        yield Finding(
            check="identity",
            severity=Severity.WARNING,
            place=facts.filename,
            message=f"its files say {told[0]} (git: {told[1]}), its metadata say {public}",
            hint="look which source it was built from",
        )


def _other_commit(
    facts: WheelFacts, identity: Identity | None, told: tuple[str, str] | None, held: Held
) -> Iterator[Finding]:
    """A wheel of ours that names another commit than the locked one, or none."""
    if identity is None or held.commit is None or not applies(identity.when, facts.version):
        return
    if told is None or not held.commit.startswith(told[1]):
        said = f"its files say commit {told[1]}" if told else "its files name no commit"
        yield Finding(
            check="identity",
            severity=Severity.ERROR,
            place=facts.filename,
            message=f"{said}, the lock says {held.commit}",
            hint="build.git-head = true gives the source a .git that names its commit",
        )


def _missed(
    facts: WheelFacts, proves: Sequence[Prove], proofs: Sequence[Proof], held: Held
) -> Iterator[Finding]:
    for prove, proof in zip(proves, proofs, strict=True):
        wanted = prove.expected(facts.version, held.accelerator, held.arch)
        if prove.torch and held.own and applies(prove.when, facts.version):
            if proof.value == (", ".join(held.torch) or None):
                continue
            wanted = ", ".join(held.torch) or "nothing"
        profiles = [name for name in held.profiles if name in prove.profile]
        if profiles and wanted is None and not prove.expectations:
            wanted = True
        met = proof.value == wanted if isinstance(wanted, str) else proof.holds is wanted
        met = met or (prove.optional and proof.holds is None and not profiles)
        if wanted is None or met or not (held.own or profiles):
            continue
        yield Finding(
            check="prove",
            severity=Severity.ERROR,
            place=facts.filename,
            message=f"{prove.id}: {_outcome(proof)}, {_reason(prove, wanted, profiles)}; "
            f"{proof.evidence}",
            hint=prove.hint
            or "look at the recipe's options and patches: the build did not do what they ask for",
        )


def _outcome(proof: Proof) -> str:
    if proof.value is not None:
        return f"it is {proof.value}"
    return {True: "it holds", False: "it does not hold", None: "it cannot be told"}[proof.holds]


def _reason(prove: Prove, wanted: bool | str, profiles: Sequence[str]) -> str:  # noqa: FBT001
    need = f"profile {', '.join(profiles)}" if profiles else "recipe"
    if isinstance(wanted, str):
        return f"but the {need} wants {wanted}"
    return f"but the {need} wants {'it' if wanted else 'it not to hold'} ({prove.summary})"
