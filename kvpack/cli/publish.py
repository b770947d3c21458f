"""Publishes audited wheels with their evidence to object storage or a folder.

URL is s3://bucket/prefix, gs://…, az://…, file:///folder or a folder. What kvpack build left in
--from is checked again: every target that the recipes build by default (or that is selected) must
be there and have passed. Objects come first and are read back, then one conditional write moves the
channel, then its pages follow. Interrupted or failed, the same command goes on. Any static host
serves the result: docs/howto-publish.md
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.cli.faults import as_error
from kvpack.cli.select import Selected, add_selectors
from kvpack.cli.signing import Signing, add_signing, sign_wheels
from kvpack.console import human_size
from kvpack.errors import KvpackError, MirrorBehind, OfflineMissing, UsageError
from kvpack.names import NAME_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvpack.publish.gather import Prepared
    from kvpack.publish.mirror import Source
    from kvpack.publish.release import Published
    from kvpack.tools.stored import Objects

MirrorResult = dict[str, Any]


class Args(Selected, Signing):
    to: str
    mirror: list[str]
    channel: str = "stable"
    dist: Path
    allow_partial: bool = False
    single_writer: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selectors(parser, recipes="*")
    parser.add_argument("--to", required=True, metavar="URL", help="the primary storage")
    add_mirrors(parser)
    parser.add_argument(
        "--channel", default="stable", metavar="NAME",
        help="default: stable, which takes no pre-release",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="dist", type=Path, default=Path("dist"), metavar="DIR",
        help="what kvpack build left (default: dist)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-partial", action="store_true",
        help="publish although targets are missing; the manifest says which",
    )  # fmt: skip
    add_signing(parser)


def add_mirrors(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that moves a channel."""
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="URL",
        help="a storage to bring to the same state; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--single-writer", action="store_true",
        help="nobody else writes there: for storages that ignore conditional writes",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Gather, write, commit, mirror, report."""
    from kvpack.publish.commit import Channel
    from kvpack.publish.mirror import Source
    from kvpack.publish.release import check_channel, publish

    check_name(args.channel)
    prepared = prepare(args, context)
    check_channel(args.channel, prepared.release)
    for name in prepared.passed_over:
        context.console.note(f"not published: {name} (its key is none of the promised targets')")
    for text in prepared.terms:
        context.console.warn(text)
    objects = open_storage(args.to, context, single_writer=args.single_writer)
    done = publish(prepared, Channel(objects, args.channel), context.console)
    source = Source(objects, prepared.data)
    mirrors = bring_up(args.mirror, args.channel, (source, args.single_writer), context)
    _answer(args, context, (objects.name, done), mirrors)
    return MirrorBehind.exit_code if any(one["error"] for one in mirrors) else 0


def prepare(args: Args, context: Context) -> "Prepared":
    """The release that the output folder holds, for what is selected."""
    from kvpack.cli.libraries import lock_texts
    from kvpack.cli.select import of_wheels, plans
    from kvpack.publish.gather import gather

    if not args.dist.is_dir():
        raise UsageError(
            f"--from {args.dist}: no such folder",
            cause="kvpack build writes wheels and their evidence there",
            hint=f"kvpack build RECIPE --out {args.dist}",
        )
    args.recipes = of_wheels(context, args.recipes)
    found = plans(context, Selected(**vars(args)))  # options that are build's alone: their defaults
    locks = lock_texts(context, found)
    sign_wheels(context, args, (found, args.dist), _published(args, context))
    with context.console.step(
        f"Checking {len(found)} target{'' if len(found) == 1 else 's'} in {args.dist}"
    ):
        return gather(found, args.dist, locks, allow_partial=args.allow_partial)


def _published(args: Args, context: Context) -> "Callable[[str, str], bytes | None]":
    """Reads what the storage has beside a wheel, if anything is signed: it cannot be replaced."""
    from kvpack.publish.model import file_path

    if not (args.sign_key or args.sign_command or args.sign_identity_command):
        return lambda _project, _file: None
    objects = open_read(args.to, context)

    def read(project: str, file: str) -> bytes | None:
        found = objects.get(file_path(project, file))
        return found.data if found else None

    return read


def check_name(channel: str) -> None:
    """Refuse what is no name.

    :raises UsageError: a channel is a folder of the storage and a word of every URL.
    """
    import re

    if not re.fullmatch(NAME_PATTERN, channel):
        raise UsageError(
            f"{channel!r} is no name for a channel",
            cause="it is a folder of the storage: lower-case letters, digits, single hyphens",
            hint="choose a name such as stable, rc or nightly",
        )


def open_storage(url: str, context: Context, *, single_writer: bool) -> "Objects":
    """Open a storage for writing; it is probed first."""
    from kvpack.publish.storage import guarded

    return guarded(open_read(url, context), single_writer=single_writer)


def open_read(url: str, context: Context) -> "Objects":
    """Open a storage for reading.

    :raises OfflineMissing: with ``--offline``, unless it is a folder.
    """
    from kvpack.tools.objects import open_objects

    if context.options.offline and "://" in url and not url.startswith("file:"):
        raise OfflineMissing(
            f"{url} cannot be used with --offline", hint="name a folder, or leave out --offline"
        )
    return open_objects(url)


def bring_up(
    urls: list[str], channel: str, source: "tuple[Source, bool]", context: Context
) -> list[MirrorResult]:
    """Bring each mirror to the primary's state; one that fails is told and does not stop others."""
    from kvpack.publish.mirror import follow

    found: list[MirrorResult] = []
    primary, single_writer = source
    for url in urls:
        try:
            target = open_storage(url, context, single_writer=single_writer)
            with context.console.step(f"Bringing {target.name} up to date"):
                copied = follow(primary, target, channel)
            found.append({"url": url, "objects": copied.objects, "error": None})
        except (KvpackError, OSError) as problem:
            error = as_error(problem)
            error.hint = f"when it is back: kvpack mirror sync {primary.objects.name} {url}"
            if not context.console.as_json:
                context.console.error(error)
            found.append({"url": url, "objects": 0, "error": error.as_json()})
    return found


def show_mirrors(mirrors: list[MirrorResult], context: Context) -> None:
    """A line for each mirror."""
    for one in mirrors:
        how = "failed: see above" if one["error"] else f"up to date, {one['objects']} new objects"
        context.console.print(f"mirror {one['url']}: {how}")


def _answer(
    args: Args, context: Context, what: "tuple[str, Published]", mirrors: list[MirrorResult]
) -> None:
    where, done = what
    console, release = context.console, done.release
    if console.as_json:
        console.answer(
            "publish",
            {
                "release": release.as_json(), "channel": args.channel, "serial": done.serial,
                "moved": done.moved, "new-objects": done.new_objects, "pages": done.pages,
                "mirrors": mirrors,
            },
        )  # fmt: skip
        return
    rows = [
        [wheel.filename, str(wheel.accelerator), human_size(wheel.size), wheel.sha256[:16]]
        for wheel in release.wheels
    ]
    console.table(["wheel", "accelerator", "size", "sha256"], rows)
    title = release.title + (", partial" if release.partial else "")
    console.print(f"release {release.id} ({title}): {done.new_objects} new objects")
    how = "now lists it" if done.moved else "listed it already"
    pages = f"state {done.serial}, {done.pages} pages written"
    console.print(f"channel {args.channel} {how} ({pages})")
    show_mirrors(mirrors, context)
    for accelerator in sorted({str(wheel.accelerator) for wheel in release.wheels}):
        console.print(f"index   {where}/{args.channel}/{accelerator}/simple/")
