"""The environment: types, ranges, aliases, misspellings, and whose variable it is."""

import pytest

from kvpack.doctor.mooncake import check_config
from kvpack.doctor.mooncake_model import MachineFacts
from kvpack.doctor.mooncake_programs import owner_of
from kvpack.doctor.mooncake_rules import load_rules
from tests.unit.doctor.mooncake_files import EMBEDDED, ENVIRONMENT, FILE, SSD, check, held

OFFLOAD = "MOONCAKE_OFFLOAD_"


@pytest.mark.parametrize(
    ("name", "value", "said", "mend"),
    [
        ("VLLM_MOONCAKE_DISK_STAGING_USABLE_RATIO", "90%", "90%", "0.9"),
        ("VLLM_MOONCAKE_DISK_STAGING_USABLE_RATIO", "0", "more than 0", "0.9"),
        ("VLLM_MOONCAKE_DISK_STAGING_USABLE_RATIO", "1.5", "at most 1", "0.9"),
        ("VLLM_MOONCAKE_DISK_STAGING_USABLE_RATIO", "nan", "nan", "0.9"),
        ("VLLM_MOONCAKE_BOOTSTRAP_PORT", "0", "1 or more", "8998"),
        ("VLLM_MOONCAKE_BOOTSTRAP_PORT", "65536", "65535 or less", "8998"),
        ("VLLM_MOONCAKE_BOOTSTRAP_PORT", "tcp", "whole number", "8998"),
        ("VLLM_MOONCAKE_STORE_TIER_LOG", "yes", '"yes"', "=true"),
        ("WITH_NVIDIA_PEERMEM", "dmabuf", '"dmabuf"', "=0"),
        ("MOONCAKE_PREFERRED_SEGMENT", "10.0.0.1", "no port", "50053"),
        ("MOONCAKE_PREFERRED_SEGMENT", "10.0.0.1:0", "0 is no port", "50053"),
        ("MOONCAKE_REQUESTER_LOCAL_HOSTNAME", "a b", "'a b'", "address"),
        (f"{OFFLOAD}STORAGE_BACKEND_DESCRIPTOR", "bucket", "bucket", "bucket_storage_backend"),
        (f"{OFFLOAD}LOCAL_BUFFER_SIZE_BYTES", "1GB", '"1GB"', "1342177280"),
        (f"{OFFLOAD}LOCAL_BUFFER_SIZE_BYTES", "0", "1 or more", "1342177280"),
        (f"{OFFLOAD}TOTAL_SIZE_LIMIT_BYTES", "2TB", '"2TB"', "2199023255552"),
        (f"{OFFLOAD}TOTAL_SIZE_LIMIT_BYTES", "9" * 30, "or less", "2199023255552"),
        (f"{OFFLOAD}TOTAL_SIZE_LIMIT_BYTES", "-" + "9" * 30, "1 or more", "2199023255552"),
        (f"{OFFLOAD}BUCKET_EVICTION_POLICY", "LRU", '"LRU"', "=lru"),
        (f"{OFFLOAD}BUCKET_EVICTION_POLICY", "random", '"random"', "=fifo"),
        ("MOONCAKE_BUCKET_EVICTION_POLICY", "Fifo", '"Fifo"', "=fifo"),
        (f"{OFFLOAD}USE_URING", "True", '"True"', "=true"),
        (f"{OFFLOAD}USE_URING", "on", '"on"', "=true"),
        ("MOONCAKE_USE_URING", "enabled", '"enabled"', "=true"),
        (f"{OFFLOAD}HEARTBEAT_INTERVAL_SECONDS", "0", "1 or more", "=10"),
        (f"{OFFLOAD}BUCKET_KEYS_LIMIT", "500 keys", '"500 keys"', "=500"),
        ("MOONCAKE_CONFIG_PATH", " ", "empty", "<path>"),
    ],
)
def test_values_that_are_refused_or_mistaken(name: str, value: str, said: str, mend: str) -> None:
    found = check(EMBEDDED, {"MOONCAKE_CONFIG_PATH": FILE, name: value}, owner=None)
    one = held(found, "variable", f"environment: {name}")
    assert one.severity == "error"
    assert said in one.message
    assert name in one.message
    assert mend in one.mend[0].command


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VLLM_MOONCAKE_STORE_TIER_LOG", "TRUE"),
        ("WITH_NVIDIA_PEERMEM", "0"),
        (f"{OFFLOAD}USE_URING", "0"),
        (f"{OFFLOAD}BUCKET_EVICTION_POLICY", "none"),
        (f"{OFFLOAD}STORAGE_BACKEND_DESCRIPTOR", "offset_allocator_storage_backend"),
        ("MOONCAKE_REQUESTER_LOCAL_HOSTNAME", "10.0.0.2"),
        ("MOONCAKE_REQUESTER_LOCAL_HOSTNAME", "10.0.0.2:50060"),
        ("MOONCAKE_OSS_BUCKET", "anything"),
        ("MOONCAKE_MASTER_SERVICE_HOST", "10.96.0.1"),
        ("MOONCAKE_MASTER_STORE_PORT_50051_TCP_ADDR", "10.96.0.1"),
        ("MOONCAKE_MASTER_SERVICE_PORT_RPC", "50051"),
        ("PYTHONHASHSEED", "0"),
        ("HOME", "\udcff"),
    ],
)
def test_values_that_are_right(name: str, value: str) -> None:
    environment = {"MOONCAKE_CONFIG_PATH": FILE, name: value}
    assert check(EMBEDDED, environment, owner=None, machine=None) == ()


def test_a_random_hash_seed() -> None:
    found = check(EMBEDDED, {**ENVIRONMENT, "PYTHONHASHSEED": "random"})
    one = held(found, "variable", "environment: PYTHONHASHSEED")
    assert (one.severity, '"random"' in one.message) == ("warning", True)


@pytest.mark.parametrize(
    ("name", "value", "guess"),
    [
        ("MOONCAKE_OFLOAD_USE_URING", "1", "MOONCAKE_OFFLOAD_USE_URING"),
        ("MOONCKAE_CONFIG_PATH", "m.json", "MOONCAKE_CONFIG_PATH"),
        ("MOONCAKE_PREFERED_SEGMENT", "a:1", "MOONCAKE_PREFERRED_SEGMENT"),
        ("VLLM_MOONCAKE_TIER_LOG", "1", "VLLM_MOONCAKE_STORE_TIER_LOG"),
    ],
)
def test_misspelt_names(name: str, value: str, guess: str) -> None:
    found = check(EMBEDDED, {**ENVIRONMENT, name: value})
    one = held(found, "unknown-variable", f"environment: {name}")
    assert one.severity == "warning"
    assert guess in one.message
    assert one.mend[0].command == f"{guess}={value}"


def test_names_that_nothing_reads() -> None:
    found = check(EMBEDDED, {**ENVIRONMENT, "MOONCAKE_ZZQQXXWW": "1"})
    assert held(found, "unknown-variable", "environment: MOONCAKE_ZZQQXXWW").severity == "note"


def test_variables_of_sglang() -> None:
    found = check(EMBEDDED, {**ENVIRONMENT, "MOONCAKE_GLOBAL_SEGMENT_SIZE": "80gb"})
    one = held(found, "foreign-variable", "environment: MOONCAKE_GLOBAL_SEGMENT_SIZE")
    assert '"80gb"' in one.message
    assert "global_segment_size" in one.why


@pytest.mark.parametrize(
    ("setting", "new", "old"),
    [
        ("USE_URING", "1", "false"),
        ("BUCKET_EVICTION_POLICY", "lru", "fifo"),
        ("BUCKET_MAX_TOTAL_SIZE", "10", "20"),
        ("DISK_EVICTION_HIGH_WATERMARK_RATIO", "0.8", "0.9"),
    ],
)
def test_two_names_that_disagree(setting: str, new: str, old: str) -> None:
    both = {f"{OFFLOAD}{setting}": new, f"MOONCAKE_{setting}": old}
    found = check(EMBEDDED, {**ENVIRONMENT, **both})
    one = held(found, "alias", f"environment: MOONCAKE_{setting}")
    assert f'"{new}" disagree: {OFFLOAD}{setting} wins' in one.message
    assert f'"{old}"' in one.message
    assert one.mend[0].command == f"unset MOONCAKE_{setting}"


def test_two_names_that_agree() -> None:
    both = {f"{OFFLOAD}USE_URING": "1", "MOONCAKE_USE_URING": "true"}
    assert "mooncake-alias" not in {one.check for one in check(EMBEDDED, {**ENVIRONMENT, **both})}


@pytest.mark.parametrize(
    ("value", "place", "resolved", "same"),
    [
        ("other.json", "mc.json", None, False),
        ("./mc.json", "mc.json", None, True),
        ("/etc/mc.json", "mc.json", None, True),
        ("/etc/other.json", "mc.json", None, False),
        ("/etc/mc.json", "mc.json", "/srv/mc.json", False),
        ("/srv/x/../mc.json", "mc.json", "/srv/mc.json", True),
        ("mc.json", "/srv/mc.json", "/srv/mc.json", True),
        ("/srv/mc.json", "/etc/mc.json", None, False),
    ],
)
def test_where_the_variable_points(
    value: str, place: str, resolved: str | None, *, same: bool
) -> None:
    found = check_config(
        "{}",
        place,
        environment={"MOONCAKE_CONFIG_PATH": value},
        machine=MachineFacts(config_path=resolved),
    )
    told = [one for one in found if one.check == "mooncake-config-path"]
    assert bool(told) != same
    for one in told:
        assert (one.severity, one.place) == ("warning", "environment: MOONCAKE_CONFIG_PATH")
        assert value in one.message


def test_without_the_variable() -> None:
    one = held(check(EMBEDDED, {}), "config-path", "environment: MOONCAKE_CONFIG_PATH")
    assert one.severity == "note"
    assert one.mend[0].command == "MOONCAKE_CONFIG_PATH=mc.json"


def test_the_owner_may_have_an_environment_of_its_own() -> None:
    owner = owner_of(environment={f"{OFFLOAD}USE_URING": "yes", SSD: "/data\udcff"})
    found = check(EMBEDDED, {**ENVIRONMENT, f"{OFFLOAD}USE_URING": "on"}, owner=owner)
    place = f"environment of mooncake_client: {OFFLOAD}USE_URING"
    assert '"yes"' in held(found, "variable", place).message
    assert len([one for one in found if one.check == "mooncake-variable"]) == 1


def test_names_of_the_rules_are_told_apart() -> None:
    rules = load_rules()
    names = [*rules.variables, *rules.known]
    assert len(names) == len(set(names)) > 100
    assert {one.name for one in rules.foreign}.isdisjoint(rules.keys)
    assert {one.name for one in rules.alias} <= set(names)
