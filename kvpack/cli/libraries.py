"""Native libraries: built when a wheel needs them, and their results in the store."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan, BuiltLibrary, Workshop
    from kvpack.tools.engine import Engine

    Blob = Callable[[str], Path]


def make_library(context: Context, plan: "BuildPlan", cache: Path | None) -> "BuiltLibrary":
    """The library, from the store or from what machines share; else built, after those it needs."""
    shared = context.shared
    built = stored_library(context, plan)
    if built is None:
        with context.store.lock(f"action-{plan.key}") as waited:
            if waited:
                context.console.note(f"{plan.title}: another kvpack was building it")
            built = stored_library(context, plan)
            if built is None and shared:
                built = shared.take_library(plan)
            built = built or _build(context, plan, cache)
    if shared and not built.shared and shared.give_library(plan, built):
        return shared.take_library(plan) or built
    return built


def stored_library(context: Context, plan: "BuildPlan") -> "BuiltLibrary | None":
    """The library of this key, if the store has it."""
    from kvpack.build.model import BuiltLibrary

    record = context.store.read_record("actions", plan.key) or {}
    kept = record.get("library")
    if not kept or not context.store.has(str(kept["sha256"])):
        return None
    return BuiltLibrary(
        plan=plan,
        sha256=kept["sha256"],
        size=kept["size"],
        seconds=record["seconds"],
        hit=True,
    )


def lock_texts(context: Context, plans: "Sequence[BuildPlan]") -> dict[str, bytes]:
    """Recipe -> the text of its lock: of plans, and of the native libraries below them."""
    names = dict.fromkeys(one.recipe.name for plan in plans for one in (plan, *plan.below))
    return {name: context.catalogue.lock_path(name).read_bytes() for name in names}


def _build(context: Context, plan: "BuildPlan", cache: Path | None) -> "BuiltLibrary":
    from kvpack.build.model import SOURCE, BuiltLibrary

    start = time.monotonic()
    with context.store.scratch("library") as folder:
        tar, root = library_in(context, plan, (folder, SOURCE), cache)
        sha256 = context.store.add_file(tar)
        seconds, size = time.monotonic() - start, tar.stat().st_size
    built = BuiltLibrary(plan=plan, sha256=sha256, size=size, seconds=seconds, hit=False)
    record: dict[str, Any] = {
        "schema": 1,
        "key": plan.key,
        "action": plan.action,
        "made": int(time.time()),
        "builder": context.builder_id,
        "seconds": seconds,
        "root": root,
        "library": {"file": built.file, "sha256": sha256, "size": size},
    }
    context.store.write_record("actions", plan.key, record)
    context.store.write_record("cells", plan.cell, {"key": plan.key, "seconds": seconds})
    return built


def library_in(
    context: Context, plan: "BuildPlan", place: tuple[Path, str], cache: Path | None
) -> tuple[Path, str]:
    """Run one build in a scratch folder; returns the canonical tar and the root's digest.

    :param place: scratch folder, and the name of the source's folder inside the container.
    """
    from kvpack.build.library import build_library, lay_out

    shop, engine, root = outfitted(context, plan, (*place, cache), lay_out)
    log = context.store.log_path(plan.key)
    return build_library(plan, shop, engine, log=log, reporter=context.console), root


def outfitted(
    context: Context,
    plan: "BuildPlan",
    place: tuple[Path, str, Path | None],
    lay_out: "Callable[[BuildPlan, Workshop, Blob, Blob], Path]",
) -> "tuple[Workshop, Engine, str]":
    """Where a wheel or a library can be built: inputs, root, native libraries, the source laid out.

    :param place: scratch folder, name of the source's folder in it, compiler cache.
    :param lay_out: writes all but the source, given where blobs and patches are; says where the
        source belongs.
    :returns: also the engine that runs it, and the root's digest.
    """
    from kvpack.build.model import Workshop
    from kvpack.cli.sources import unpack_source
    from kvpack.cli.supply import build_parts, supply
    from kvpack.cli.workshop import check_machine, ready_root

    folder, source_folder, cache = place
    check_machine(context, plan)
    supply(context, build_parts(plan))
    below = [make_library(context, one, cache) for one in plan.libraries]
    engine, image, root = ready_root(context, plan.inputs, below)
    shop = Workshop(image=image, folder=folder, source_folder=source_folder, compiler_cache=cache)
    catalogue, locked = context.catalogue, plan.inputs.source
    with context.console.step(f"Preparing {locked.file}"):
        source = lay_out(
            plan, shop, context.store.check, lambda f: catalogue.patch_path(plan.recipe.name, f)
        )
        unpack_source(context.store.check(locked.sha256), source, locked.file)
    return shop, engine, root
