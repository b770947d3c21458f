"""Good configurations, from which each case of the tests departs by one thing."""

import json
from collections.abc import Mapping

from kvpack.doctor.model import Finding
from kvpack.doctor.mooncake import check_config
from kvpack.doctor.mooncake_model import MachineFacts, OwnerSettings, PathFact, WheelAbility
from kvpack.doctor.mooncake_programs import owner_of

FILE = "mc.json"
SSD = "MOONCAKE_OFFLOAD_FILE_STORAGE_PATH"
EMBEDDED: Mapping[str, object] = {
    "mode": "embedded",
    "metadata_server": "P2PHANDSHAKE",
    "master_server_address": "10.0.0.1:50051",
    "global_segment_size": "80GB",
    "local_buffer_size": "4GB",
    "protocol": "rdma",
    "device_name": "",
    "enable_offload": False,
}
STANDALONE: Mapping[str, object] = {
    **EMBEDDED,
    "mode": "standalone-store",
    "global_segment_size": 0,
    "enable_offload": True,
}
ENVIRONMENT: Mapping[str, str] = {
    "MOONCAKE_CONFIG_PATH": FILE,
    "MOONCAKE_PREFERRED_SEGMENT": "10.0.0.1:50053",
    SSD: "/data/mooncake",
}
MASTER = "mooncake_master --rpc_port=50051 --enable_offload=true"
CLIENT = (
    "mooncake_client --host=10.0.0.1:50053 --port=50052 --master_server_address=10.0.0.1:50051"
    " --metadata_server=P2PHANDSHAKE --protocol=rdma --global_segment_size=80GB"
    " --enable_offload=true"
)
OWNER = owner_of(master_args=MASTER, client_args=CLIENT)
WHEEL = WheelAbility(
    distribution="mooncake-transfer-engine-cuda13",
    version="0.3.14",
    store=True,
    client=True,
    master=True,
    io_uring=True,
    dma_buf=True,
    etcd=True,
)
MACHINE = MachineFacts(
    gpus=2,
    rdma_devices=("mlx5_0", "mlx5_1"),
    memory=1 << 41,
    paths={"/data/mooncake": PathFact(kind="directory", size=1 << 42)},
)


def check(
    given: Mapping[str, object] | str | bytes,
    environment: Mapping[str, str] | None = None,
    *,
    owner: OwnerSettings | None = OWNER,
    wheel: WheelAbility | None = WHEEL,
    machine: MachineFacts | None = MACHINE,
) -> tuple[Finding, ...]:
    """The findings about a configuration (given as an object or as text)."""
    text = given if isinstance(given, str | bytes) else json.dumps(given)
    return check_config(
        text,
        FILE,
        environment=ENVIRONMENT if environment is None else environment,
        owner=owner,
        wheel=wheel,
        machine=machine,
    )


def held(findings: tuple[Finding, ...], check: str, place: str) -> Finding:
    """The one finding with this id at this place."""
    found = [one for one in findings if (one.check, one.place) == (f"mooncake-{check}", place)]
    assert len(found) == 1, [(one.check, one.place, one.message) for one in findings]
    return found[0]
