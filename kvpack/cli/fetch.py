"""Brings every locked input of recipes into the store; later commands then run --offline.

It fetches what the selected targets need (by default: those that kvpack build would build). Builder
roots are assembled by the first build, from the store. Images of PyPA are not fetched: the first
build in one pulls it.
"""

import argparse

from kvpack.cli.context import Context
from kvpack.cli.select import Selected, add_selectors
from kvpack.cli.sources import add_source_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selectors(parser)
    add_source_options(parser)


def run(args: Selected, context: Context) -> int:
    """Fetch."""
    from kvpack.cli.select import plans
    from kvpack.cli.supply import everything, supply

    wanted = {}
    for plan in plans(context, args, ask=True):
        for entry in everything(plan):
            wanted[entry.sha256] = entry
    missing = [entry for digest, entry in wanted.items() if not context.store.has(digest)]
    supply(context, list(wanted.values()))
    console = context.console
    if console.as_json:
        console.answer("fetch", {"inputs": len(wanted), "fetched": len(missing)})
    else:
        console.print(f"{len(wanted)} inputs in the store, {len(missing)} of them fetched now")
    return 0
