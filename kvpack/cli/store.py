"""Cares for the store: verify every blob, remove what no lock or result needs, or measure it.

verify   compares every blob with its digest; --repair removes those that differ
gc       removes blobs that neither a kept result names nor a lock of any catalogue that used the
         store, what killed processes left, and remembered answers that are void or old; and the
         images of builder roots that kvpack made for this store and that neither what a recipe
         builds now needs, nor a kept result was built in, nor anybody uses;
         --keep-results DAYS also drops older results, --dry-run only says what would go
usage    files and bytes of every kind of blob, record and log
"""

import argparse
import contextlib
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.console import human_size
from kvpack.errors import CatalogueError, Fault, StoreCorrupt

if TYPE_CHECKING:
    from kvpack.cli.imagegc import Swept


class Args(Options):
    action: str
    repair: bool = False
    keep_results: float | None = None
    dry_run: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("verify", "gc", "usage"), help="see above")
    parser.add_argument("--repair", action="store_true", help="verify: remove corrupt blobs")
    parser.add_argument(
        "--keep-results", type=float, metavar="DAYS", help="gc: drop results older than this"
    )
    parser.add_argument("--dry-run", action="store_true", help="gc: remove nothing, say what would")


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
    from kvpack.cli.imagegc import sweep

    store, console, dry = context.store, context.console, args.dry_run
    dropped = _old_results(context, args.keep_results)
    needed = _needed(context, dropped)
    for key in () if dry else dropped:
        store.remove_record("actions", key)
    gone = store.collect(needed, dry=dry)
    swept = sweep(context, known_catalogues(context), dropped, dry=dry)
    if console.as_json:
        told = {
            "removed": swept.removed, "bytes": swept.size, "kept": swept.kept,
            "others": swept.others,
        }  # fmt: skip
        console.answer(
            "store-gc",
            {
                "results": len(dropped), "files": gone.entries, "bytes": gone.size,
                "images": told, "notes": swept.notes, "dry-run": dry,
            },
        )  # fmt: skip
        return 0
    how = "would be removed" if dry else "removed"
    files = f"{gone.entries} files, {human_size(gone.size)}"
    console.print(f"{files} and {len(dropped)} results {how}")
    _show_images(swept, context, how)
    return 0


def _show_images(swept: "Swept", context: Context, how: str) -> None:
    """What became of images; nothing where there are none."""
    for one in swept.removed:
        context.console.print(f"  {one['image']} ({one['engine']}): {human_size(one['bytes'])}")
    if swept.removed or swept.kept:
        count = len(swept.removed)
        images = f"{count} image{'' if count == 1 else 's'}, {human_size(swept.size)}"
        context.console.print(f"{images} {how}")
    for why, count in sorted(swept.kept.items()):
        context.console.print(f"{count} image{' stays' if count == 1 else 's stay'}: {why}")
    if swept.others:
        context.console.detail(f"{swept.others} images of other stores are not looked at")
    for note in swept.notes:
        context.console.warn(note)


def _old_results(context: Context, days: float | None) -> list[str]:
    """Keys of results that are older than so many days."""
    if days is None:
        return []
    limit = time.time() - days * 86400
    return [
        key for key, record in context.store.records("actions") if record.get("made", 0) < limit
    ]


def _needed(context: Context, dropped: Collection[str]) -> set[str]:
    """Digests that a result or a lock of any catalogue that used this store names.

    :param dropped: keys of results that do not count any more.
    :raises LockInvalid: if a lock cannot be read: nothing is removed then.
    """
    from kvpack.cli.supply import wanted_modules
    from kvpack.cli.toolkitimages import image_parts
    from kvpack.lock.file import read_lock
    from kvpack.lock.source import LockedPatch, PendingArchive, PendingGit

    keep = {
        str(record[kind]["sha256"])
        for key, record in context.store.records("actions")
        if key not in dropped
        for kind in ("wheel", "library")
        if kind in record
    }
    for root in known_catalogues(context):
        for path in sorted((root / "lock").glob("*.toml")):
            lock = read_lock(path, str(path))
            keep |= {s.sha256 for s in lock.source if not isinstance(s, PendingGit)}
            read = [s for s in lock.source if not isinstance(s, PendingGit | PendingArchive)]
            keep |= {wrap.sha256 for source in read for wrap in source.wrap}
            keep |= {file.sha256 for file in wanted_modules(m for s in read for m in s.module)}
            keep |= {p.sha256 for p in lock.patches if isinstance(p, LockedPatch)}
            keep |= {wheel.sha256 for wheel in lock.wheels}
            keep |= {deb.sha256 for root in lock.root for deb in root.packages}
            keep |= {part.sha256 for image in lock.toolkit for part in image_parts(image)}
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
