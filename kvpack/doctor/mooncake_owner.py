"""The owner seen from vLLM: its segment, its addresses, and the RDMA devices of the ranks."""

import re
from collections import Counter
from collections.abc import Iterator

from kvpack.doctor.model import Finding
from kvpack.doctor.mooncake_addresses import (
    fault_of_address,
    host_of,
    is_loopback,
    is_unexpanded,
    port_of,
)
from kvpack.doctor.mooncake_model import Case, Program, finding, shown
from kvpack.doctor.mooncake_sizes import parse_client_size
from kvpack.names import nearest

_SEGMENT = "MOONCAKE_PREFERRED_SEGMENT"


def check_owner(case: Case) -> Iterator[Finding]:
    yield from _segment(case)
    yield from _requester(case)
    if case.owner.client is not None:
        yield from _client(case, case.owner.client)
    if case.owner.master is not None:
        yield from _master(case, case.owner.master)
    yield from _tenant(case)


def _segment(case: Case) -> Iterator[Finding]:
    value, ports = case.environment.get(_SEGMENT), case.rules.ports
    place = f"environment: {_SEGMENT}"
    if value is None:
        if case.mode == "standalone-store":
            message = f"{_SEGMENT} is not set: a rank's keys go to any owner of the cluster"
            why = (
                "the memory next to the rank stays unused by it; preferred_segment in "
                "kv_connector_extra_config does the same, and beats the variable"
            )
            mend = f"{_SEGMENT}=<host of the owner>:{ports.segment}"
            yield finding("segment", "warning", place, message, why=why, environment=mend)
        return
    if fault_of_address(value):
        return  # the check of variables says so
    mend = f"{_SEGMENT}={host_of(value)}:{ports.segment}"
    port = port_of(value)
    wrong = {
        str(ports.client_rpc): "RPC port of mooncake_client",
        str(ports.master): "port of mooncake_master",
    }
    theirs = _segment_of(case.owner.client)
    client_port = case.owner.client.get("port") if case.owner.client else None
    if theirs and theirs != value and not is_unexpanded(value):
        message = f"{_SEGMENT}={shown(value)}, and mooncake_client registers {shown(theirs)}"
        why = "the segment has the name that --host gives it; another name is never found"
        mend = f"{_SEGMENT}={theirs}"
        yield finding("segment", "error", place, message, why=why, environment=mend)
    elif not theirs and (port in wrong or (port and port == client_port)):
        what = wrong.get(port, "--port, the RPC port of mooncake_client")
        message = f"{_SEGMENT}={shown(value)}: {port} is the {what}, not that of its segment"
        why = f"vLLM's documentation has {ports.segment} for the segment (transfer engine)"
        yield finding("segment", "warning", place, message, why=why, environment=mend)
    if is_loopback(value) and (case.owner.nodes or 1) > 1:
        message = f"{_SEGMENT}={shown(value)}: all {case.owner.nodes} nodes have a segment so named"
        why = "owners that register one name are one to the master"
        mend = f"{_SEGMENT}=<address of this node>:{port or ports.segment}"
        yield finding("segment", "error", place, message, why=why, environment=mend)
    if case.mode == "embedded" and case.owner.client is None:
        message = f"{_SEGMENT}={shown(value)} in embedded mode: each rank has a segment of its own"
        yield finding("segment", "note", place, message, why="it is made for standalone-store")


def _requester(case: Case) -> Iterator[Finding]:
    name = "MOONCAKE_REQUESTER_LOCAL_HOSTNAME"
    value, nodes = case.environment.get(name), case.owner.nodes or 1
    if value and is_loopback(value) and nodes > 1:
        message = f"{name}={shown(value)}: the other of the {nodes} nodes cannot reach it"
        mend = f"{name}=<address of this node>"
        place = f"environment: {name}"
        yield finding("requester", "error", place, message, environment=mend)


def _segment_of(client: Program | None) -> str | None:
    """The segment that a client registers, if its ``--host`` has a port."""
    host = client.get("host") if client else None
    if host is None or is_unexpanded(host) or not port_of(host):
        return None
    return host


_CLIENT_DEFAULTS = {
    "master_server_address": "127.0.0.1:50051",
    "metadata_server": "http://127.0.0.1:8080/metadata",
    "protocol": "tcp",
}
"""real_client_main.cpp."""


def _client(case: Case, client: Program) -> Iterator[Finding]:
    """Whether owner and ranks mean the same master, metadata and transport."""
    for key, default in _CLIENT_DEFAULTS.items():
        ours, theirs = case.text(key), client.get(key)
        value = default if theirs is None else theirs
        if not ours or is_unexpanded(ours) or is_unexpanded(value) or ours == value:
            continue
        if key == "master_server_address" and _same_master(ours, value):
            continue
        given = "" if theirs is not None else ", the default"
        message = f"mooncake_client has {shown(value)}{given}, and {case.place} {shown(ours)}"
        why = (
            "the owner and the ranks must meet at one master, by one metadata server and transport"
        )
        mend = f"--{key}={ours}"
        yield finding("owner-agree", "warning", client.where(key), message, why=why, file=mend)
    host = client.get("host")
    if host is not None and not is_unexpanded(host) and not port_of(host):
        message = f"--host={host} has no port: the segment gets one that nobody can know before"
        mend = f"--host={host}:{case.rules.ports.segment}"
        why = f"{_SEGMENT} must name it"
        yield finding("segment", "note", client.where("host"), message, why=why, file=mend)
    size = client.get("global_segment_size")
    if size is not None and not is_unexpanded(size) and not parse_client_size(size):
        message = f"--global_segment_size={size}: mooncake_client takes it for 0 bytes"
        why = "it knows B, KB, MB, GB and TB; anything else is 0, so that the owner has no memory"
        mend = f"--global_segment_size={re.sub('(?i)ib$', 'B', size)}"
        if parse_client_size(mend.rpartition("=")[2]) is None:
            mend = "--global_segment_size=80GB"
        place = client.where("global_segment_size")
        yield finding("owner-size", "error", place, message, why=why, file=mend)


def _same_master(ours: str, theirs: str) -> bool:
    both_local = is_loopback(ours) and is_loopback(theirs)
    return both_local and port_of(ours) == port_of(theirs)


def _master(case: Case, master: Program) -> Iterator[Finding]:
    address = case.text("master_server_address")
    if not address or fault_of_address(address) or master.reads_unseen_file:
        return
    given = [master.get("rpc_port"), master.get("port")]
    port = next((one for one in given if one and one != "0"), str(case.rules.ports.master))
    ours = port_of(address)
    if ours and port.isdecimal() and ours != port:
        message = f"{shown(address)}, and mooncake_master listens on {port}"
        mend = f'"master_server_address": "{address.rpartition(":")[0]}:{port}"'
        place = case.at("master_server_address")
        why = f"that is {master.where('rpc_port' if given[0] else 'port')}"
        yield finding("owner-agree", "warning", place, message, why=why, file=mend)


def _tenant(case: Case) -> Iterator[Finding]:
    tenant = (case.text("tenant_id") or "default").strip() or "default"
    if tenant == "default":
        return
    place, master, client = case.at("tenant_id"), case.owner.master, case.owner.client
    enabled = None if master is None else master.get("enable_multi_tenants")
    mend = "mooncake_master --enable_multi_tenants=true"
    if master is None or (enabled is None and master.reads_unseen_file):
        message = f"{shown(tenant)}: mooncake_master must have --enable_multi_tenants=true"
        yield finding(
            "tenant", "note", place, message, why="it must register the tenant", file=mend
        )
    elif enabled != "true":
        message = f"{shown(tenant)}, and mooncake_master has no --enable_multi_tenants=true"
        why = "without it nothing keeps tenants apart"
        yield finding("tenant", "error", place, message, why=why, file=mend)
    theirs = "default" if client is None else client.get("tenant_id") or "default"
    if client is not None and theirs != tenant and not is_unexpanded(theirs):
        message = f"{shown(tenant)}, and mooncake_client has the tenant {shown(theirs)}"
        mend = f"mooncake_client --tenant_id={tenant}"
        why = "in standalone-store mode the client owns the real store"
        yield finding("tenant", "error", place, message, why=why, file=mend)


# -- RDMA devices -------------------------------------------------------------------------------


def check_devices(case: Case) -> Iterator[Finding]:
    """``device_name`` against the machine; since vLLM #43799 the whole list goes to every rank."""
    protocol = case.text("protocol")
    takes = {one.name for one in case.rules.protocol if one.rdma}
    known = case.machine.rdma_devices
    place = case.at("device_name")
    if protocol in {"rdma", "efa"} and known == ():
        message = f"protocol is {shown(protocol)}, and /sys/class/infiniband has no device"
        mend = '"protocol": "tcp", or give the container its devices (/dev/infiniband)'
        yield finding("devices", "error", case.at("protocol"), message, file=mend)
    per_gpu = case.given.get("device_name_per_gpu")
    if isinstance(per_gpu, list) and all(isinstance(one, str) for one in per_gpu):
        yield from _per_gpu(case, [str(one) for one in per_gpu])
        return
    text = case.text("device_name")
    if not text:
        return
    if protocol is not None and protocol not in takes:
        message = f"{shown(text)} has no effect: protocol is {shown(protocol)}"
        yield finding("devices", "note", place, message, file='"device_name": ""')
        return
    names = [one.strip() for one in text.split(",")]
    yield from _list(case, place, text, names)
    yield from _count(case, place, [one for one in dict.fromkeys(names) if one])


def _per_gpu(case: Case, lists: list[str]) -> Iterator[Finding]:
    place, gpus = case.at("device_name_per_gpu"), case.machine.gpus
    if case.text("device_name"):
        message = f"{shown(case.text('device_name'))} is replaced by device_name_per_gpu"
        yield finding("devices", "note", case.at("device_name"), message, file='"device_name": ""')
    if gpus is not None and len(lists) < gpus:
        message = f"{len(lists)} entries, and {gpus} GPUs: it is indexed by physical GPU"
        mend = '"device_name_per_gpu": ' + shown([*lists, *["mlx5_0"] * (gpus - len(lists))])
        yield finding("devices", "error", place, message, file=mend)
    for index, text in enumerate(lists):
        names = [one.strip() for one in text.split(",")]
        if text:
            yield from _list(case, f"{place}[{index}]", text, names)


def _list(case: Case, place: str, text: str, names: list[str]) -> Iterator[Finding]:
    clean = ",".join(dict.fromkeys(one for one in names if one))
    mend = f'"device_name": "{clean}"'
    if "" in names:
        message = f"{shown(text)} has an empty name between its commas"
        yield finding("devices", "warning", place, message, file=mend)
    if text != text.strip() or any(one != one.strip() for one in text.split(",")):
        message = f"{shown(text)} has blanks around names"
        why = "the names are compared with those of the devices"
        yield finding("devices", "warning", place, message, why=why, file=mend)
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        message = f"{shown(text)} names {', '.join(twice)} more than once"
        yield finding("devices", "warning", place, message, file=mend)
    known = case.machine.rdma_devices
    absent = [name for name in dict.fromkeys(names) if name and name not in (known or ())]
    if known and absent:
        right = [name if name in known else nearest(name, known) for name in names]
        clean = ",".join(dict.fromkeys(one for one in right if one))
        message = (
            f"no such device: {', '.join(absent)}; /sys/class/infiniband has {', '.join(known)}"
        )
        why = "the ranks start without the device, or not at all"
        mend = f'"device_name": "{clean}"'
        yield finding("devices", "error", place, message, why=why, file=mend)


def _count(case: Case, place: str, names: list[str]) -> Iterator[Finding]:
    gpus = case.machine.gpus
    if gpus is None or gpus < 2 or not names:  # noqa: PLR2004  - a lone rank shares with nobody
        return
    if gpus > len(names):
        message = f"{len(names)} device(s) ({','.join(names)}) for {gpus} GPUs: ranks share them"
        why = "since vLLM #43799 every rank registers its memory with all that are listed"
        known = case.machine.rdma_devices or ()
        listed = ",".join(known) if len(known) > len(names) else ""  # empty: Mooncake finds them
        mend = f'"device_name": "{listed}"'
        yield finding("device-count", "warning", place, message, why=why, file=mend)
    elif len(names) > 1:
        message = f"{len(names)} devices go to each of {gpus} ranks (vLLM #43799)"
        why = (
            "each rank registers its memory with every one of them, and all ranks contend: higher "
            "tail latency was measured (vLLM #53548); device_name_per_gpu of newer vLLM parts them"
        )
        yield finding("device-count", "note", place, message, why=why)
