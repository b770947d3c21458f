"""``kvpack doctor --mooncake-config``: gathers what the checks of a configuration are told."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Options
from kvpack.errors import UsageError

if TYPE_CHECKING:
    from kvpack.audit.model import ElfFile
    from kvpack.doctor import mooncake_model
    from kvpack.doctor.machine import MachineFacts
    from kvpack.doctor.model import Finding
    from kvpack.doctor.mooncake_model import OwnerSettings, PathFact, WheelAbility
    from kvpack.doctor.patient import Patient

_PATHS = ("MOONCAKE_OFFLOAD_FILE_STORAGE_PATH",)
"""Variables that name a path on the owner's node."""


class MooncakeArgs(Options):
    mooncake_config: Path | None = None
    master_args: str | None = None
    client_args: str | None = None
    master_config: Path | None = None
    kv_key_bytes: int | None = None
    nodes: int | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("Mooncake's configuration")
    group.add_argument(
        "--mooncake-config", type=Path, metavar="FILE",
        help="also check this mooncake_config.json with the environment variables here",
    )  # fmt: skip
    group.add_argument("--master-args", metavar="ARGS", help="how mooncake_master is started")
    group.add_argument("--client-args", metavar="ARGS", help="how mooncake_client is started")
    group.add_argument("--master-config", type=Path, metavar="FILE", help="its master.yaml")
    group.add_argument(
        "--kv-key-bytes", type=int, metavar="N", help="bytes of one key, for the staging budget"
    )
    group.add_argument("--nodes", type=int, metavar="N", help="machines that share the master")


def check(args: MooncakeArgs) -> None:
    """Refuse options that say something about a configuration when none is given.

    :raises UsageError: for those, and for numbers that cannot be.
    """
    rest = (args.master_args, args.client_args, args.master_config, args.kv_key_bytes, args.nodes)
    if args.mooncake_config is None and any(one is not None for one in rest):
        raise UsageError(
            "--master-args, --client-args, --master-config, --kv-key-bytes and --nodes belong to "
            "--mooncake-config",
            hint="kvpack doctor --mooncake-config mooncake_config.json …",
        )
    for option, value in (("--kv-key-bytes", args.kv_key_bytes), ("--nodes", args.nodes)):
        if value is not None and value < 1:
            raise UsageError(f"{option} does not take {value}", hint="a number from 1 on")


def findings(
    args: MooncakeArgs, patient: "Patient", wheel: "WheelAbility | None"
) -> "tuple[Finding, ...]":
    """What is wrong with the configuration that was named; nothing if none was.

    :param wheel: what the installed Mooncake can do.
    """
    from kvpack.doctor.mooncake import check_config

    path = args.mooncake_config
    if path is None:
        return ()
    return check_config(
        path.read_bytes(),
        str(path),
        environment=dict(os.environ),
        owner=_owner(args),
        wheel=wheel and wheel.model_copy(update={"python": patient.python}),
        machine=_machine(path, patient.machine),
    )


def _owner(args: MooncakeArgs) -> "OwnerSettings":
    from kvpack.doctor.mooncake_programs import owner_of

    file = args.master_config
    text = None
    if file is not None:
        text = (file.read_bytes().decode(errors="backslashreplace"), str(file))
    return owner_of(
        master_args=args.master_args,
        client_args=args.client_args,
        master_config=text,
        key_bytes=args.kv_key_bytes,
        nodes=args.nodes,
    )


def _machine(path: Path, facts: "MachineFacts") -> "mooncake_model.MachineFacts":
    from kvpack.doctor.mooncake_model import MachineFacts as Readings

    named = [os.environ[name] for name in _PATHS if os.environ.get(name)]
    devices = tuple(nic.name for nic in facts.nics)
    return Readings(
        gpus=len(facts.gpus) or None,
        rdma_devices=devices or None,
        memory=_memory(),
        paths={one: _fact(Path(one)) for one in named},
        config_path=str(path.absolute()),
    )


def _memory() -> int | None:
    """Bytes of RAM."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _fact(path: Path) -> "PathFact":
    from kvpack.doctor.mooncake_model import PathFact

    if path.is_symlink():
        return PathFact(kind="symlink")
    if path.is_file():
        return PathFact(kind="file")
    if not path.is_dir():
        return PathFact(kind="missing")
    if not os.access(path, os.W_OK):
        return PathFact(kind="unwritable")
    space = os.statvfs(path)
    return PathFact(kind="directory", size=space.f_blocks * space.f_frsize)


def ability(
    distribution: str, version: str, paths: Sequence[str], elves: "Sequence[ElfFile]"
) -> "WheelAbility":
    """What the installed Mooncake can do; paths as in RECORD, relative to site-packages."""
    from kvpack.doctor.mooncake_wheel import ability_of

    bare = [one.model_copy(update={"path": _bare(one.path)}) for one in elves]
    return ability_of(distribution, version, [_bare(path) for path in paths], bare)


def _bare(path: str) -> str:
    return path.removeprefix("site-packages/")
