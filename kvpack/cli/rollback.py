"""Makes a channel list again what it listed when RELEASE was published to it.

One conditional write moves the pointer; the pages follow. Nothing is deleted, so that
exact pins, locks and direct URLs of the newer wheels go on working, and a rollback to the newer
release takes this one back. What was retired since stays unlisted.
"""

import argparse
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.errors import MirrorBehind

if TYPE_CHECKING:
    from kvpack.publish.release import Moved


class Args(Options):
    channel: str
    to: str
    at: str
    mirror: list[str]
    single_writer: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from kvpack.cli.publish import add_mirrors

    parser.add_argument("channel", metavar="CHANNEL", help="such as stable")
    parser.add_argument("--to", required=True, metavar="RELEASE", help="id of a release")
    parser.add_argument("--at", required=True, metavar="URL", help="the primary storage")
    add_mirrors(parser)


def run(args: Args, context: Context) -> int:
    """Move the channel, then its mirrors."""
    from kvpack.cli.publish import bring_up, check_name, open_storage
    from kvpack.publish.commit import Channel
    from kvpack.publish.mirror import Source
    from kvpack.publish.release import roll_back

    check_name(args.channel)
    objects = open_storage(args.at, context, single_writer=args.single_writer)
    with context.console.step(f"Rolling {args.channel} back to {args.to}"):
        moved = roll_back(Channel(objects, args.channel), args.to)
    mirrors = bring_up(args.mirror, args.channel, (Source(objects), args.single_writer), context)
    show(moved, mirrors, context)
    return MirrorBehind.exit_code if any(one["error"] for one in mirrors) else 0


def show(moved: "Moved", mirrors: list[dict[str, Any]], context: Context) -> None:
    """What a user of the channel gets now, and what no longer."""
    from kvpack.cli.publish import show_mirrors

    console, after = context.console, moved.after
    versions = [
        {"row": name, "from": old, "to": new}
        for name, row in after.rows.items()
        for old in [moved.before.rows[name].version if name in moved.before.rows else None]
        for new in [row.version]
        if old != new
    ]
    if console.as_json:
        console.answer(
            after.action,
            {
                "channel": after.channel, "serial": after.serial, "release": after.release,
                "changed": moved.changed, "versions": versions, "unlisted": list(moved.gone),
                "listed": list(moved.listed), "pages": moved.pages, "mirrors": mirrors,
            },
        )  # fmt: skip
        return
    if not moved.changed:
        console.print(f"channel {after.channel} is as wanted already (state {after.serial})")
    for one in versions:
        console.print(f"{one['row']}: newest {one['from'] or 'none'} -> {one['to'] or 'none'}")
    for name in moved.gone:
        console.print(f"- {name}")
    for name in moved.listed:
        console.print(f"+ {name}")
    if moved.changed:
        console.print(
            f"channel {after.channel} stands for release {after.head} (state {after.serial}); "
            "hosts serve it within a minute, nothing was deleted"
        )
    show_mirrors(mirrors, context)
