"""What each patch of a recipe still does to its source; adds and drops patches.

status   needed, already upstream (its reverse applies), partly upstream, conflicts: against the
         source of the recipe's version, or any tag, branch or commit of it (--against). A patch
         that is not needed in its own range of versions exits with 36 until the range says so.
add      FILE is copied to patches/RECIPE/; COMMIT (40 digits) is one of upstream's own history.
         Recipe and lock change together, or neither.
drop     takes a patch out of recipe and lock, and its file
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.cli.faults import as_error
from kvpack.cli.sources import add_source_options, supplied
from kvpack.errors import Fault, KvpackError, PatchFailed

if TYPE_CHECKING:
    from kvpack.recipe.model import Recipe


class Args(Options):
    action: str
    recipe: str | None = None
    version: str | None = None
    against: str | None = None
    sources: Sequence[str] = ()
    what: str = ""
    """add: a file or a commit; drop: the id of a patch."""
    why: str = ""
    when: str | None = None
    upstream: str | None = None
    id: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from kvpack.cli.main import global_options

    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", required=True, help="see above", parser_class=type(parser)
    )

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        shared = [global_options(suppress=True)]
        return actions.add_parser(name, help=summary, parents=shared, allow_abbrev=False)

    status = action("status", "what each patch still does")
    status.add_argument("recipe", metavar="RECIPE", nargs="?", help="default: all recipes")
    status.add_argument("--version", metavar="V", help="version of the package")
    status.add_argument("--against", metavar="REF", help="a tag, branch or commit of the source")
    add_source_options(status)
    add = action("add", "add a patch to recipe and lock")
    add.add_argument("recipe", metavar="RECIPE")
    add.add_argument("what", metavar="FILE|COMMIT", help="a patch, or a commit of the source")
    add.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the reader")
    add.add_argument("--when", metavar="RANGE", help="versions it is for, such as '<0.3.11'")
    add.add_argument("--upstream", metavar="REF", help="owner/repository#123")
    add.add_argument("--id", metavar="NAME", help="default: the file's name, or the commit's")
    add_source_options(add)
    drop = action("drop", "drop a patch from recipe and lock")
    drop.set_defaults(sources=[])
    drop.add_argument("recipe", metavar="RECIPE")
    drop.add_argument("what", metavar="ID", help="the patch's id")


def run(args: Args, context: Context) -> int:
    """Dispatch."""
    from kvpack.cli.patchedit import add, drop

    if args.action == "status":
        return _status(args, context)
    context.supplied.update(supplied(list(args.sources), [str(args.recipe)]))
    if args.action == "add":
        fields = {"id": args.id, "when": args.when, "upstream": args.upstream, "why": args.why}
        add(context, str(args.recipe), args.what, fields)
    else:
        drop(context, str(args.recipe), args.what)
    return 0


def _status(args: Args, context: Context) -> int:
    from kvpack.recipe.load import load_recipe

    names = [args.recipe] if args.recipe else context.catalogue.names
    context.supplied.update(supplied(list(args.sources), names))
    rows: list[dict[str, Any]] = []
    errors: list[KvpackError] = []
    for name in names:
        try:
            recipe = load_recipe(context.catalogue, name)
            if recipe.patches or args.recipe:
                found = _of_recipe(args, context, recipe)
                rows += found
                errors += _unneeded(found, name)
        except (KvpackError, OSError) as problem:
            errors.append(as_error(problem))
    _answer(context, rows, errors)
    return errors[0].exit_code if errors else 0


def _of_recipe(args: Args, context: Context, recipe: "Recipe") -> list[dict[str, Any]]:
    """The patches of one recipe, each tried on what those before it left."""
    from kvpack.cli.patchtree import source_tree, text_of, version_of
    from kvpack.fetch.patchstate import State, Verdict, judge
    from kvpack.recipe.expand import choose_version
    from kvpack.recipe.versions import applies

    version = choose_version(recipe, args.version)
    judged = version_of(args.against) if args.against else version
    rows = []
    wanted = [p for p in recipe.patches if judged is None or applies(p.when, judged)]
    with source_tree(context, recipe, version, args.against) as (tree, shown):
        for patch in recipe.patches:
            verdict = Verdict(state=State.EXCLUDED)
            if patch in wanted:
                text = text_of(context, recipe, patch)
                verdict = judge(text, tree)
                if verdict.state is State.NEEDED:
                    tree.apply(text)
            rows.append(
                {
                    "recipe": recipe.name,
                    "version": version,
                    "against": shown if args.against else version,
                    "id": patch.id,
                    "state": verdict.state.value,
                    "hunks": list(verdict.hunks),
                    "in-range": judged is not None and patch in wanted,
                    "when": patch.when,
                    "upstream": patch.upstream,
                    "commit": patch.commit,
                    "file": patch.file,
                    "why": patch.why,
                }
            )
    return rows


def _unneeded(rows: list[dict[str, Any]], name: str) -> list[PatchFailed]:
    """An error for patches that a version does not need, or does not take, in their own range."""
    bad = [row for row in rows if row["in-range"] and row["state"] != "needed"]
    if not bad:
        return []
    faults = [
        Fault(
            place=f"recipes/{name}.toml: patch {row['id']}",
            message=f"{row['state']} in {row['against']}, which its range "
            f"({row['when'] or 'all versions'}) holds",
            hint=f"exclude that version with when = , or: kvpack patches drop {name} {row['id']}"
            if "upstream" in row["state"]
            else "make it anew for this version, or limit it with when =",
        )
        for row in bad
    ]
    return [
        PatchFailed(
            f"{len(bad)} patch{'es' if len(bad) > 1 else ''} of {name} "
            f"do{'' if len(bad) > 1 else 'es'} not fit its source {bad[0]['against']}",
            cause="upstream took the change, or changed what is around it",
            hint="mend the recipe; kvpack build would fail on it",
            faults=faults,
        )
    ]


def _answer(context: Context, rows: list[dict[str, Any]], errors: list[KvpackError]) -> None:
    console = context.console
    if console.as_json:
        told = [error.as_json() for error in errors]
        console.answer("patches-status", {"patches": rows, "errors": told})
        return
    if rows:
        console.table(
            ["recipe", "against", "patch", "state", "when", "upstream", "hunks"],
            [
                [
                    row["recipe"],
                    row["against"],
                    row["id"],
                    row["state"],
                    row["when"] or "all versions",
                    row["upstream"] or (row["commit"] or "")[:12],
                    "; ".join(row["hunks"]),
                ]
                for row in rows
            ],
        )
    elif not errors:
        console.print("no patches")
    for error in errors:
        console.error(error)
