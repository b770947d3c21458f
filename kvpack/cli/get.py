"""Takes published wheels by hash from the first place that answers right.

SPEC is a file name, sha256:DIGEST, NAME, NAME==VERSION or NAME>=VERSION; without one it is
everything that the channel (or --release ID) has, newest versions only. What a wheel is follows
from the channel's pointer on any place, by digests alone: any place may answer, none can
substitute. Places are tried in their order (--from, else kvpack.toml [mirrors] releases): http and
https hosts, s3://, gs://, az:// and folders. A place that fails is asked last for a minute.

A place that accepts a connection and says nothing costs --patience seconds, once a minute, or
--hedge seconds: then the next one is started beside it. Under 10 kB/s a place is left after
--patience, too. --emit prints lines that do the same with curl, sha256sum and pip alone; they ask
s3://, gs:// and az:// places at the HTTP address that [mirrors.public] of kvpack.toml names.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.cli.copies import Reading, Source, add_source, configured, open_source
from kvpack.console import human_size
from kvpack.errors import UsageError
from kvpack.names import Accelerator, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvpack.publish.getspec import Offer, Wish


class Args(Source):
    specs: list[str]
    accelerator: str | None = None
    python: str | None = None
    glibc: str | None = None
    arch: str | None = None
    out: Path
    list: bool = False
    emit: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("specs", metavar="SPEC", nargs="*", help="what to take; see above")
    add_source(parser)
    group = parser.add_argument_group("selectors", "lists are separated by commas")
    group.add_argument("--accelerator", metavar="cuda13,…", help="cpu, cuda12, cuda13, rocm7")
    group.add_argument("--python", metavar="3.12,…", help="Python versions")
    group.add_argument("--glibc", metavar="2.35,…", help="glibc floors")
    group.add_argument("--arch", metavar="x86_64,…", help="architectures")
    parser.add_argument("--out", type=Path, default=Path("wheels"), metavar="DIR",
                        help="where wheels are put (default: wheels)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="show what there is; fetch nothing")
    parser.add_argument("--emit", choices=("shell", "dockerfile"),
                        help="print installer lines instead of fetching")  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Find, fetch, deliver; or list, or print lines."""
    reading = open_source(args, context)
    found = _chosen(args, reading)
    if args.list:
        _show_list(found, context)
    elif args.emit:
        _emit(args, found, reading.copies.places, context)
    else:
        reading.fetch(found, context)
        _deliver(args, found, context)
    return 0


def _chosen(args: Args, reading: Reading) -> "list[Offer]":
    words = [word.strip() for word in (args.accelerator or "").split(",") if word.strip()]
    for word in words:
        if word not in set(Accelerator):
            raise UsageError(
                f"--accelerator does not take {word!r}", cause=did_you_mean(word, Accelerator)
            )
    return chosen_wheels(args.specs, args, reading, wish_of(args, words))


def chosen_wheels(
    specs: "Sequence[str]", args: Source, reading: Reading, wish: "Wish"
) -> "list[Offer]":
    """What a release or a channel has of what is asked for."""
    from kvpack.publish.getspec import chosen, of_listings, of_release

    if args.release is not None:
        offers = of_release(reading.copies.release(args.release))
        return chosen(specs, offers, wish, f"release {args.release}")
    found = reading.copies.channel(args.channel)
    exact = any(spec.startswith("sha256:") or spec.endswith(".whl") for spec in specs)
    only = () if exact else wish.accelerators
    offers = of_listings(reading.copies.listings(found.state, only))
    where = f"channel {args.channel} (state {found.state.serial})"
    return chosen(specs, offers, wish, where)


def wish_of(args: Any, accelerators: "Sequence[str]") -> "Wish":  # noqa: ANN401  # get's or bundle's
    """The selectors.

    :raises UsageError: if a word is not of its kind.
    """
    from kvpack.cli.select import Selected, selection
    from kvpack.publish.getspec import Wish

    axes = selection(Selected(python=args.python, glibc=args.glibc, arch=args.arch))
    return Wish(
        accelerators=accelerators,
        pythons=axes.python or (),
        floors=axes.glibc or (),
        arches=axes.arch or (),
    )


# -- answers --------------------------------------------------------------------------------------


def _rows(found: "list[Offer]") -> list[list[str]]:
    return [
        [one.filename, str(one.accelerator), human_size(one.size), one.sha256[:16]]
        for one in found
    ]  # fmt: skip


def _show_list(found: "list[Offer]", context: Context) -> None:
    console = context.console
    if console.as_json:
        console.answer("get-list", {"wheels": [one.as_json() for one in found]})
        return
    console.table(["wheel", "accelerator", "size", "sha256"], _rows(found))


def _deliver(args: Args, found: "list[Offer]", context: Context) -> None:
    from kvpack.tools.files import sha256_file

    console = context.console
    fresh = []
    for one in found:
        target = args.out / one.filename
        if target.is_file() and sha256_file(target) == one.sha256:
            continue
        context.store.place(one.sha256, target)
        fresh.append(one.filename)
    if console.as_json:
        wheels = [{**one.as_json(), "file": str(args.out / one.filename)} for one in found]
        console.answer("get", {"wheels": wheels, "new": fresh})
        return
    console.table(["wheel", "accelerator", "size", "sha256"], _rows(found))
    there = len(found) - len(fresh)
    console.print(f"{len(fresh)} new in {args.out}" + (f", {there} were there" if there else ""))


def _emit(args: Args, found: "list[Offer]", places: tuple[str, ...], context: Context) -> None:
    import shlex

    from kvpack.publish.getlines import Lines, addresses, ambiguous, dockerfile, shell
    from kvpack.tools.pace import SLOWEST
    from kvpack.tools.web import split_credentials

    usable, left_out = addresses(places, configured(context).public)
    if not usable:
        raise UsageError(
            "--emit needs a place that curl can ask",
            cause="; ".join(left_out),
            hint="name the host that serves it, with --from https://… or in kvpack.toml: "
            f'[mirrors.public] "{places[0]}" = "https://…"',
        )
    if any(split_credentials(one)[1] for one in usable):
        raise UsageError(
            "--emit would print the credentials of a URL",
            hint="leave them out of --from; curl reads ~/.netrc with --netrc",
        )
    if names := ambiguous(found):
        raise UsageError(
            f"--emit: several wheels of {', '.join(names)} fit one environment",
            cause="requirements have no marker for the glibc floor or the accelerator",
            hint="choose one: --glibc 2.36, --accelerator cuda13",
        )
    for one in left_out:
        context.console.warn(f"left out: {one}")
    named = [f"--release {args.release}"] if args.release else [f"--channel {args.channel}"]
    words = ["kvpack get", *map(shlex.quote, args.specs), *named, f"--emit {args.emit}"]
    lines = Lines(
        places=usable, offers=found, patience=args.patience, whole=args.try_timeout,
        slowest=SLOWEST, command=" ".join(words), left_out=left_out,
    )  # fmt: skip
    text = {"shell": shell, "dockerfile": dockerfile}[str(args.emit)](lines)
    if context.console.as_json:
        answer = {"for": args.emit, "places": usable, "left-out": left_out, "text": text}
        context.console.answer("get-lines", answer)
    else:
        context.console.out.write(text)
