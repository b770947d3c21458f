"""Compares storages by hash, and repairs mirrors by copying from their primary.

verify PRIMARY [MIRROR…]   the primary against its own manifests, then each mirror against it;
                           nothing is downloaded that a checksum answers
sync PRIMARY MIRROR…       copy what is missing or damaged, then bring channels and pages up
inputs [RECIPE…] --to URL  every locked input (sources, commits, Debian packages, wheels; images, by
                           skopeo) under its sha256; kvpack.toml [mirrors] inputs = ["URL"] then
                           fetches from there
"""

import argparse
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.cli.faults import as_error
from kvpack.console import human_size
from kvpack.errors import KvpackError, MirrorBehind, UsageError

if TYPE_CHECKING:
    from kvpack.publish.drift import Drift

_SHOWN = 40


class Args(Options):
    action: str
    urls: list[str]
    to: str | None = None
    single_writer: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("verify", "sync", "inputs"), help="see above")
    parser.add_argument(
        "urls", metavar="URL|RECIPE", nargs="*", help="the primary, then its mirrors; or recipes"
    )
    parser.add_argument("--to", metavar="URL", help="inputs: the storage that gets them")
    parser.add_argument(
        "--single-writer", action="store_true",
        help="nobody else writes there: for storages that ignore conditional writes",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Dispatch."""
    if args.action == "inputs":
        return _inputs(args, context)
    if args.to is not None or not args.urls:
        raise UsageError(
            f"kvpack mirror {args.action} needs a primary, and no --to",
            hint=f"kvpack mirror {args.action} PRIMARY MIRROR…",
        )
    if args.action == "verify":
        return _verify(args, context)
    if len(args.urls) == 1:
        raise UsageError(
            "kvpack mirror sync needs a primary and a mirror",
            hint="kvpack mirror sync PRIMARY MIRROR…",
        )
    return _sync(args, context)


def _inputs(args: Args, context: Context) -> int:
    from kvpack.cli.inputs import mirror_inputs

    if args.to is None:
        raise UsageError(
            "kvpack mirror inputs was told no storage",
            hint="kvpack mirror inputs RECIPE… --to s3://bucket/prefix",
        )
    return mirror_inputs(args.urls, args.to, context, single_writer=args.single_writer)


def _verify(args: Args, context: Context) -> int:
    from kvpack.cli.publish import open_read
    from kvpack.publish.drift import check_self, verify

    first, *others = (open_read(url, context) for url in args.urls)
    found: dict[str, list[Drift]] = {}
    with context.console.step(f"Checking {first.name} against its manifests"):
        found[first.name] = check_self(first)
    for mirror in others:
        with context.console.step(f"Comparing {mirror.name} with it"):
            found[mirror.name] = verify(first, mirror)
    bad = {name: [d for d in drifts if d.kind != "surplus"] for name, drifts in found.items()}
    console = context.console
    if console.as_json:
        answer: dict[str, Any] = {
            name: [{"kind": d.kind, "path": d.path, "detail": d.detail} for d in drifts]
            for name, drifts in found.items()
        }
        console.answer("mirror-verify", {"storages": answer})
        return MirrorBehind.exit_code if any(bad.values()) else 0
    for name, drifts in found.items():
        rows = [[drift.kind, drift.path, drift.detail] for drift in drifts]
        console.print(f"{name}: {f'{len(rows)} differences' if rows else 'as it should be'}")
        if rows:
            console.table(["kind", "object", "detail"], rows[:_SHOWN])
        if len(rows) > _SHOWN:
            console.print(f"… and {len(rows) - _SHOWN} more (--json has all)")
    if any(bad.values()):
        hint = _advice(args.urls, [bool(drifts) for drifts in bad.values()])
        console.print(f"next: {hint}")
    return MirrorBehind.exit_code if any(bad.values()) else 0


def _advice(urls: list[str], broken: list[bool]) -> str:
    if not broken[0]:
        mirrors = " ".join(url for url, bad in zip(urls, broken, strict=True) if bad)
        return f"kvpack mirror sync {urls[0]} {mirrors}"
    good = next((url for url, bad in zip(urls, broken, strict=True) if not bad), "MIRROR")
    return f"repair the primary from a good mirror: kvpack mirror sync {good} {urls[0]}"


def _sync(args: Args, context: Context) -> int:
    from kvpack.cli.publish import open_read, open_storage
    from kvpack.publish.drift import sync

    primary = open_read(args.urls[0], context)
    results: list[dict[str, Any]] = []
    for url in args.urls[1:]:
        try:
            mirror = open_storage(url, context, single_writer=args.single_writer)
            with context.console.step(f"Bringing {mirror.name} up to date"):
                done = sync(primary, mirror)
        except (KvpackError, OSError) as problem:
            error = as_error(problem)
            if not context.console.as_json:
                context.console.error(error)
            results.append({"url": url, "error": error.as_json()})
            continue
        results.append(
            {
                "url": url, "error": None, "objects": done.objects, "bytes": done.size,
                "pages": done.pages, "channels": done.channels,
            }
        )  # fmt: skip
    if context.console.as_json:
        context.console.answer("mirror-sync", {"mirrors": results})
    for one in results if not context.console.as_json else ():
        if one["error"] is None:
            size = human_size(one["bytes"])
            context.console.print(
                f"{one['url']}: {one['objects']} objects copied ({size}), {one['pages']} pages, "
                f"channels moved: {', '.join(one['channels']) or 'none'}"
            )
        else:
            context.console.print(f"{one['url']}: failed, see above")
    return MirrorBehind.exit_code if any(one["error"] for one in results) else 0
