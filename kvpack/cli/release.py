"""Lists, shows and compares published releases; retires one from a channel, or restores it.

list               every release of a storage, with the channels that stand for it
show ID            what it promises and holds, with digests
diff A B           wheels and locks that differ
retire ID          stop listing it in --channel; its objects stay, exact URLs go on working
restore ID         list a retired release again
"""

import argparse
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import MirrorBehind, UsageError

if TYPE_CHECKING:
    from kvpack.publish.model import LibraryLock, Promise, Release, Wheel

_IDS = {"list": 0, "show": 1, "diff": 2, "retire": 1, "restore": 1}


class Args(Options):
    action: str
    ids: list[str]
    at: str
    channel: str | None = None
    why: str = ""
    mirror: list[str]
    single_writer: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from kvpack.cli.publish import add_mirrors

    parser.add_argument("action", choices=tuple(_IDS), help="see above")
    parser.add_argument("ids", metavar="ID", nargs="*", help="id of a release")
    parser.add_argument("--at", required=True, metavar="URL", help="the storage")
    parser.add_argument("--channel", metavar="NAME", help="retire, restore: the channel")
    parser.add_argument("--why", default="", metavar="TEXT", help="retire: the reason")
    add_mirrors(parser)


def run(args: Args, context: Context) -> int:
    """Dispatch."""
    if len(args.ids) != _IDS[args.action]:
        raise UsageError(
            f"kvpack release {args.action} takes {_IDS[args.action]} ids, not {len(args.ids)}",
            hint=f"kvpack release list --at {args.at} shows them",
        )
    if args.action in {"retire", "restore"}:
        return _move(args, context)
    {"list": _list, "show": _show, "diff": _diff}[args.action](args, context)
    return 0


def _move(args: Args, context: Context) -> int:
    from kvpack.cli.publish import bring_up, check_name, open_storage
    from kvpack.cli.rollback import show
    from kvpack.publish.commit import Channel
    from kvpack.publish.mirror import Source
    from kvpack.publish.release import restore, retire

    if args.channel is None:
        raise UsageError(
            f"kvpack release {args.action} needs a channel", hint="add --channel stable"
        )
    check_name(args.channel)
    objects = open_storage(args.at, context, single_writer=args.single_writer)
    channel = Channel(objects, args.channel)
    name = args.ids[0]
    moved = retire(channel, name, args.why) if args.action == "retire" else restore(channel, name)
    mirrors = bring_up(args.mirror, args.channel, (Source(objects), args.single_writer), context)
    show(moved, mirrors, context)
    return MirrorBehind.exit_code if any(one["error"] for one in mirrors) else 0


def _list(args: Args, context: Context) -> None:
    from kvpack.cli.publish import open_read
    from kvpack.publish.drift import heads, releases_of

    objects = open_read(args.at, context)
    found, channels = releases_of(objects), heads(objects)

    def stands(name: str) -> str:
        marks = [channel for channel, head in channels.items() if head.state.head == name]
        gone = [f"retired from {c}" for c, head in channels.items() if name in head.state.retired]
        return ", ".join([*marks, *gone])

    if context.console.as_json:
        rows: list[dict[str, Any]] = [
            {
                "id": one.id, "created": one.created, "partial": one.partial,
                "promises": [f"{p.recipe} {p.version}" for p in one.promises],
                "wheels": len(one.wheels), "channels": stands(one.id),
            }
            for one in found
        ]  # fmt: skip
        context.console.answer("release-list", {"releases": rows})
        return
    if not found:
        context.console.print(f"{objects.name} holds no release")
        return
    context.console.table(
        ["release", "created", "holds", "wheels", "size", "channel"],
        [
            [
                one.id, one.created, one.title + (" (partial)" if one.partial else ""),
                str(len(one.wheels)), human_size(sum(w.size for w in one.wheels)), stands(one.id),
            ]
            for one in found
        ],
    )  # fmt: skip


def _show(args: Args, context: Context) -> None:
    from kvpack.cli.publish import open_read
    from kvpack.publish.commit import load_release

    release = load_release(open_read(args.at, context), args.ids[0])
    console = context.console
    if console.as_json:
        console.answer("release", release.as_json())
        return
    console.print(f"release {release.id}, created {release.created}")
    for one in release.promises:
        count = f"{len(one.targets) - len(one.missing)} of {len(one.targets)} targets"
        console.print(f"{one.recipe} {one.version}: {count}, lock {one.lock.sha256[:16]}")
        for library in one.libraries:
            named = f"{library.recipe} {library.version}, lock {library.lock.sha256[:16]}"
            console.print(f"  native library: {named}")
        for target in one.missing:
            console.print(f"  missing: {target}")
    console.table(
        ["wheel", "target", "size", "sha256", "evidence"],
        [
            [w.filename, w.target, human_size(w.size), w.sha256[:16], " ".join(sorted(w.evidence))]
            for w in release.wheels
        ],
    )


def _diff(args: Args, context: Context) -> None:
    from kvpack.cli.publish import open_read
    from kvpack.publish.commit import load_release

    objects = open_read(args.at, context)
    old, new = (load_release(objects, name) for name in args.ids)
    rows = _differences(old, new)
    if context.console.as_json:
        columns = ("project", "target", "from", "to")
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        context.console.answer("release-diff", {"from": old.id, "to": new.id, "changes": found})
    elif rows:
        context.console.table(["project", "target", old.id, new.id], rows)
    else:
        context.console.print("the same wheels and locks")


def _differences(old: "Release", new: "Release") -> list[list[str]]:
    def cells(release: "Release") -> dict[tuple[str, str], str]:
        wheels: dict[tuple[str, str], Wheel] = {(w.project, w.target): w for w in release.wheels}
        found = {cell: f"{w.version} {w.sha256[:12]}" for cell, w in wheels.items()}
        named: list[Promise | LibraryLock] = [*release.promises]
        named += [library for promise in release.promises for library in promise.libraries]
        locks = {(p.recipe, "lock"): f"{p.version} {p.lock.sha256[:12]}" for p in named}
        return found | locks

    before, after = cells(old), cells(new)
    return [
        [*cell, before.get(cell, "-"), after.get(cell, "-")]
        for cell in sorted(before.keys() | after.keys())
        if before.get(cell) != after.get(cell)
    ]
