"""Recipes -> one page of Markdown, the catalogue as people browse it. Pure."""

import re
from collections.abc import Collection, Iterator, Sequence

from kvpack.names import Accelerator
from kvpack.recipe.golang import Go
from kvpack.recipe.hostpage import on_hosts
from kvpack.recipe.library import LibraryUse
from kvpack.recipe.markdown import code, codes, plain, table, url
from kvpack.recipe.model import Patch, Recipe
from kvpack.recipe.option import Option
from kvpack.recipe.prove import Prove
from kvpack.recipe.source import ArchiveSource, GitSource, SdistSource, Source
from kvpack.recipe.toolkitimage import ToolkitImage
from kvpack.recipe.toolkits import Toolkits
from kvpack.recipe.versions import applies

_ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")
"""How recipes name a discussion of upstream; GitHub leads from issues to pull requests."""


def page(
    recipes: Sequence[Recipe],
    *,
    locked: Collection[str],
    root: str,
    command: str,
    toolkits: Toolkits,
) -> str:
    """The whole page.

    :param locked: names of the recipes that have a lock.
    :param root: how links reach the catalogue's folder from the page: ``..``.
    :param command: what makes the page anew.
    :param toolkits: what accelerators have as theirs.
    """
    lines = [
        "# Catalogue",
        "",
        f"Made by `{command}` from [recipes/]({root}/recipes).",
        "Do not edit it: change a recipe, and make it again.",
        "",
        *table(
            ("recipe", "version", "accelerators", "what it is"),
            (
                (
                    f"[{recipe.name}](#{recipe.name})",
                    code(recipe.default_version),
                    ", ".join(recipe.targets.accelerator),
                    plain(recipe.summary),
                )
                for recipe in recipes
            ),
        ),
    ]
    for recipe in recipes:
        lines += ["", *_recipe(recipe, root, toolkits, locked=recipe.name in locked)]
    return "\n".join(lines) + "\n"


def _recipe(recipe: Recipe, root: str, toolkits: Toolkits, *, locked: bool) -> Iterator[str]:
    yield f"## {recipe.name}"
    yield ""
    links = [f"[recipe]({root}/recipes/{recipe.name}.toml)"]
    links += [f"[lock]({root}/lock/{recipe.name}.toml)"] if locked else ["not locked yet"]
    links += [f"[homepage]({url(recipe.homepage)})"] if recipe.homepage else []
    yield f"{plain(recipe.summary)}."
    yield ""
    kind = f"import names {codes(recipe.distribution.owns)}"
    if recipe.library is not None:
        kind = f"a native library at {code(recipe.library.prefix)}, for what is built with it"
    yield f"Licence {code(recipe.license)} · {kind} · " + " · ".join(links)
    parts = (
        ("Versions", _versions(recipe)),
        ("Targets", _targets(recipe)),
        ("Options", _options(recipe)),
        ("Patches", _patches(recipe, root)),
        ("Proofs", _proofs(recipe)),
        ("Around the build", _around(recipe, toolkits)),
        ("On its hosts", on_hosts(recipe)),
    )
    for title, part in parts:
        if lines := list(part):
            yield from ("", f"### {title}", "", *lines)


def _versions(recipe: Recipe) -> Iterator[str]:
    def row(version: str) -> tuple[str, str]:
        mark = " (default)" if version == recipe.default_version else ""
        return code(version) + mark, _source(recipe.versions[version].source)

    yield from table(("version", "source"), map(row, recipe.versions))


def _source(source: Source) -> str:
    match source:
        case SdistSource():
            return f"sdist of {code(source.sdist)}"
        case GitSource():
            tag = f", tag {code(source.tag)}" if source.tag else ""
            commit = f", commit {code(source.commit[:12])}" if source.commit else ""
            modules = ", with submodules" if source.submodules else ""
            shown = source.git.partition("://")[2].removesuffix(".git")
            return f"git [{plain(shown)}]({url(source.git)}){tag}{commit}{modules}"
        case ArchiveSource():
            return f"archive [{plain(source.file)}]({url(source.archive)})"


def _targets(recipe: Recipe) -> Iterator[str]:
    targets, default = recipe.targets, recipe.targets.default

    def named(accelerator: Accelerator) -> str:
        if recipe.library is not None:
            return str(accelerator)
        return f"{accelerator} as {code(recipe.distribution.name_for(accelerator) or '?')}"

    rows = (
        ("Python", targets.python, default.python),
        ("glibc floor", targets.glibc, default.glibc or targets.glibc[-1:]),
        ("architecture", targets.arch, default.arch or ["that of the machine"]),
        (
            "accelerator",
            [named(one) for one in targets.accelerator],
            default.accelerator or [Accelerator.CPU],
        ),
        (
            "torch, for extensions",
            [
                *(f"{', '.join(minors)} for {kind}" for kind, minors in targets.torch.items()),
                *(f"{one} on Python {', '.join(has)}" for one, has in targets.torch_python.items()),
            ],
            default.torch or ["none: a wheel without them"],
        ),
    )
    yield from table(
        ("axis", "offered", "if nothing is selected"),
        (
            (
                name,
                ", ".join(offered),
                ", ".join(chosen) if chosen else "all that a root has at the floor",
            )
            for name, offered, chosen in rows
            if offered
        ),
    )


def _options(recipe: Recipe) -> Iterator[str]:
    def row(item: tuple[str, Option]) -> tuple[str, ...]:
        name, option = item
        values = [_value(option.default)]
        values += [f"{_value(v)} for {a}" for a, v in sorted(option.per_accelerator.items())]
        if option.with_torch is not None:
            values.append(f"{_value(option.with_torch)} with `--torch`")
        names = (
            ("CMake", option.cmake),
            ("meson", option.meson),
            ("configure", option.configure and f"--{option.configure}"),
            ("env", option.env),
        )
        sets = " ".join(f"{kind} {code(name)}" for kind, name in names if name)
        return (
            code(name),
            ", ".join(values),
            sets,
            code(option.when) if option.when else "all",
            plain(option.summary),
        )

    if recipe.options:
        rows = map(row, sorted(recipe.options.items()))
        yield from table(("option", "default", "sets", "versions", "what"), rows)


def _value(value: bool | str) -> str:  # noqa: FBT001  # what an option may hold
    return ("on" if value else "off") if isinstance(value, bool) else code(value)


def _patches(recipe: Recipe, root: str) -> Iterator[str]:
    def row(patch: Patch) -> tuple[str, ...]:
        place = f"{root}/patches/{recipe.name}/{patch.file}"
        change = (
            f"[{plain(patch.file)}]({place})"
            if patch.file
            else f"commit {code(str(patch.commit)[:12])}"
        )
        used = [version for version in recipe.versions if applies(patch.when, version)]
        when = f" ({code(patch.when)})" if patch.when else ""
        return (
            code(patch.id),
            change,
            (", ".join(used) or "none of these versions") + when,
            _upstream(patch.upstream or ""),
            plain(patch.why),
        )

    if recipe.patches:
        headers = ("patch", "change", "applied to", "upstream", "why")
        yield from table(headers, map(row, recipe.patches))


def _upstream(text: str) -> str:
    found = _ISSUE.fullmatch(text)
    if found is None:
        return plain(text)
    return f"[{plain(text)}](https://github.com/{found[1]}/issues/{found[2]})"


def _proofs(recipe: Recipe) -> Iterator[str]:
    def row(prove: Prove) -> tuple[str, ...]:
        return code(prove.id), plain(prove.summary), expected(prove), ", ".join(prove.profile)

    if recipe.prove:
        yield "What a wheel's own binaries must show; what nothing is expected of is only reported."
        yield ""
        headers = ("proof", "what it means", "a wheel built here", "profiles")
        yield from table(headers, map(row, recipe.prove))


def expected(prove: Prove) -> str:
    """What a wheel of ours must show, as Markdown: a value is in backticks."""
    told = []
    for one in prove.expectations:
        what = code(str(one.to_be))
        if isinstance(one.to_be, bool):
            what = "holds" if one.to_be else "does not hold"
        limits = [*(one.accelerator or ()), *(one.arch or ()), *([one.when] if one.when else ())]
        told.append(what + (f" for {', '.join(limits)}" if limits else ""))
    versions = f" in {code(prove.when)}" if prove.when else ""
    versions += ", where it has that part" if prove.optional else ""
    if prove.torch:
        told.append("the versions that `--torch` names")
    return "; ".join(told) + versions if told else "reported" + versions


def _around(recipe: Recipe, toolkits: Toolkits) -> Iterator[str]:
    build, audit = recipe.build, recipe.audit
    images = {accelerator: image for accelerator, _, image in toolkits.images(recipe)}
    rows = (
        ("Debian packages in its builder root", codes(build.debian)),
        *((f"toolkit for {accelerator}", _image(image)) for accelerator, image in images.items()),
        ("build requirements beside the source's own", codes(build.requires)),
        ("folders whose Go modules are locked", _go(build.go) if build.go else ""),
        ("native libraries it is built with", ", ".join(_library(one) for one in build.libraries)),
        ("libraries that the host supplies", codes(audit.host_libraries)),
        ("must import", codes(audit.imports)),
        ("must run", codes(" ".join(command) for command in audit.run)),
    )
    yield from table(("what", "which"), ((what, said) for what, said in rows if said))


def _image(image: ToolkitImage) -> str:
    where = f"for {', '.join(image.arch)} on glibc {image.glibc} or newer"
    return f"{code(image.folder)} of {code(image.image)}, {where}"


def _go(go: Go) -> str:
    return f"{codes(go.modules)}, for {code(go.toolchain)} {plain(go.where)}".rstrip()


def _library(use: LibraryUse) -> str:
    limits = [*(use.accelerator or ()), *([use.when] if use.when else ())]
    where = f" for {', '.join(limits)}" if limits else ""
    return f"[{plain(use.name)}](#{use.name}) {code(use.version)}{where}"
