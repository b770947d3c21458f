"""The options of commands that use shared results."""

import argparse
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.errors import OfflineMissing

if TYPE_CHECKING:
    from kvpack.cli.shared import SharedResults


class Sharing(Options):
    """The options of ``add_shared``, as the parser leaves them."""

    shared: str | None = None
    shared_read_only: bool = False


def add_shared(parser: argparse.ArgumentParser, *, writes: bool) -> None:
    """Add the options of commands that use shared results."""
    parser.add_argument(
        "--shared", metavar="URL",
        help="take results that other machines built from this storage; none: no storage "
        "(default: [shared] url of kvpack.toml)",
    )  # fmt: skip
    if writes:
        parser.add_argument(
            "--shared-read-only", action="store_true", help="never write results there"
        )
    else:
        parser.set_defaults(shared_read_only=True)


def use_shared(args: Sharing, context: Context) -> "SharedResults | None":
    """The storage that holds shared results, if one does.

    :raises OfflineMissing: if ``--shared`` names one that ``--offline`` forbids.
    """
    url, mode = args.shared, "read-write"
    if url is None:
        config = context.registries.config().shared
        url, mode = (config.url, config.mode) if config else (None, mode)
    if url is None or url == "none":
        return None
    from kvpack.cli.publish import open_read
    from kvpack.cli.shared import SharedResults

    try:
        objects = open_read(url, context)
    except OfflineMissing:
        if args.shared:
            raise
        return None
    write = mode == "read-write" and not args.shared_read_only
    return SharedResults(context, objects, write=write)
