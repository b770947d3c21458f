"""The keys of mooncake_config.json, one by one: known, of the right type, with possible values."""

from collections.abc import Iterator

from kvpack.doctor.model import Finding, Severity
from kvpack.doctor.mooncake_addresses import fault_of_address, is_loopback
from kvpack.doctor.mooncake_model import Case, finding, shown
from kvpack.doctor.mooncake_sizes import SizeError, human, parse_size
from kvpack.names import did_you_mean, nearest


def check_keys(case: Case) -> Iterator[Finding]:
    """All that can be said of each key alone, and of the two-way constraints of the modes."""
    for key in case.given:
        if key not in case.rules.keys:
            yield _unknown(case, key)
    yield from _types(case)
    yield from _mode(case)
    for key in ("global_segment_size", "local_buffer_size"):
        yield from _size(case, key)
    yield from _memory(case)
    yield from _master_address(case)
    yield from _metadata(case)
    yield from _protocol(case)


def _unknown(case: Case, key: str) -> Finding:
    value = shown(case.given[key])
    for one in case.rules.foreign:
        if one.name == key:
            message = f"{key} = {value} is a key of {one.of}: vLLM ignores it here"
            why = "the files of vLLM, SGLang and Ascend look alike and are not interchangeable"
            bad: Severity = "warning" if one.harmless else "error"
            return finding("foreign-key", bad, case.at(key), message, why=why, file=one.instead)
    message = f"unknown key {shown(key)} = {value}: vLLM ignores it"
    meant = nearest(key, case.rules.keys)
    mend = f'"{meant}": {value}' if meant else f"remove it ({did_you_mean(key, case.rules.keys)})"
    if meant:
        message += f"; did you mean {meant!r}?"
    why = "unknown keys are skipped without a word, so the default stays"
    severity: Severity = "error" if meant else "warning"
    return finding("unknown-key", severity, case.at(key), message, why=why, file=mend)


_NEEDS = {
    "string": "a string",
    "string-or-null": "a string or null",
    "boolean": "true or false",
    "strings-or-null": "a list of strings or null",
}


def _types(case: Case) -> Iterator[Finding]:
    for key in case.rules.key_:
        if key.name not in case.given or key.type == "size":
            continue
        value = case.given[key.name]
        if _fits(value, key.type):
            continue
        message = f"must be {_NEEDS[key.type]} (found {shown(value)})"
        why = "vLLM does not check it: Mooncake's setup() fails on it, or takes it for another"
        if key.type == "boolean":
            truth = f"bool({shown(value)}), which is {_truth(value)}"
            why = f"vLLM reads {truth}: every string but the empty one counts as true"
            yield _boolean(case, key.name, message, why)
        else:
            mend = f'"{key.name}": {_quoted(key.default)}'
            yield finding("type", "error", case.at(key.name), message, why=why, file=mend)


def _fits(value: object, type_: str) -> bool:
    if value is None:
        return type_.endswith("-or-null")
    if type_ == "boolean":
        return isinstance(value, bool)
    if type_ == "strings-or-null":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, str)


def _truth(value: object) -> str:
    return "true" if value else "false"


def _boolean(case: Case, key: str, message: str, why: str) -> Finding:
    value = case.given[key]
    off = str(value).strip().lower() in {"false", "0", "no", "off", "", "none", "0.0"}
    mend = f'"{key}": {"false" if off else "true"}'
    return finding("boolean", "error", case.at(key), message, why=why, file=mend)


def _quoted(default: object) -> str:
    return shown(default)


def _mode(case: Case) -> Iterator[Finding]:
    mode = case.text("mode")
    if mode is not None and mode not in case.rules.modes:
        hint = did_you_mean(mode, case.rules.modes)
        message = f"unknown mode {shown(mode)}; {hint}"
        why = "vLLM raises ValueError: unknown Mooncake mode"
        guess = nearest(mode, case.rules.modes) or "embedded"
        yield finding("mode", "error", case.at("mode"), message, why=why, file=f'"mode": "{guess}"')
    segment, key = case.size("global_segment_size"), "global_segment_size"
    if segment is None:
        return
    value = shown(case.given.get(key, "4GB, the default"))
    if case.mode == "embedded" and segment == 0:
        message = f"is {value}, and mode is embedded: each rank must give memory to the pool"
        why = "vLLM raises ValueError: embedded mode requires global_segment_size > 0"
        mend = f'"{key}": "4GB", or "mode": "standalone-store" with a mooncake_client'
        yield finding("mode", "error", case.at(key), message, why=why, file=mend)
    elif case.mode == "standalone-store" and segment != 0:
        message = f"is {value}, and mode is standalone-store: it must be 0"
        why = "vLLM raises ValueError: standalone-store mode requires global_segment_size == 0"
        yield finding("mode", "error", case.at(key), message, why=why, file=f'"{key}": 0')


def _size(case: Case, key: str) -> Iterator[Finding]:
    value = case.given.get(key, case.rules.key(key).default)
    place = case.at(key)
    try:
        size = parse_size(value)
    except SizeError as error:
        mend = f'"{key}": "{error.instead or "4GB"}"'
        message = f"{shown(value)} is no size: {error.reason}"
        why = "vLLM raises an error when it reads the file"
        yield finding("size", "error", place, message, why=why, file=mend)
        return
    if isinstance(value, float):
        message = f"{shown(value)} is a fraction: vLLM cuts it to {size} bytes"
        yield finding("size", "warning", place, message, file=f'"{key}": {size}')
    if size < 0 or (size == 0 and key == "local_buffer_size"):
        message = f"{shown(value)} is {size} bytes: it must be more than 0"
        why = (
            "vLLM raises ValueError: local_buffer_size must be > 0"
            if key == "local_buffer_size"
            else "vLLM takes it, and Mooncake as an unsigned number"
        )
        yield finding("size", "error", place, message, why=why, file=f'"{key}": "4GB"')
    elif 0 < size < case.rules.tiny:
        message = f"{shown(value)} is {size} bytes: the unit is missing, or far too small"
        mend = f'"{key}": "{size}GB"' if size < 1024 else f'"{key}": "4GB"'  # noqa: PLR2004
        yield finding("size", "warning", place, message, why="without a unit: bytes", file=mend)
    elif key == "global_segment_size" and size % case.rules.segment_alignment:
        low = size // case.rules.segment_alignment
        message = f"{shown(value)} is {human(size)}, no multiple of 1GB (1073741824 bytes)"
        why = "a segment that is not aligned to 1 GiB can fail to mount (InferenceX #2999)"
        mend = f'"{key}": "{max(1, low)}GB", or "{low + 1}GB"'
        yield finding("size-alignment", "warning", place, message, why=why, file=mend)


def _memory(case: Case) -> Iterator[Finding]:
    sizes = case.size("global_segment_size"), case.size("local_buffer_size")
    gpus, memory = case.machine.gpus, case.machine.memory
    if not gpus or not memory or None in sizes:
        return
    total = gpus * sum(size for size in sizes if size is not None and size > 0)
    if total > memory:
        parts = " + ".join(human(size) for size in sizes if size is not None)
        message = (
            f"({parts}) per rank, for {gpus} GPUs, is {human(total)}: "
            f"this machine has {human(memory)} of memory"
        )
        share = memory // gpus // 2
        yield finding(
            "memory",
            "warning",
            case.at("global_segment_size"),
            message,
            why="both sizes are per rank, and are registered, so pinned",
            file=f'"global_segment_size": "{max(1, share // case.rules.segment_alignment)}GB"',
        )


def _master_address(case: Case) -> Iterator[Finding]:
    key, ports = "master_server_address", case.rules.ports
    address = case.text(key)
    if address is None:
        return
    mend = f'"{key}": "127.0.0.1:{ports.master}"'
    if not address:
        why = "vLLM passes the empty string on, and setup() cannot reach a master"
        message = 'is "": it must be host:port of mooncake_master'
        yield finding("address", "error", case.at(key), message, why=why, file=mend)
        return
    fault = fault_of_address(address)
    if fault:
        message = f"{shown(address)} is not host:port: {fault}"
        yield finding("address", "error", case.at(key), message, file=mend)
        return
    host, _, port = address.rpartition(":")
    if port in {str(ports.client_rpc), str(ports.segment)}:
        what = "RPC" if port == str(ports.client_rpc) else "segment"
        message = f"{shown(address)}: {port} is by default the {what} port of mooncake_client"
        mend = f'"{key}": "{host}:{ports.master}"'
        yield finding("address", "warning", case.at(key), message, file=mend)
    if is_loopback(address) and (case.owner.nodes or 1) > 1:
        message = f"{shown(address)} is this machine alone, and there are {case.owner.nodes} nodes"
        why = "every node would look for a master of its own"
        mend = f'"{key}": "<address of the master>:{port}"'
        yield finding("address", "error", case.at(key), message, why=why, file=mend)


def _metadata(case: Case) -> Iterator[Finding]:
    key = "metadata_server"
    value = case.text(key)
    if value is None or value == "P2PHANDSHAKE":
        return
    mend = f'"{key}": "P2PHANDSHAKE"'
    schemes = [one.scheme for one in case.rules.metadata]
    scheme, mark, rest = value.partition("://")
    if not value:
        message = 'is "": it must be P2PHANDSHAKE or the address of a metadata server'
        why = "vLLM passes the empty string on, and Mooncake takes it for an etcd server"
        yield finding("metadata", "error", case.at(key), message, why=why, file=mend)
    elif value.strip().upper() == "P2PHANDSHAKE":
        message = f"{shown(value)} is not P2PHANDSHAKE: capitals, no blanks"
        why = "Mooncake compares it as it is, and takes it for an etcd server"
        yield finding("metadata", "error", case.at(key), message, why=why, file=mend)
    elif mark and scheme not in schemes:
        message = f"{shown(value)}: unknown scheme {shown(scheme)}; {did_you_mean(scheme, schemes)}"
        yield finding("metadata", "error", case.at(key), message, file=mend)
    elif not mark and fault_of_address(value):
        message = f"{shown(value)} is neither P2PHANDSHAKE nor an address"
        yield finding("metadata", "error", case.at(key), message, file=mend)
    elif scheme in {"http", "https"} and "/" not in rest:
        message = f"{shown(value)} has no path: mooncake_master serves /metadata"
        mend = f'"{key}": {shown(value + "/metadata")}'
        yield finding("metadata", "warning", case.at(key), message, file=mend)


def _protocol(case: Case) -> Iterator[Finding]:
    protocol = case.text("protocol")
    names = [one.name for one in case.rules.protocol]
    if protocol is None or protocol in names:
        return
    message = f"unknown protocol {shown(protocol)}; {did_you_mean(protocol, names)}"
    mend = f'"protocol": "{nearest(protocol.lower(), names) or "rdma"}"'
    why = "vLLM passes it on, and Mooncake installs no transport for it"
    yield finding("protocol", "error", case.at("protocol"), message, why=why, file=mend)
