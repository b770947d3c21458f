"""Drafts a recipe: recipes/NAME.toml, with all that an sdist or a repository tells.

Without --sdist and --git, the project NAME of the index is read, its newest version. What was read
stands in the draft as it is; what was guessed (Debian packages, mostly) says from what. Nothing of
the source is run. A catalogue is made where there is none.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.errors import (
    CatalogueError,
    KvpackError,
    RecipeInvalid,
    UsageError,
)

if TYPE_CHECKING:
    from kvpack.cli.origins import Origin
    from kvpack.recipe.catalogue import Catalogue
    from kvpack.recipe.facts import Facts
    from kvpack.recipe.source import GitSource


class Args(Options):
    name: str
    sdist: str | None = None
    git: str | None = None
    tag: str | None = None
    sources: Sequence[str] = ()
    force: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from kvpack.cli.sources import add_source_options

    parser.add_argument(
        "name", metavar="NAME", help="of the recipe: lower case, words-with-hyphens"
    )
    parser.add_argument(
        "--sdist",
        metavar="NAME[==VERSION]|FILE",
        help="project of the index, or an sdist on this machine",
    )
    parser.add_argument(
        "--git", metavar="URL", help="repository; with --sdist, that is read instead"
    )
    parser.add_argument("--tag", metavar="TAG", help="tag of --git")
    add_source_options(parser)
    parser.add_argument("--force", action="store_true", help="replace a recipe that exists")


def run(args: Args, context: Context) -> int:
    """Write one recipe, whole or not at all."""
    from kvpack.cli.findings import facts_of
    from kvpack.cli.sources import supplied
    from kvpack.recipe.draft import draft
    from kvpack.recipe.hints import load_hints
    from kvpack.tools.files import write_text

    _check_name(args.name)
    git = _git_source(args)
    catalogue = _catalogue(context)
    path = catalogue.recipe_path(args.name)
    if path.exists() and not args.force:
        raise UsageError(
            f"{catalogue.shown(path)} exists",
            cause="a draft never replaces what people wrote",
            hint="--force replaces it; another NAME drafts beside it",
        )
    context.supplied.update(supplied(list(args.sources), [args.name]))
    hints = load_hints()
    origin = _origin(args, git, context)
    facts = facts_of(args.name, origin, git, context, hints)
    text = draft(facts, hints)
    _prove(text, args.name, context)
    write_text(path, text)
    _tell(facts, catalogue.shown(path), args, context)
    return 0


# -- what was asked for -----------------------------------------------------------------------


def _check_name(name: str) -> None:
    import re

    from kvpack.names import NAME_PATTERN, normalize

    if not re.fullmatch(NAME_PATTERN, name):
        guess = re.sub(r"[^a-z0-9-]+", "-", normalize(name)).strip("-")
        raise UsageError(
            f"{name!r} cannot name a recipe",
            cause="a name has lower-case letters and digits, words joined by single hyphens",
            hint=f"kvpack new {guess}" if guess else "kvpack new --help",
        )


def _git_source(args: Args) -> "GitSource | None":
    from pydantic import ValidationError

    from kvpack.recipe.source import GitSource

    if (args.git is None) != (args.tag is None):
        raise UsageError("--git and --tag go together", hint="--git URL --tag v1.0")
    if args.git is None:
        return None
    try:
        return GitSource(git=args.git, tag=args.tag)
    except ValidationError as error:
        said = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
        raise UsageError(f"--git or --tag: {said}", hint="--git URL --tag v1.0") from None


def _catalogue(context: Context) -> "Catalogue":
    """The catalogue, or one that begins in the working directory (or ``--root``)."""
    from kvpack.recipe.catalogue import Catalogue

    try:
        return context.catalogue
    except CatalogueError:
        folder = (context.options.root or Path.cwd()).absolute()
        context.console.note(f"{folder} becomes a catalogue: recipes/ is made there")
        context.catalogue = Catalogue(folder)
        return context.catalogue


def _origin(args: Args, git: "GitSource | None", context: Context) -> "Origin":
    from kvpack.cli.origins import ARCHIVES, from_file, from_git, from_index
    from kvpack.errors import SourceUnreachable

    if args.sdist and (args.sdist.endswith(ARCHIVES) or "/" in args.sdist):
        return from_file(context, Path(args.sdist))
    if args.sdist or git is None:
        return from_index(context, args.sdist or args.name)
    try:
        return from_git(context, args.name, git)
    except SourceUnreachable as error:
        raise SourceUnreachable(
            error.what,
            cause=error.cause,
            hint=f"--source {args.name}=PATH reads a clone or mirror; --sdist PROJECT beside --git "
            "reads its sdist instead",
            faults=error.faults,
        ) from error


# -- what is written --------------------------------------------------------------------------


def _prove(text: str, name: str, context: Context) -> None:
    """Load the draft as ``kvpack check`` would, before it is written.

    :raises KvpackError: if it is no recipe: a fault of this command.
    """
    from kvpack.recipe.catalogue import Catalogue
    from kvpack.recipe.load import load_recipe
    from kvpack.tools.files import write_text

    with context.store.scratch("new") as folder:
        trial = Catalogue(folder)
        write_text(trial.recipe_path(name), text)
        try:
            load_recipe(trial, name)
        except RecipeInvalid as error:
            raise KvpackError(
                f"the draft of {name} is no valid recipe; it was not written",
                cause="the source says something that kvpack new does not expect: a bug in kvpack",
                hint="report it, and write the recipe by hand: docs/howto-recipe.md",
                faults=error.faults,
            ) from error


def _tell(facts: "Facts", place: str, args: Args, context: Context) -> None:
    from kvpack.recipe.facts import notes_of, owned, requires_of
    from kvpack.recipe.hints import load_hints

    console, hints = context.console, load_hints()
    notes = notes_of(facts, hints)
    guesses = {
        package: one.because
        for one in facts.survey.guesses
        for package in one.library.debian
        if one.sure
    }
    requires = dict(requires_of(facts, hints))
    supplied = "".join(f" --source {word}" for word in args.sources)
    commands = [
        f"kvpack {verb} {facts.name}" + ("" if verb == "check" else supplied)
        for verb in ("lock", "check", "build")
    ]
    if console.as_json:
        console.answer(
            "new",
            {
                "recipe": facts.name, "file": place, "source": facts.origin,
                "default-version": facts.version, "guesses": guesses,
                "requires": requires,
                "notes": notes, "next": commands,
            },
        )  # fmt: skip
        return
    console.print(f"{place} drafted from {facts.origin}")
    pythons, floors = ", ".join(facts.offer.python), ", ".join(facts.offer.glibc)
    console.print(f"  version {facts.version}, Python {pythons}, glibc {floors}")
    console.print(f"  import names {', '.join(owned(facts, hints))}: {facts.owns_from}")
    for name, why in requires.items():
        console.print(f"  build.requires {name}: {why}")
    for name, why in guesses.items():
        console.print(f"  build.debian {name}, a guess: {why}")
    for note in notes:
        console.print(f"  look: {note}")
    console.print("next: read it, correct it, then")
    for command in commands:
        console.print(f"  {command}")
