"""The options of commands that use shared results."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kvpack.cli.context import Context, Options
from kvpack.cli.signing import signer_of
from kvpack.errors import OfflineMissing, UsageError

if TYPE_CHECKING:
    from kvpack.cli.shared import SharedResults
    from kvpack.cli.signing import Signing
    from kvpack.fetch.config import SharedConfig
    from kvpack.tools.signing import PublicKey


class Sharing(Options):
    """The options of ``add_shared``, as the parser leaves them."""

    shared: str | None = None
    shared_read_only: bool = False
    shared_key: list[Path] | None = None


def add_shared(parser: argparse.ArgumentParser, *, writes: bool) -> None:
    """Add the options of commands that use shared results."""
    parser.add_argument(
        "--shared", metavar="URL",
        help="take results that other machines built from this storage; none: no storage "
        "(default: [shared] url of kvpack.toml)",
    )  # fmt: skip
    parser.add_argument(
        "--shared-key", action="append", type=Path, metavar="PUB",
        help="take only results that this public key (PEM) signed; may be repeated (default: "
        f"[shared] keys of kvpack.toml){'; --sign-key signs what is written' if writes else ''}",
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
    :raises SigningFailed: if a key cannot be used.
    """
    config = context.config.shared
    url = args.shared or (config.url if config else None)
    if url is None or url == "none":
        if args.shared_key:
            raise UsageError("--shared-key is about shared results", hint="add: --shared URL")
        return None
    from kvpack.cli.publish import open_read
    from kvpack.cli.shared import SharedResults
    from kvpack.tools.signing import IdentityCommand

    try:
        objects = open_read(url, context)
    except OfflineMissing:
        if args.shared:
            raise
        return None
    mode = config.mode if config and args.shared is None else "read-write"
    write = mode == "read-write" and not args.shared_read_only
    keys = _keys(args, context, config)
    if not hasattr(args, "sign_key"):  # a command that only looks which keys have results
        return SharedResults(context, objects, write=write, keys=keys)
    signs = signer_of(cast("Signing", args), context)
    signer = None if isinstance(signs, IdentityCommand) else signs  # it signs provenance alone
    if write and keys and signer is None:
        write = False
        context.console.note(
            f"nothing is written to {objects.name}: signatures are demanded, and there is no "
            "--sign-key"
        )
    return SharedResults(context, objects, write=write, keys=keys, signer=signer)


def _keys(
    args: Sharing, context: Context, config: "SharedConfig | None"
) -> "tuple[PublicKey, ...]":
    """The keys of which one must have signed a result; none: signatures are not asked for.

    Those of ``kvpack.toml`` count for ``--shared`` too: naming a storage takes no demand away.
    """
    known = config.keys if config else ()
    paths = args.shared_key or [context.catalogue.root / one for one in known]
    if not paths:
        return ()
    from kvpack.tools.signing import public_key

    return tuple(public_key(path) for path in paths)
