"""Disk offload: the three places that must agree, the staging budget, the SSD of the owner."""

import math
import posixpath
import shlex
from collections.abc import Iterator

from kvpack.doctor.mends import variable
from kvpack.doctor.model import Finding, Mend, Severity
from kvpack.doctor.mooncake_environment import integer, ratio_problem
from kvpack.doctor.mooncake_model import Case, Program, finding, shown
from kvpack.doctor.mooncake_sizes import Staging, human

_RATIO = "VLLM_MOONCAKE_DISK_STAGING_USABLE_RATIO"
_BUFFER = "MOONCAKE_OFFLOAD_LOCAL_BUFFER_SIZE_BYTES"
_SSD = "MOONCAKE_OFFLOAD_FILE_STORAGE_PATH"
_LIMIT = "MOONCAKE_OFFLOAD_TOTAL_SIZE_LIMIT_BYTES"
_BUCKETS = "MOONCAKE_OFFLOAD_BUCKET_MAX_TOTAL_SIZE"


def check_offload(case: Case) -> Iterator[Finding]:
    """All that depends on the disk; nothing where no place wants it."""
    yield from _agreement(case)
    if any((case.offload, _wants(case.owner.master), _wants(case.owner.client))):
        yield from _staging(case)
        yield from _ssd_path(case)
        yield from _limits(case)
    elif case.owner.key_bytes is not None:  # somebody asks
        yield from _staging(case)


def _wants(program: Program | None) -> bool | None:
    """Whether a program is started with offload; ``None``: nobody knows."""
    if program is None:
        return None
    value = program.get("enable_offload")
    if value is None:
        return None if program.reads_unseen_file else False
    return {"true": True, "false": False}.get(value)


_MASTER_OFF = (
    "the master refuses the owner's disk (MountLocalDiskSegment: UNABLE_OFFLOAD), "
    "and mooncake_client does not start"
)
_CLIENT_OFF = "nothing is ever written to the disk"
_CONFIG_OFF = (
    "vLLM does not split its loads by the owner's staging buffer, so that large ones fail "
    "(BUFFER_OVERFLOW)"
)


def _agreement(case: Case) -> Iterator[Finding]:
    """``enable_offload``, ``mooncake_master --enable_offload``, ``mooncake_client`` alike."""
    name = "enable_offload"
    master, client = case.owner.master, case.owner.client
    states = {"file": case.offload, "master": _wants(master), "client": _wants(client)}
    if True not in states.values():
        return
    on = [_NAMES[which] for which, state in states.items() if state]
    places = {
        "file": case.at(name),
        "master": master.where(name) if master else "mooncake_master: --enable_offload",
        "client": client.where(name) if client else "mooncake_client: --enable_offload",
    }
    mends = {
        "file": '"enable_offload": true',
        "master": "mooncake_master --enable_offload=true",
        "client": "mooncake_client --enable_offload=true",
    }
    whys = {"file": _CONFIG_OFF, "master": _MASTER_OFF, "client": _CLIENT_OFF}
    for which, state in states.items():
        if which == "client" and state is None and case.mode == "embedded":
            continue  # no owner is needed there
        if which == "file" and state is None:
            continue  # its type is told already
        if state is False:
            message = f"offload is off (false) here, and on in {' and '.join(on)}"
            yield finding(
                "offload-agree", "error", places[which], message, why=whys[which], file=mends[which]
            )
        elif state is None:
            message = f"not known here: it must be on (true), as in {' and '.join(on)}"
            yield finding(
                "offload-agree", "note", places[which], message, why=whys[which], file=mends[which]
            )


_NAMES = {
    "file": "mooncake_config.json",
    "master": "mooncake_master",
    "client": "mooncake_client",
}


def _staging(case: Case) -> Iterator[Finding]:
    rules = case.rules.staging
    text = case.environment.get(_RATIO, str(rules.ratio))
    try:
        ratio = float(text)
    except ValueError:
        ratio = rules.ratio
    if math.isnan(ratio):
        ratio = rules.ratio
    staging = Staging(
        budget=rules.budget, ratio=ratio, alignment=rules.alignment, padding=rules.padding
    )
    if ratio_problem(text) is None:
        yield _budget(case, staging)
    yield from _owner_buffer(case, staging)
    if case.owner.key_bytes is not None:
        yield from _key(case, staging, case.owner.key_bytes)


def _budget(case: Case, staging: Staging) -> Finding:
    message = (
        f"staging: {staging.budget} bytes ({human(staging.budget)}) x {staging.ratio:g} = "
        f"{staging.usable} usable in a batch; a key takes its size, rounded up to "
        f"{staging.alignment}, + {staging.padding}; the largest key is {staging.largest_key} bytes"
    )
    why = (
        "vLLM splits loads from disk by this budget, which is written into it; --kv-key-bytes N "
        "judges a key (vLLM #42689)"
    )
    return finding("staging", "note", case.at("enable_offload"), message, why=why)


def _key(case: Case, staging: Staging, size: int) -> Iterator[Finding]:
    place = f"{case.place}: --kv-key-bytes"
    needed = staging.of_key(size)
    rounding = f"(aligned to {staging.alignment}, + {staging.padding})"
    sum_ = f"a key of {size} bytes takes {needed} {rounding}"
    smaller = "vllm serve with a smaller --block-size, or a larger --tensor-parallel-size"
    if needed > staging.budget:
        message = f"{sum_}: more than the whole staging buffer, {staging.budget}"
        why = "vLLM skips the request and marks all its blocks as failed"
        yield finding("staging-key", "error", place, message, why=why, file=smaller)
    elif needed > staging.usable:
        message = f"{sum_}: more than the usable budget, {staging.usable}"
        why = "each such key is loaded alone, one round trip each"
        mend = f"{_RATIO}={min(1.0, math.ceil(needed / staging.budget * 1000) / 1000):g}"
        yield finding("staging-key", "warning", place, message, why=why, environment=mend)
    else:
        message = f"{sum_}: {staging.usable // needed} keys fit into a batch of {staging.usable}"
        yield finding("staging-key", "note", place, message)


def _owner_buffer(case: Case, staging: Staging) -> Iterator[Finding]:
    value = integer(case.owner_environment, _BUFFER, staging.budget)
    if value == staging.budget or value <= 0:
        return
    severity: Severity = "error" if value < staging.usable else "warning"
    mend = [variable(_BUFFER, None)]
    if value < staging.budget:
        ratio = math.floor(value / staging.budget * 1000) / 1000
        what = f"batches of up to {staging.usable} bytes, and keys of up to {staging.budget}, come"
        message = f"the owner stages {value} bytes ({human(value)}), and {what}"
        if ratio > 0:
            mend.append(variable(_RATIO, f"{ratio:g}"))
    else:
        message = (
            f"the owner stages {value} bytes ({human(value)}), and vLLM still splits by "
            f"{staging.budget} and refuses larger keys"
        )
    why = "vLLM's budget is a constant, a copy of Mooncake's default: changing one parts them"
    place = case.variable_at(_BUFFER)
    said = f"{_BUFFER}={value}: {message}"
    yield finding("staging-buffer", severity, place, said, why=why, mend=tuple(mend))


def _ssd_path(case: Case) -> Iterator[Finding]:
    path = case.owner_environment.get(_SSD)
    place = case.variable_at(_SSD)
    mend = f"{_SSD}=/data/mooncake-offload"
    if path is None:
        if case.mode == "embedded" and case.owner.client is None:
            return
        message = f"{_SSD} is not set here: mooncake_client needs it"
        known = case.owner.client is not None
        severity: Severity = "note"
        if known:
            severity = "error" if case.owner.environment is not None else "warning"
        why = "the directory must exist on the owner's node before mooncake_client starts"
        yield finding("ssd-path", severity, place, message, why=why, environment=mend)
        return
    problem = _path_problem(path)
    fact = case.machine.paths.get(path)
    if problem is None and fact is not None and fact.kind != "directory":
        problem = _PATHS[fact.kind]
    if problem:
        right = variable(_SSD, "/data/mooncake-offload")
        if problem == _PATHS["missing"]:
            right = Mend(tool="system", command=f"mkdir -p {shlex.quote(path)}")
        why = "mooncake_client stops: Invalid FileStorage configuration"
        said = f"{_SSD}={shown(path)}: {problem}"
        yield finding("ssd-path", "error", place, said, why=why, mend=(right,))


_PATHS = {
    "missing": "it does not exist on this machine",
    "file": "it is no directory",
    "symlink": "it is a symbolic link, which Mooncake refuses",
    "unwritable": "it cannot be written",
}


def _path_problem(path: str) -> str | None:
    """FileStorageConfig::ValidatePath, as far as the text tells."""
    if not path.strip():
        return "it is empty"
    if not posixpath.isabs(path):
        return "it must be an absolute path"
    if ".." in path.split("/"):
        return "a path with .. is refused"
    return None


def _limits(case: Case) -> Iterator[Finding]:
    environment = case.owner_environment
    limit = integer(environment, _LIMIT, case.rules.total_size_limit)
    buckets = integer(
        environment, _BUCKETS, integer(environment, "MOONCAKE_BUCKET_MAX_TOTAL_SIZE", 0)
    )
    fact = case.machine.paths.get(environment.get(_SSD, ""))
    if buckets > limit > 0:
        message = f"{_BUCKETS}={buckets} is more than {_LIMIT}={limit}"
        why = "the smaller one stops the writes before anything is evicted"
        mend = f"{_BUCKETS}={limit}"
        place = case.variable_at(_BUCKETS)
        yield finding("ssd-limit", "warning", place, message, why=why, environment=mend)
    if fact is not None and fact.size is not None and limit > fact.size:
        given = "" if _LIMIT in environment else ", the default"
        message = (
            f"{_LIMIT}={limit}{given} ({human(limit)}) is more than the disk has: {fact.size} "
            f"({human(fact.size)})"
        )
        why = "the master counts on space that is not there, and writes fail when the disk is full"
        mend = f"{_LIMIT}={fact.size * 9 // 10}"
        place = case.variable_at(_LIMIT)
        yield finding("ssd-limit", "warning", place, message, why=why, environment=mend)
    if case.owner.master is not None and not _wants(case.owner.master):
        return
    yield from _watermarks(case)


def _watermarks(case: Case) -> Iterator[Finding]:
    """llm-d's master.yaml: at 0.95 / 0.05 a sustained writer outruns the disk."""
    master = case.owner.master
    if master is None or master.reads_unseen_file:
        return
    if master.get("eviction_high_watermark_ratio") is None:
        name = "eviction_high_watermark_ratio"
        message = f"--{name} is not set: 0.95, the default, evicts late"
        why = (
            "a sustained writer exhausts memory faster than the offload drains it, and puts fail "
            "(llm-d's master.yaml has 0.7 and eviction_ratio 0.2)"
        )
        mend = f"--{name}=0.7 --eviction_ratio=0.2"
        yield finding("watermark", "note", master.where(name), message, why=why, file=mend)
