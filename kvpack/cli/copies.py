"""The copies of what was published, as the command line names them, and fetching from them."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.cli.select import Selected
from kvpack.errors import OfflineMissing, UsageError
from kvpack.names import did_you_mean

if TYPE_CHECKING:
    from kvpack.fetch.config import MirrorsConfig
    from kvpack.fetch.mirrors import Mirrors
    from kvpack.fetch.transfer import Effort
    from kvpack.publish.get import Copies
    from kvpack.publish.getspec import Offer
    from kvpack.publish.model import Stored


class Source(Options):
    """Where published wheels are taken from, and how long that may take."""

    places: list[str]
    channel: str = "stable"
    release: str | None = None
    patience: float = 3.0
    try_timeout: float = 600.0
    timeout: float | None = None
    hedge: float | None = None


class BundleArgs(Source, Selected):
    """What ``kvpack bundle`` is asked for."""

    requirements: list[Path]
    output: Path | None = None
    dist: Path
    indexes: list[str]
    inputs: bool = False
    allow_partial: bool = False
    digest: str | None = None


def add_source(parser: argparse.ArgumentParser, *, flag: str = "--from") -> None:
    """Add the options of every command that reads what was published."""
    parser.add_argument(
        flag, dest="places", action="append", default=[], metavar="URL",
        help="a place that holds the releases; may be repeated, in the order to try",
    )  # fmt: skip
    parser.add_argument("--channel", default="stable", metavar="NAME", help="default: stable")
    parser.add_argument("--release", metavar="ID", help="this release instead of a channel")
    group = parser.add_argument_group("time-outs", "seconds")
    group.add_argument("--patience", type=seconds, default=3.0, metavar="S",
                       help="silence, to the first byte and between two, after which the next "
                       "place is tried (default: 3)")  # fmt: skip
    group.add_argument("--hedge", type=seconds, metavar="S",
                       help="silence after which the next place is started beside it")  # fmt: skip
    group.add_argument("--try-timeout", type=seconds, default=600.0, metavar="S",
                       help="for one file from one place (default: 600)")  # fmt: skip
    group.add_argument("--timeout", type=seconds, metavar="S",
                       help="for the whole command (default: none)")  # fmt: skip


def seconds(text: str) -> float:
    """A time of the command line.

    :raises UsageError: if it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1e6:  # noqa: PLR2004  # also refuses nan and inf
        raise UsageError(f"{text!r} is no time-out", hint="seconds, such as 3 or 0.5")
    return value


@dataclass(frozen=True)
class Reading:
    """The copies of a storage, and how to fetch from them."""

    copies: "Copies"
    mirrors: "Mirrors"
    effort: "Effort"

    def fetch(self, what: "list[Offer] | list[Stored]", context: Context) -> None:
        """Bring objects into the store, each by its digest.

        :raises FetchFailed: with every one that no place had.
        """
        from kvpack.fetch.download import fetch
        from kvpack.fetch.model import Wanted

        wanted = [
            Wanted(
                registry="storage", place=one.path, filename=one.path.rpartition("/")[2],
                sha256=one.sha256, size=one.size,
            )
            for one in what
        ]  # fmt: skip
        fetch(
            wanted, store=context.store, registries=self.mirrors, reporter=context.console,
            effort=self.effort,
        )  # fmt: skip


def open_source(args: Source, context: Context) -> Reading:
    """Everything that reading from the places needs."""
    from kvpack.fetch.mirrors import Mirrors
    from kvpack.fetch.transfer import Effort
    from kvpack.publish.get import Copies
    from kvpack.tools.anyweb import AnyWeb
    from kvpack.tools.circuits import Circuits
    from kvpack.tools.pace import SLOWEST, Limits
    from kvpack.tools.web import HttpSettings

    places = _places(args, context)
    web = AnyWeb(HttpSettings(connect=args.patience, read=args.patience))
    circuits = Circuits(context.store)
    limits = Limits(
        whole=args.try_timeout,
        slowest=SLOWEST,
        settle=args.patience,
        until=None if args.timeout is None else time.monotonic() + args.timeout,
    )
    return Reading(
        copies=Copies(places, (web, limits), circuits, context.console, hedge=args.hedge),
        mirrors=Mirrors(places, web, circuits),
        effort=Effort(hedge=args.hedge, limits=limits, pause=0.5),
    )


def _places(args: Source, context: Context) -> list[str]:
    """The places as URLs.

    :raises UsageError: if there is none, or one cannot be understood.
    """
    places = [_as_url(place) for place in args.places] or list(configured(context).releases)
    if not places:
        raise UsageError(
            "kvpack get was told no place to take wheels from",
            hint='--from URL, or in kvpack.toml: [mirrors] releases = ["https://…"]',
        )
    if context.options.offline:
        here = [place for place in places if place.startswith("file:")]
        if not here:
            raise OfflineMissing(
                f"--offline forbids to ask {', '.join(places)}",
                hint="name a folder with --from, or leave --offline out",
            )
        return here
    return places


def configured(context: Context) -> "MirrorsConfig":
    """What ``kvpack.toml`` says about places; it need not lie in a catalogue."""
    from kvpack.fetch.config import FILE, load

    named = context.options.root
    here = Path.cwd()
    folders = [named] if named else [here, *here.parents]  # kvpack.toml alone is enough
    root = next((folder for folder in folders if (folder / FILE).is_file()), here)
    return load(root).mirrors


def _as_url(place: str) -> str:
    from kvpack.tools.web import split_credentials

    scheme, mark, rest = place.partition("://")
    if not mark:
        path = Path(place).absolute()
        if not path.is_dir():
            raise UsageError(
                f"--from {place}: there is no such folder",
                hint="name the folder that kvpack publish --to wrote, or a URL (https://…, s3://…)",
            )
        return path.as_uri()
    known = ("http", "https", "file", "s3", "gs", "az")
    if scheme not in known or not rest.strip("/"):
        raise UsageError(
            f"--from {scheme}://… is no place that kvpack reads",
            cause=did_you_mean(scheme, known),
            hint="https://host/prefix, s3://bucket/prefix, gs://…, az://… or a folder",
        )
    if scheme not in {"http", "https"} and split_credentials(place)[1]:
        raise UsageError(
            f"--from {scheme}://…: credentials come from the environment, never from a URL",
            hint="docs/howto-publish.md names the variables",
        )
    return place.rstrip("/")
