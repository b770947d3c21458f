"""Recipes -> one page of Markdown, the catalogue as people browse it. Pure."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from kvpack.names import Accelerator
from kvpack.recipe.model import Option, Patch, Recipe
from kvpack.recipe.prove import Prove
from kvpack.recipe.source import ArchiveSource, GitSource, SdistSource, Source
from kvpack.recipe.versions import applies

_ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")
"""How recipes name a discussion of upstream; GitHub leads from issues to pull requests."""


def page(recipes: Sequence[Recipe], *, locked: Collection[str], root: str, command: str) -> str:
    """The whole page.

    :param locked: names of the recipes that have a lock.
    :param root: how links reach the catalogue's folder from the page: ``..``.
    :param command: what makes the page anew.
    """
    lines = [
        "# Catalogue",
        "",
        f"Made by `{command}` from [recipes/]({root}/recipes).",
        "Do not edit it: change a recipe, and make it again.",
        "",
        *_table(
            ("recipe", "version", "accelerators", "what it is"),
            (
                (
                    f"[{recipe.name}](#{recipe.name})",
                    _code(recipe.default_version),
                    ", ".join(recipe.targets.accelerator),
                    _plain(recipe.summary),
                )
                for recipe in recipes
            ),
        ),
    ]
    for recipe in recipes:
        lines += ["", *_recipe(recipe, root, locked=recipe.name in locked)]
    return "\n".join(lines) + "\n"


def _recipe(recipe: Recipe, root: str, *, locked: bool) -> Iterator[str]:
    yield f"## {recipe.name}"
    yield ""
    links = [f"[recipe]({root}/recipes/{recipe.name}.toml)"]
    links += [f"[lock]({root}/lock/{recipe.name}.toml)"] if locked else ["not locked yet"]
    links += [f"[homepage]({_url(recipe.homepage)})"] if recipe.homepage else []
    yield f"{_plain(recipe.summary)}."
    yield ""
    yield (
        f"Licence {_code(recipe.license)} · import names {_codes(recipe.distribution.owns)} · "
        + " · ".join(links)
    )
    parts = (
        ("Versions", _versions(recipe)),
        ("Targets", _targets(recipe)),
        ("Options", _options(recipe)),
        ("Patches", _patches(recipe, root)),
        ("Proofs", _proofs(recipe)),
        ("Around the build", _around(recipe)),
    )
    for title, part in parts:
        if lines := list(part):
            yield from ("", f"### {title}", "", *lines)


def _versions(recipe: Recipe) -> Iterator[str]:
    def row(version: str) -> tuple[str, str]:
        mark = " (default)" if version == recipe.default_version else ""
        return _code(version) + mark, _source(recipe.versions[version].source)

    yield from _table(("version", "source"), map(row, recipe.versions))


def _source(source: Source) -> str:
    match source:
        case SdistSource():
            return f"sdist of {_code(source.sdist)}"
        case GitSource():
            tag = f", tag {_code(source.tag)}" if source.tag else ""
            commit = f", commit {_code(source.commit[:12])}" if source.commit else ""
            modules = ", with submodules" if source.submodules else ""
            shown = source.git.partition("://")[2].removesuffix(".git")
            return f"git [{_plain(shown)}]({_url(source.git)}){tag}{commit}{modules}"
        case ArchiveSource():
            return f"archive [{_plain(source.file)}]({_url(source.archive)})"


def _targets(recipe: Recipe) -> Iterator[str]:
    targets, default = recipe.targets, recipe.targets.default

    def named(accelerator: Accelerator) -> str:
        return f"{accelerator} as {_code(recipe.distribution.name_for(accelerator) or '?')}"

    rows = (
        ("Python", targets.python, default.python),
        ("glibc floor", targets.glibc, default.glibc or targets.glibc[-1:]),
        ("architecture", targets.arch, default.arch or ["that of the machine"]),
        (
            "accelerator",
            [named(one) for one in targets.accelerator],
            default.accelerator or [Accelerator.CPU],
        ),
    )
    yield from _table(
        ("axis", "offered", "if nothing is selected"),
        (
            (
                name,
                ", ".join(offered),
                ", ".join(chosen) if chosen else "all that a root has at the floor",
            )
            for name, offered, chosen in rows
        ),
    )


def _options(recipe: Recipe) -> Iterator[str]:
    def row(item: tuple[str, Option]) -> tuple[str, ...]:
        name, option = item
        values = [_value(option.default)]
        values += [f"{_value(v)} for {a}" for a, v in sorted(option.per_accelerator.items())]
        sets = f"CMake {_code(option.cmake)}" if option.cmake else f"env {_code(option.env or '')}"
        return (
            _code(name),
            ", ".join(values),
            sets,
            _code(option.when) if option.when else "all",
            _plain(option.summary),
        )

    if recipe.options:
        rows = map(row, sorted(recipe.options.items()))
        yield from _table(("option", "default", "sets", "versions", "what"), rows)


def _value(value: bool | str) -> str:  # noqa: FBT001  # what an option may hold
    return ("on" if value else "off") if isinstance(value, bool) else _code(value)


def _patches(recipe: Recipe, root: str) -> Iterator[str]:
    def row(patch: Patch) -> tuple[str, ...]:
        place = f"{root}/patches/{recipe.name}/{patch.file}"
        change = (
            f"[{_plain(patch.file)}]({place})"
            if patch.file
            else f"commit {_code(str(patch.commit)[:12])}"
        )
        used = [version for version in recipe.versions if applies(patch.when, version)]
        when = f" ({_code(patch.when)})" if patch.when else ""
        return (
            _code(patch.id),
            change,
            (", ".join(used) or "none of these versions") + when,
            _upstream(patch.upstream or ""),
            _plain(patch.why),
        )

    if recipe.patches:
        headers = ("patch", "change", "applied to", "upstream", "why")
        yield from _table(headers, map(row, recipe.patches))


def _upstream(text: str) -> str:
    found = _ISSUE.fullmatch(text)
    if found is None:
        return _plain(text)
    return f"[{_plain(text)}](https://github.com/{found[1]}/issues/{found[2]})"


def _proofs(recipe: Recipe) -> Iterator[str]:
    def row(prove: Prove) -> tuple[str, ...]:
        return _code(prove.id), _plain(prove.summary), _expected(prove), ", ".join(prove.profile)

    if recipe.prove:
        yield "What a wheel's own binaries must show; what nothing is expected of is only reported."
        yield ""
        headers = ("proof", "what it means", "a wheel built here", "profiles")
        yield from _table(headers, map(row, recipe.prove))


def _expected(prove: Prove) -> str:
    told = []
    for one in prove.expectations:
        what = _code(str(one.to_be))
        if isinstance(one.to_be, bool):
            what = "holds" if one.to_be else "does not hold"
        limits = [*(one.accelerator or ()), *(one.arch or ()), *([one.when] if one.when else ())]
        told.append(what + (f" for {', '.join(limits)}" if limits else ""))
    versions = f" in {_code(prove.when)}" if prove.when else ""
    return "; ".join(told) + versions if told else "reported" + versions


def _around(recipe: Recipe) -> Iterator[str]:
    build, audit = recipe.build, recipe.audit
    rows = (
        ("Debian packages in its builder root", _codes(build.debian)),
        ("build requirements beside the source's own", _codes(build.requires)),
        ("libraries that the host supplies", _codes(audit.host_libraries)),
        ("must import", _codes(audit.imports)),
        ("must run", _codes(" ".join(command) for command in audit.run)),
    )
    yield from _table(("what", "which"), ((what, said) for what, said in rows if said))


# -- Markdown ---------------------------------------------------------------------------------


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table of GitHub Flavored Markdown; none without rows."""
    found = [f"| {' | '.join(row)} |" for row in rows]
    if not found:
        return []
    return [f"| {' | '.join(headers)} |", "|" + "---|" * len(headers), *found]


def _plain(text: str) -> str:
    """Text that stays text: one line, nothing that Markdown or HTML would take for its own."""
    text = " ".join(text.split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text)


def _code(text: str) -> str:
    """A code span; GFM splits table cells before it reads code, so a pipe is escaped there too."""
    text = " ".join(text.split()).replace("|", r"\|")
    marks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{marks}{space}{text}{space}{marks}"


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(_code(text) for text in texts)


def _url(text: str) -> str:
    """A link's target: what would end it is percent-encoded."""
    return re.sub(r"[()<>|\s]", lambda found: f"%{ord(found[0]):02X}", text)
