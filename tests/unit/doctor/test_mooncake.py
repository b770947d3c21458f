"""mooncake_config.json: each way to be wrong, told with its id, place and value."""

import re
from pathlib import Path

import pytest

from kvpack.doctor.mooncake import check_config
from kvpack.doctor.mooncake_model import MachineFacts
from kvpack.doctor.mooncake_programs import owner_of
from tests.unit.doctor.mooncake_files import (
    EMBEDDED,
    ENVIRONMENT,
    FILE,
    MACHINE,
    OWNER,
    STANDALONE,
    WHEEL,
    check,
    held,
)

PAGE = Path(__file__).parents[3] / "docs" / "howto-mooncake-config.md"
NO_OFFLOAD = owner_of(master_args="--rpc_port=50051")


def test_good_files_have_nothing_to_mend() -> None:
    for given, owner in ((EMBEDDED, NO_OFFLOAD), (STANDALONE, OWNER)):
        assert [one for one in check(given, owner=owner) if one.severity != "note"] == []


def test_the_smallest_file_that_works() -> None:
    given = {"metadata_server": "P2PHANDSHAKE", "master_server_address": "10.0.0.1:50051"}
    found = check_config(str(given).replace("'", '"'), FILE, environment={})
    assert [(one.check, one.severity) for one in found] == [("mooncake-config-path", "note")]


# -- the text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "said", "mend"),
    [
        ('{"mode": "embedded",\n "protocol" "tcp"}', "mc.json:2:13", '"tcp"', "line 2, column 13"),
        ("{'mode': 'embedded'}", "mc.json:1:2", "'mode'", "double quotes"),
        ('{"enable_offload": True}', "mc.json:1:20", "True", "write true"),
        ('{"device_name": None}', "mc.json:1:17", "None", "write null"),
        ('{ // all ranks\n"mode": "embedded"}', "mc.json:1:3", "// all ranks", "comment"),
        ("", "mc.json:1:1", "Expecting value", "empty"),
        ('﻿{"mode": "embedded"}', "mc.json:1:1", "BOM", "byte order mark"),
        (b'{"mode": "\xff"}', "mc.json", "byte 10", "UTF-8"),
        ('["mode"]', "mc.json", '["mode"]', "{"),
        ("null", "mc.json", "null", "{"),
        ('{"local_buffer_size": ' + "9" * 5000 + "}", "mc.json", "4300", "plain"),
        ("[" * 100_000, "mc.json", "recursion", "plain"),
    ],
)
def test_json_faults(text: str | bytes, place: str, said: str, mend: str) -> None:
    one = held(check(text), "json", place)
    assert one.severity == "error"
    assert said in one.message
    assert mend in one.mend[0].command


def test_a_comma_too_many() -> None:
    """Where the parser stops depends on Python's version: at the comma, or behind it."""
    (one,) = (each for each in check('{"mode": "embedded",}') if each.check == "mooncake-json")
    assert one.place in {"mc.json:1:20", "mc.json:1:21"}
    assert '"embedded",}' in one.message
    assert "comma" in one.mend[0].command


def test_keys_that_stand_twice() -> None:
    text = '{"mode": "embedded", "protocol": "rdma", "protocol": "tcp", "x": {"y": 1, "y": 2}}'
    one = held(check(text), "json", "mc.json: protocol")
    assert '"tcp"' in one.message
    assert [each.place for each in check(text) if each.check == "mooncake-json"] == [one.place]


# -- keys ---------------------------------------------------------------------------------------

ERRORS: list[tuple[str, object, str, str, str]] = [
    # key, value, check, what the message says, what the mend says
    ("mod", "embedded", "unknown-key", "'mode'", '"mode": "embedded"'),
    ("devicename", "mlx5_0", "unknown-key", "'device_name'", '"device_name": "mlx5_0"'),
    ("enable_ofload", True, "unknown-key", "'enable_offload'", '"enable_offload": true'),
    ("enable_ssd_offload", True, "foreign-key", "SGLang", "enable_offload"),
    ("ssd_offload_path", "/d", "foreign-key", '"/d"', "MOONCAKE_OFFLOAD_FILE_STORAGE_PATH"),
    ("standalone_storage", True, "foreign-key", "SGLang", "standalone-store"),
    ("prefer_alloc_in_same_node", True, "foreign-key", "Ascend", "PREFERRED_SEGMENT"),
    ("rdma_devices", "mlx5_0", "foreign-key", "setup()", "device_name"),
    ("load_async", True, "foreign-key", "kv_connector_extra_config", "--kv-transfer-config"),
    ("preferred_segment", "a:1", "foreign-key", '"a:1"', "kv_connector_extra_config"),
    ("enable_offload", "false", "boolean", '"false"', '"enable_offload": false'),
    ("enable_offload", "true", "boolean", '"true"', '"enable_offload": true'),
    ("enable_offload", 0, "boolean", "0", '"enable_offload": false'),
    ("enable_offload", 1, "boolean", "1", '"enable_offload": true'),
    ("enable_offload", None, "boolean", "null", '"enable_offload": false'),
    ("enable_offload", [], "boolean", "[]", "enable_offload"),
    ("mode", 1, "type", "1", '"mode": "embedded"'),
    ("mode", None, "type", "null", '"mode": "embedded"'),
    ("device_name", ["mlx5_0"], "type", '["mlx5_0"]', '"device_name": ""'),
    ("protocol", True, "type", "true", '"protocol": "rdma"'),
    ("tenant_id", 7, "type", "7", '"tenant_id": "default"'),
    ("device_name_per_gpu", "mlx5_0", "type", '"mlx5_0"', "null"),
    ("device_name_per_gpu", [1], "type", "[1]", "null"),
    ("mode", "standalone", "mode", '"standalone"', '"standalone-store"'),
    ("mode", "Embedded", "mode", '"Embedded"', '"embedded"'),
    ("global_segment_size", 0, "mode", "embedded", "standalone-store"),
    ("global_segment_size", "0 b", "mode", '"0 b"', '"4GB"'),
    ("local_buffer_size", 0, "size", "more than 0", '"4GB"'),
    ("local_buffer_size", -1, "size", "-1", '"4GB"'),
    ("global_segment_size", -1, "size", "-1", '"4GB"'),
    ("global_segment_size", "-4GB", "size", '"-4GB"', '"4GB"'),
    ("global_segment_size", "4TB", "size", '"4TB"', '"4096GB"'),
    ("global_segment_size", "80GiB", "size", '"80GiB"', '"80GB"'),
    ("global_segment_size", "1.5T", "size", '"1.5T"', '"1536GB"'),
    ("global_segment_size", "4.0.1GB", "size", "4.0.1", '"4GB"'),
    ("global_segment_size", "..GB", "size", "one dot", '"4GB"'),
    ("global_segment_size", "", "size", "empty", '"4GB"'),
    ("global_segment_size", "80 giga", "size", "GIGA", '"4GB"'),
    ("global_segment_size", "1,000GB", "size", '"1,000GB"', '"4GB"'),
    ("global_segment_size", True, "size", "boolean", '"4GB"'),
    ("global_segment_size", None, "size", "null", '"4GB"'),
    ("local_buffer_size", [4], "size", "[4]", '"4GB"'),
    ("local_buffer_size", "9" * 400, "size", "larger", '"4GB"'),
    ("master_server_address", "", "address", "mooncake_master", "127.0.0.1:50051"),
    ("master_server_address", "10.0.0.1", "address", "no port", ":50051"),
    ("master_server_address", "10.0.0.1:", "address", '"10.0.0.1:"', ":50051"),
    ("master_server_address", "10.0.0.1:70000", "address", "70000", ":50051"),
    ("master_server_address", "10.0.0.1:rpc", "address", "'rpc'", ":50051"),
    ("master_server_address", "http://m:50051", "address", "scheme", ":50051"),
    ("master_server_address", " m:50051", "address", "blanks", ":50051"),
    ("master_server_address", "fe80::1:50051", "address", "brackets", ":50051"),
    ("metadata_server", "", "metadata", "P2PHANDSHAKE", "P2PHANDSHAKE"),
    ("metadata_server", "p2phandshake", "metadata", '"p2phandshake"', "P2PHANDSHAKE"),
    ("metadata_server", "zk://h:1", "metadata", '"zk"', "P2PHANDSHAKE"),
    ("metadata_server", "somewhere", "metadata", '"somewhere"', "P2PHANDSHAKE"),
    ("protocol", "RDMA", "protocol", '"RDMA"', '"rdma"'),
    ("protocol", "infiniband", "protocol", '"infiniband"', '"rdma"'),
    ("device_name", "mlx5_0,mlx5_7", "devices", "mlx5_7", "mlx5_0"),
    ("device_name_per_gpu", ["mlx5_0"], "devices", "2 GPUs", "mlx5_0"),
]


@pytest.mark.parametrize(("key", "value", "check_", "said", "mend"), ERRORS)
def test_errors_of_keys(key: str, value: object, check_: str, said: str, mend: str) -> None:
    one = held(check({**EMBEDDED, key: value}, owner=None), check_, f"mc.json: {key}")
    assert one.severity == "error"
    assert said in one.message
    assert mend in one.mend[0].command


WARNINGS: list[tuple[str, object, str, str, str]] = [
    ("comment", "ours", "unknown-key", '"ours"', "remove"),
    ("local_hostname", "h", "foreign-key", '"h"', "MOONCAKE_REQUESTER_LOCAL_HOSTNAME"),
    ("global_segment_size", "4", "size", "4 bytes", '"4GB"'),
    ("local_buffer_size", 2048, "size", "2048 bytes", '"4GB"'),
    ("local_buffer_size", 4294967296.5, "size", "4294967296.5", "4294967296"),
    ("global_segment_size", 30000000000, "size-alignment", "30000000000", '"27GB", or "28GB"'),
    ("global_segment_size", "500MB", "size-alignment", '"500MB"', '"1GB"'),
    ("global_segment_size", "2000GB", "memory", "2 GPUs", "512GB"),
    ("master_server_address", "m:50052", "address", "RPC", '"m:50051"'),
    ("master_server_address", "m:50053", "address", "segment", '"m:50051"'),
    ("metadata_server", "http://m:8080", "metadata", '"http://m:8080"', "8080/metadata"),
    ("device_name", "mlx5_0,,mlx5_1", "devices", "empty name", '"mlx5_0,mlx5_1"'),
    ("device_name", "mlx5_0, mlx5_1", "devices", "blanks", '"mlx5_0,mlx5_1"'),
    ("device_name", "mlx5_0,mlx5_0", "devices", "more than once", '"mlx5_0"'),
    ("device_name", "mlx5_1", "device-count", "2 GPUs", '"mlx5_0,mlx5_1"'),
]


@pytest.mark.parametrize(("key", "value", "check_", "said", "mend"), WARNINGS)
def test_warnings_of_keys(key: str, value: object, check_: str, said: str, mend: str) -> None:
    one = held(check({**EMBEDDED, key: value}, owner=None), check_, f"mc.json: {key}")
    assert one.severity == "warning"
    assert said in one.message
    assert mend in one.mend[0].command


@pytest.mark.parametrize("value", ["1GB", 4294967296, "80GB"])
def test_standalone_ranks_give_no_memory(value: object) -> None:
    one = held(
        check({**STANDALONE, "global_segment_size": value}), "mode", "mc.json: global_segment_size"
    )
    assert str(value) in one.message
    assert one.mend[0].command == '"global_segment_size": 0'


def test_standalone_with_the_default_size() -> None:
    given = {key: value for key, value in STANDALONE.items() if key != "global_segment_size"}
    one = held(check(given), "mode", "mc.json: global_segment_size")
    assert "the default" in one.message


def test_all_faults_at_once() -> None:
    given = {"mode": "x", "enable_offload": "false", "local_buffer_size": "4TB", "protocoll": "tcp"}
    ids = {one.check for one in check(given) if one.severity == "error"}
    wanted = "mode boolean size unknown-key address metadata"
    assert ids >= {f"mooncake-{name}" for name in wanted.split()}


@pytest.mark.parametrize(
    "value",
    ["10.0.0.1:1", "[fe80::1]:50051", "mooncake-master.mooncake.svc:50051", "$(MASTER):50051"],
)
def test_addresses_that_are_right(value: str) -> None:
    found = check({**EMBEDDED, "master_server_address": value}, owner=None)
    assert [one for one in found if one.severity != "note"] == []


@pytest.mark.parametrize(
    "value", ["http://m:8080/metadata", "etcd://a:2379;b:2379", "10.0.0.1:2379", "P2PHANDSHAKE"]
)
def test_metadata_servers_that_are_right(value: str) -> None:
    found = check({**EMBEDDED, "metadata_server": value}, owner=None)
    assert [one for one in found if one.severity != "note"] == []


def test_values_that_may_be_null_or_newer() -> None:
    more = {"tenant_id": None, "device_name_per_gpu": ["mlx5_0", "mlx5_1"]}
    found = check({**EMBEDDED, **more}, owner=None)
    assert [one for one in found if one.severity != "note"] == []


# -- devices ------------------------------------------------------------------------------------


def test_a_machine_without_rdma() -> None:
    machine = MachineFacts(rdma_devices=())
    one = held(check(EMBEDDED, owner=None, machine=machine), "devices", "mc.json: protocol")
    assert '"rdma"' in one.message
    found = check({**EMBEDDED, "protocol": "tcp"}, owner=None, machine=machine)
    assert not [each for each in found if each.check == "mooncake-devices"]


def test_devices_are_not_judged_where_nobody_looked() -> None:
    found = check({**EMBEDDED, "device_name": "mlx5_9"}, owner=None, machine=None)
    assert not [one for one in found if one.check.startswith("mooncake-device")]


def test_the_whole_list_goes_to_every_rank() -> None:
    found = check({**EMBEDDED, "device_name": "mlx5_0,mlx5_1"}, owner=None)
    one = held(found, "device-count", "mc.json: device_name")
    assert (one.severity, "each of 2 ranks" in one.message) == ("note", True)
    lone = MACHINE.model_copy(update={"gpus": 1})
    found = check({**EMBEDDED, "device_name": "mlx5_0"}, owner=None, machine=lone)
    assert "mooncake-device-count" not in {each.check for each in found}


def test_devices_of_tcp_have_no_effect() -> None:
    found = check({**EMBEDDED, "device_name": "mlx5_9", "protocol": "tcp"}, owner=None)
    assert held(found, "devices", "mc.json: device_name").severity == "note"


# -- the page -----------------------------------------------------------------------------------


def test_the_files_of_the_page_are_right() -> None:
    """Both examples pass with what the page starts beside them."""
    text = PAGE.read_text(encoding="utf-8")
    embedded, standalone = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    master, client = (
        re.search(rf"^{name} (.*?)(?<!\\)$", text, re.DOTALL | re.MULTILINE)
        for name in ("mooncake_master", "mooncake_client")
    )
    assert master is not None
    assert client is not None
    owner = owner_of(master_args=master[0], client_args=client[0])
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))
    assert "--enable_offload=true" in master[0]
    for given, said in ((embedded, None), (standalone, owner)):
        found = check(given, {**exported, "MOONCAKE_CONFIG_PATH": FILE}, owner=said)
        assert [(one.check, one.place) for one in found if one.severity != "note"] == []
    assert '"mode": "standalone-store"' in standalone
    assert '"mode": "embedded"' in embedded


def test_nothing_is_asked_of_a_wheel_that_can_all() -> None:
    found = check(STANDALONE, {**ENVIRONMENT, "MOONCAKE_OFFLOAD_USE_URING": "1"}, wheel=WHEEL)
    assert not [one for one in found if one.check.startswith("mooncake-wheel")]
