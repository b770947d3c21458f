"""What uv is asked for an intent: members of families chosen, the others kept out. Pure.

An intent says what is wanted, a family which of its members an accelerator takes. What cannot be
known before a solution is there (a member that comes in transitively) is amended, and asked again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from kvpack.base import Value
from kvpack.errors import Fault
from kvpack.names import Accelerator, normalize
from kvpack.resolve.families import Families, Family, Member
from kvpack.resolve.intent import Wish


class Ask(Value):
    """One question to the resolver."""

    requires: tuple[str, ...]
    """Requirements (PEP 508)."""
    excludes: tuple[str, ...]
    """Projects that are dropped wherever they come in."""
    constraints: tuple[str, ...]
    """Ranges that hold wherever their project comes in."""
    chosen: dict[str, str]
    """Family -> its one member."""
    reasons: tuple[str, ...] = ()
    """Why something was chosen or bounded, a line each, for messages and headers."""


class Found(Value):
    """A distribution of a solution, with what its METADATA asks for."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


def first_ask(
    wishes: Sequence[Wish], families: Families, accelerator: Accelerator
) -> tuple[Ask | None, list[Fault]]:
    """The question of an intent, or every reason why there is none."""
    flavours, faults = _flavours(wishes, families, accelerator)
    chosen = {family.name: member.name for family, member in flavours.items()}
    requires: list[str] = []
    reasons: list[str] = []
    for wish in wishes:
        family = families.family_of(wish.name)
        name = wish.name if family is None else chosen.get(family.name, wish.name)
        if family is None or wish.name in {family.dispatcher, name}:
            requires.append(wish.text)
        else:
            requires.append(wish.renamed(name))
            reasons.append(f"{wish.place}: {wish.name} is {name} for {accelerator}")
        if family is not None and wish.name == family.dispatcher and family.lockstep:
            requires.append(wish.renamed(name))
    wanted = {wish.name for wish in wishes}
    excludes = [base.name for base in families.base if base.name not in wanted]
    for family in families.family:
        if family.name in chosen or _bound_elsewhere(family, accelerator):
            excludes += [name for name in family.names if name != chosen.get(family.name)]
    constraints = []
    for built in families.built_for:
        versions = built.versions(accelerator)
        if versions is not None:
            constraints.append(f"{built.name}{versions}")
        elif built.name in wanted:
            faults.append(
                Fault(
                    place=next(wish.place for wish in wishes if wish.name == built.name),
                    message=f"no version of {built.name} is built for {accelerator}",
                    hint="leave it out of this accelerator's intent",
                )
            )
    if faults:
        return None, faults
    return Ask(
        requires=tuple(dict.fromkeys(requires)),
        excludes=tuple(sorted(set(excludes))),
        constraints=tuple(constraints),
        chosen=chosen,
        reasons=tuple(reasons),
    ), []


def _bound_elsewhere(family: Family, accelerator: Accelerator) -> bool:
    """Whether all members are built against other accelerators than this one."""
    return all(member.accelerator not in {None, accelerator} for member in family.members)


def _flavours(
    wishes: Iterable[Wish], families: Families, accelerator: Accelerator
) -> tuple[dict[Family, Member], list[Fault]]:
    """The one member of each family, and wishes that no member or several members answer."""
    chosen: dict[Family, Member] = {}
    named: dict[Family, Wish] = {}
    faults = []
    for family in families.family:
        standard = family.choose(accelerator)
        if standard is not None and standard.accelerator is not None:
            chosen[family] = standard
    for wish in wishes:
        family_of = families.family_of(wish.name)
        if family_of is None:
            continue
        member = _member_for(family_of, wish.name, accelerator)
        before = named.get(family_of)
        if member is None:
            have = sorted({m.accelerator for m in family_of.members if m.accelerator})
            faults.append(
                Fault(
                    place=wish.place,
                    message=f"{wish.name} has no member of its family for {accelerator}",
                    hint=f"the family {family_of.name} has: {', '.join(have) or 'none by name'}",
                )
            )
        elif before is not None and chosen[family_of] != member:
            faults.append(
                Fault(
                    place=wish.place,
                    message=f"{member.name} cannot live beside {chosen[family_of].name} "
                    f"({before.place}): both own the same import names",
                    hint="keep one of the two lines",
                )
            )
        else:
            chosen[family_of] = member
            if wish.name != family_of.dispatcher:
                named[family_of] = wish
    return chosen, faults


def _member_for(family: Family, name: str, accelerator: Accelerator) -> Member | None:
    named = family.member(name)
    if named is None:  # the dispatcher
        return family.choose(accelerator)
    if named.accelerator is None:
        return named
    return family.choose(accelerator, named.flavour)


# -- after a solution ---------------------------------------------------------------------------


def amended(
    ask: Ask, found: Sequence[Found], families: Families, environment: Mapping[str, str]
) -> Ask | None:
    """A better question, where a solution lacks a family's other half; ``None`` if it is whole.

    A dispatcher needs its member and a member its dispatcher, at one version where they go in
    lockstep (nixl up to 1.0.1 asks for ``nixl-cu12>=``). A member that was dropped is replaced by
    the chosen one, with the same range: the members of a family are numbered alike.

    :param environment: marker variables (PEP 508) of the environment.
    """
    versions = {one.name: one.version for one in found}
    more: dict[str, str] = {}
    reasons = []
    for family in families.family:
        member = ask.chosen.get(family.name)
        if member is None:
            continue
        for requirement, reason in _halves(family, member, versions):
            more[normalize(Requirement(requirement).name)] = requirement
            reasons.append(reason)
        if member in versions or member in more:
            continue
        for one, wanted in _dropped(family, member, found, environment):
            more[member] = f"{member}{wanted.specifier}"
            reasons.append(f"{one.name} {one.version} asks for {wanted.name}: {member} instead")
    added = [text for text in more.values() if text not in ask.requires]
    if not added:
        return None
    return ask.model_copy(
        update={
            "requires": (*ask.requires, *added),
            "reasons": tuple(dict.fromkeys((*ask.reasons, *reasons))),
        }
    )


def _halves(family: Family, member: str, versions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    dispatcher = family.dispatcher
    if dispatcher is None:
        return
    mine, other = versions.get(member), versions.get(dispatcher)
    if mine is None and other is not None:
        pinned = f"{member}=={other}" if family.lockstep else member
        yield pinned, f"{dispatcher} {other} needs {pinned}"
    elif mine is not None and other is None:
        pinned = f"{dispatcher}=={mine}" if family.lockstep else dispatcher
        yield pinned, f"{member} {mine} is not imported without {pinned}"
    elif mine is not None and other is not None and family.lockstep and _public(mine, other):
        both = min(mine, other, key=Version)
        for name in (dispatcher, member):
            yield f"{name}=={both}", f"{dispatcher} and {member} go at one version"


def _public(one: str, other: str) -> bool:
    """Whether two versions differ, local parts aside (a build of ours has one)."""
    return Version(one).public != Version(other).public


def _dropped(
    family: Family, member: str, found: Iterable[Found], environment: Mapping[str, str]
) -> Iterator[tuple[Found, Requirement]]:
    """What a solution asked for and did not get: the other members of a family."""
    others = {name for name in family.names if name != member}
    for one in found:
        for wanted in requirements_of(one, environment):
            if normalize(wanted.name) in others:
                yield one, wanted


def requirements_of(one: Found, environment: Mapping[str, str]) -> Iterator[Requirement]:
    """What a distribution asks for in this environment, without extras."""
    for text in one.requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # old metadata; uv reads it with its own repairs
        if wanted.marker is None or wanted.marker.evaluate({**environment, "extra": ""}):
            yield wanted


def left_out(
    ask: Ask, found: Sequence[Found], environment: Mapping[str, str]
) -> dict[str, list[str]]:
    """Excluded project -> who in the solution asks for it, with its version."""
    who: dict[str, list[str]] = {}
    for one in found:
        for wanted in requirements_of(one, environment):
            name = normalize(wanted.name)
            if name in ask.excludes:
                who.setdefault(name, []).append(f"{one.name} {one.version}")
    return {name: sorted(set(names)) for name, names in sorted(who.items())}
