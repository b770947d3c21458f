"""What is known of a source -> the text of a first recipe. Pure.

The text teaches: what was read stands as it is, what was guessed says from what, and settings
that a user may want stand as ``#key = value``. It is a recipe that loads as it is.
"""

import json
import re
from collections.abc import Iterable, Iterator

from kvpack.recipe.about import UNKNOWN_LICENCE
from kvpack.recipe.facts import Facts, notes_of, owned, requires_of
from kvpack.recipe.hints import Hints
from kvpack.recipe.survey import Switch

WIDTH = 100
"""Of a comment."""
MOST_SWITCHES = 40
"""Options that a draft lists; a user looks the others up."""
_TRUE = {"on", "true", "yes", "1", "y"}


def draft(facts: Facts, hints: Hints) -> str:
    """The recipe's text."""
    blocks = [
        _head(facts, hints),
        _distribution(facts, hints),
        _targets(facts),
        _options(facts.survey.cmake),
        _build(facts, hints),
        _audit(facts, hints),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in map(list, blocks) if lines)


# -- the parts --------------------------------------------------------------------------------


def _head(facts: Facts, hints: Hints) -> Iterator[str]:
    about = facts.about
    yield f"# {_plain(facts.project)} {facts.version}, drafted by kvpack new from {facts.origin}."
    yield from _comment(
        "What stands here was read from it, unless a comment says that it is a guess; nothing of "
        "it was run. Lines that start with #key are settings to uncomment. Every key: "
        "docs/reference.md; how to go on: docs/howto-recipe.md. Remove these comments as you go."
    )
    if notes := notes_of(facts, hints):
        yield "#"
        yield "# Look at these first:"
        for note in notes:
            yield from _comment(note, mark="# - ")
    yield ""
    yield "schema = 1"
    yield f"name = {quoted(facts.name)}"
    yield f"summary = {quoted(about.summary or facts.project)}"
    if about.license:
        yield f"license = {quoted(about.license)}"
    else:
        yield f"license = {quoted(UNKNOWN_LICENCE)}  # see above; an SPDX expression"
    if about.homepage:
        yield f"homepage = {quoted(about.homepage)}"
    yield f"default-version = {quoted(facts.version)}"


def _distribution(facts: Facts, hints: Hints) -> Iterator[str]:
    yield "# The wheel's project name; cuda12, cuda13 and rocm7 may have names of their own."
    yield "[distribution]"
    yield f"cpu = {quoted(facts.project)}"
    yield from _comment(
        f"Import names that the wheel may hold, others fail its audit ({facts.owns_from})."
    )
    yield f"owns = {_list(owned(facts, hints))}"
    yield ""
    yield f"[versions.{quoted(facts.version)}]"
    yield f"source = {facts.source}"


def _targets(facts: Facts) -> Iterator[str]:
    said = _plain(facts.about.requires_python)
    offer = facts.offer
    yield from _comment(
        f"Pythons: those of the {offer.family} roots that the source takes "
        f"({f'requires-python {said}' if said else 'it names no limit'}). glibc: the oldest that "
        "a wheel must load on. Architectures: x86_64 and aarch64, unless arch says less."
    )
    if offer.family == "debian":
        yield from _comment(
            'More Pythons, and the floors 2.34 and 2.35: root = ["debian", "pypa"] under [build].'
        )
    yield "[targets]"
    yield f"python = {_list(offer.python)}"
    yield f"glibc = {_list(offer.glibc)}"
    yield '#arch = ["x86_64"]'
    yield f"default = {{ glibc = {_list(offer.glibc[:1])} }}"


def _options(switches: tuple[Switch, ...]) -> Iterator[str]:
    if not switches:
        return
    yield from _comment(
        "Options that its CMake files declare. Uncomment those that this recipe shall decide; a "
        "build fails if CMake ignores one. per-accelerator = { cuda12 = true } differs for some."
    )
    seen: set[str] = set()
    for switch in switches[:MOST_SWITCHES]:
        key = re.sub(r"[^a-z0-9]+", "-", switch.variable.lower()).strip("-")
        if not key or key in seen:
            continue
        seen.add(key)
        default = "true" if switch.default.lower() in _TRUE else "false"
        yield f"#[options.{key}]"
        said = _plain(switch.default) or "OFF"
        yield f"#default = {default}  # upstream: {said} ({_plain(switch.file)})"
        yield f"#cmake = {quoted(switch.variable)}"
        if summary := _plain(switch.summary):
            yield f"#summary = {quoted(summary)}"
    if len(switches) > MOST_SWITCHES:
        yield f"# … and {len(switches) - MOST_SWITCHES} more."


def _build(facts: Facts, hints: Hints) -> Iterator[str]:
    yield "[build]"
    if facts.offer.family != "debian":
        yield f"root = {quoted(facts.offer.family)}"
    listed = ", ".join(facts.build_requires) or "none"
    yield from _comment(
        f"Back end: {facts.backend}. What the source names is locked by itself: {listed}."
    )
    if rows := requires_of(facts, hints):
        yield from _comment("What it does not name, but asks for; without it the build fails.")
        yield from _array("requires", ((one, why, True) for one, why in rows))
    else:
        yield '#requires = ["cython<3.1"]  # more requirements, or narrower ones'
    yield from _debian(facts)
    if facts.asks_git_for_version:
        yield from _comment("setuptools_scm would ask git for the version; a build has no .git.")
        yield f"environment = {{ SETUPTOOLS_SCM_PRETEND_VERSION = {quoted(facts.version)} }}"
    elif facts.survey.environment:
        yield from _comment(
            f"Variables that setup.py reads: {', '.join(facts.survey.environment)}."
        )
        yield f'#environment = {{ {facts.survey.environment[0]} = "1" }}'
    if facts.survey.meson:
        yield from _comment("Options that Meson declares: " + _shown(facts.survey.meson))
        first = facts.survey.meson[0]
        setting = f"-D{first.variable}={first.default or 'true'}"
        yield f'#config-settings = {{ "setup-args" = [{quoted(setting)}] }}'


def _debian(facts: Facts) -> Iterator[str]:
    guesses = [guess for guess in facts.survey.guesses if guess.library.debian]
    if not guesses:
        yield '#debian = ["libssl-dev"]  # nothing was found that asks for a system library'
        return
    yield from _comment(
        "Debian packages, beside a compiler: guesses from kvpack's table. Remove what is not "
        "needed; what is missing, the build names."
    )
    if facts.offer.family != "debian":
        yield "# PyPA's image of glibc 2.28 takes none: with them, leave 2.28 out of targets.glibc."
    yield from _array(
        "debian",
        (
            (package, guess.because, guess.sure and facts.offer.family == "debian")
            for guess in guesses
            for package in guess.library.debian
        ),
    )


def _audit(facts: Facts, hints: Hints) -> Iterator[str]:
    yield "[audit]"
    hosts = [
        (soname, f"of {guess.library.debian[0]}", True)  # one that is not needed does no harm
        for guess in facts.survey.guesses
        for soname in guess.library.host
    ]
    if hosts:
        yield from _comment(
            "The host supplies these, since they go with its kernel drivers; all others that the "
            "wheel needs are copied into it."
        )
        yield from _array("host-libraries", hosts)
    names = owned(facts, hints)
    yield f"import = {_list([one for one in names if not one.startswith('_')] or names)}"
    if facts.programs:
        commands = ", ".join(f'[{quoted(one)}, "--help"]' for one in facts.programs[:4])
        yield f"#run = [{commands}]  # programs of the wheel that must start"


# -- words ------------------------------------------------------------------------------------


def _array(key: str, rows: Iterable[tuple[str, str, bool]]) -> Iterator[str]:
    """A list with a reason beside each item; what is not sure is commented out."""
    yield f"{key} = ["
    for item, why, sure in rows:
        mark = "" if sure else "#"
        yield f"  {mark}{quoted(item)},  # {_plain(why)}"
    yield "]"


def _shown(switches: tuple[Switch, ...]) -> str:
    shown = [f"{one.variable} ({one.default})" if one.default else one.variable for one in switches]
    return ", ".join(shown[:MOST_SWITCHES])


def _comment(text: str, *, mark: str = "# ") -> Iterator[str]:
    """Lines of a comment; upstream's words cannot end it."""
    line = mark.rstrip()
    for word in _plain(text).split(" "):
        if len(line) + 1 + len(word) > WIDTH and line.strip("#- "):
            yield line
            line = "#".ljust(len(mark.rstrip()))
        line += f" {word}"
    yield line


def _plain(text: str) -> str:
    """One line without control characters, for a comment (TOML 1.0, "Comment")."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text).split())


def quoted(text: str) -> str:
    """A basic string (TOML 1.0): JSON's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(items: Iterable[str]) -> str:
    return "[" + ", ".join(quoted(item) for item in items) + "]"
