"""All that ``kvpack new`` knows of a source, and what follows from it. Pure."""

from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from kvpack.names import normalize, version_key
from kvpack.recipe.about import About
from kvpack.recipe.hints import Hints
from kvpack.recipe.roots import RootKind, Roots
from kvpack.recipe.survey import Survey


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a draft offers on its axes."""

    family: str
    """``build.root``."""
    python: tuple[str, ...]
    glibc: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a draft is made of."""

    name: str
    """Of the recipe."""
    project: str
    """Normalized name of the distribution."""
    version: str
    source: str
    """The inline table of ``source``."""
    origin: str
    """What was read, as messages call it."""
    about: About
    survey: Survey
    backend: str
    build_requires: tuple[str, ...]
    owns: tuple[str, ...]
    owns_from: str
    """Where the import names are from; starts with ``guess`` if they are one."""
    from_git: bool = False
    """Whether the recipe's source is a repository, whatever the facts were read from."""
    programs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    offer: Offer

    @property
    def asks_git_for_version(self) -> bool:
        asked = [*self.build_requires, *(name for name, _ in self.survey.requires)]
        return self.from_git and "setuptools-scm" in {normalize(Requirement(a).name) for a in asked}


def offer_for(requires_python: str, roots: Roots, hints: Hints) -> Offer | None:
    """Pythons and floors of the first family of roots that has a Python which the source takes.

    Generated Debian roots come first: all of them take system packages.
    """
    oldest = version_key(hints.oldest_python)
    for family in ("debian", "pypa"):
        kinds: list[tuple[RootKind, list[str]]] = []
        for kind in roots.matching(family):
            fit = [one for one in kind.python if version_key(one) >= oldest]
            if fit := [one for one in fit if _takes(requires_python, one)]:
                kinds.append((kind, fit))
        if kinds:
            pythons = {python for _, fit in kinds for python in fit}
            return Offer(
                family=family,
                python=tuple(sorted(pythons, key=version_key)),
                glibc=tuple(kind.glibc for kind, _ in kinds),
            )
    return None


def _takes(requires_python: str, python: str) -> bool:
    try:
        specifier = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return True
    # The patch release of a root is not known here: any will do.
    return any(specifier.contains(f"{python}{patch}") for patch in ("", ".99"))


def owned(facts: Facts, hints: Hints) -> list[str]:
    """The import names, without those that no one wheel should own."""
    return [name for name in facts.owns if name not in hints.common_names] or list(facts.owns)


def requires_of(facts: Facts, hints: Hints) -> list[tuple[str, str]]:
    """Build requirements that are not locked by themselves, each with its reason."""
    known = {normalize(Requirement(text).name) for text in facts.build_requires}
    found: dict[str, str] = {}
    for backend in hints.backends:
        if facts.backend.partition(".")[0] == backend.module:
            found |= dict.fromkeys(backend.requires, f"{backend.module} asks for it")
    found |= dict(facts.survey.requires)
    for guess in facts.survey.guesses:
        if guess.library.requires and guess.sure:
            found.setdefault(guess.library.requires, f"guess: {guess.because}")
    rows = []
    for name, why in found.items():
        if name in known:
            continue
        version, said = "", why
        if name == "cmake" and facts.survey.old_cmake:
            version = "<4"
            said += f"; CMake 4 refuses {facts.survey.old_cmake}"
        elif name == "cmake" and facts.about.cmake_version:
            version = facts.about.cmake_version.replace(" ", "")
        rows.append((name + version, said))
    return rows


def notes_of(facts: Facts, hints: Hints) -> list[str]:
    """What a user should look at before the first build."""
    found = [*facts.notes, *facts.survey.notes]
    found += [
        f"{backend.module}: {backend.note}"
        for backend in hints.backends
        if backend.note and facts.backend.partition(".")[0] == backend.module
    ]
    found += [
        f"{guess.library.note} ({guess.because})"
        for guess in facts.survey.guesses
        if guess.library.note
    ]
    if not facts.about.license:
        said = facts.about.license_said
        told = f"says {said!r}, which is no SPDX expression" if said else "says nothing"
        files = ", ".join(facts.survey.licences[:4])
        found.append(f"license: its metadata {told}" + (f"; read {files}" if files else ""))
    common = sorted({*facts.owns} & {*hints.common_names})
    if common:
        found.append(
            f"its published wheel also installs {', '.join(common)} into site-packages, where any "
            "other wheel may do the same: leave it out (build.config-settings), or own it"
        )
    return found
