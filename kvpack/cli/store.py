"""Cares for the store: verify every blob, remove what no lock or result needs, or measure it.

verify   compares every blob with its digest; --repair removes those that differ
gc       removes blobs that neither a kept result names nor a lock of any catalogue that used the
         store, what killed processes left, and remembered answers that are void or old;
         --keep-results DAYS also drops older results
usage    files and bytes of every kind of blob, record and log
"""

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import CatalogueError, Fault, StoreCorrupt


class Args(Options):
    action: str
    repair: bool = False
    keep_results: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("verify", "gc", "usage"), help="see above")
    parser.add_argument("--repair", action="store_true", help="verify: remove corrupt blobs")
    parser.add_argument(
        "--keep-results", type=float, metavar="DAYS", help="gc: drop results older than this"
    )


def run(args: Args, context: Context) -> int:
    """Dispatch."""
    return {"verify": _verify, "gc": _collect, "usage": _usage}[args.action](args, context)


def _verify(args: Args, context: Context) -> int:
    store, console = context.store, context.console
    with console.step(f"Verifying {store.root}"):
        bad = store.verify(repair=args.repair)
    count = sum(1 for _ in store.blobs())
    if bad and not args.repair:
        raise StoreCorrupt(
            f"{len(bad)} of {count} blobs in {store.root} do not hold the bytes of their name",
            cause="the disk, or a program other than kvpack, changed them",
            hint="kvpack store verify --repair removes them; the next command brings them back",
            faults=[Fault(place=str(store.blob_path(d)), message="wrong digest") for d in bad],
        )
    if console.as_json:
        console.answer("store-verify", {"blobs": count, "removed": list(bad)})
    else:
        console.print(
            f"{count} blobs hold the bytes of their names"
            + (f"; {len(bad)} removed" if bad else "")
        )
    return 0


def _collect(args: Args, context: Context) -> int:
    store, console = context.store, context.console
    removed = _drop_results(context, args.keep_results)
    gone = store.collect(_needed(context))
    if console.as_json:
        console.answer("store-gc", {"results": removed, "files": gone.entries, "bytes": gone.size})
    else:
        console.print(
            f"{gone.entries} files, {human_size(gone.size)} and {removed} results removed"
        )
    return 0


def _drop_results(context: Context, days: float | None) -> int:
    if days is None:
        return 0
    limit = time.time() - days * 86400
    old = [key for key, record in context.store.records("actions") if record.get("made", 0) < limit]
    for key in old:
        context.store.remove_record("actions", key)
    return len(old)


def _needed(context: Context) -> set[str]:
    """Digests that a result or a lock of any catalogue that used this store names.

    :raises LockInvalid: if a lock cannot be read: nothing is removed then.
    """
    from kvpack.lock.file import read_lock
    from kvpack.lock.source import LockedPatch, PendingGit

    keep = {
        str(record[kind]["sha256"])
        for _, record in context.store.records("actions")
        for kind in ("wheel", "library")
        if kind in record
    }
    for root in known_catalogues(context):
        for path in sorted((root / "lock").glob("*.toml")):
            lock = read_lock(path, str(path))
            keep |= {s.sha256 for s in lock.source if not isinstance(s, PendingGit)}
            keep |= {p.sha256 for p in lock.patches if isinstance(p, LockedPatch)}
            keep |= {wheel.sha256 for wheel in lock.wheels}
            keep |= {deb.sha256 for root in lock.root for deb in root.packages}
    return keep


def known_catalogues(context: Context) -> list[Path]:
    """The folders of catalogues that fetched into this store and still exist."""
    found = {Path(str(r["root"])) for _, r in context.store.records("catalogues") if "root" in r}
    with contextlib.suppress(CatalogueError):
        found.add(context.catalogue.root)
    return sorted(root for root in found if (root / "lock").is_dir())


def _usage(args: Args, context: Context) -> int:
    del args
    found: dict[str, Any] = {
        kind: {"entries": used.entries, "bytes": used.size}
        for kind, used in context.store.usage().items()
    }
    if context.console.as_json:
        context.console.answer("store-usage", {"store": str(context.store.root), "kinds": found})
        return 0
    context.console.print(str(context.store.root))
    rows = [
        [kind, str(used["entries"]), human_size(used["bytes"])]
        for kind, used in found.items()
        if used["entries"]
    ]
    if rows:
        context.console.table(["kind", "files", "size"], rows)
    else:
        context.console.print("nothing is in it yet")
    return 0
