"""The other processes: their command lines, what must agree, staging, the disk, the wheel."""

from collections.abc import Mapping

import pytest

from kvpack.audit.model import ElfFile, ElfKind
from kvpack.doctor.mooncake_model import MachineFacts, PathFact
from kvpack.doctor.mooncake_programs import owner_of
from kvpack.doctor.mooncake_wheel import ability_of
from tests.unit.doctor.mooncake_files import (
    CLIENT,
    EMBEDDED,
    ENVIRONMENT,
    MASTER,
    OWNER,
    SSD,
    STANDALONE,
    WHEEL,
    check,
    held,
)

BUFFER = "MOONCAKE_OFFLOAD_LOCAL_BUFFER_SIZE_BYTES"
LIMIT = "MOONCAKE_OFFLOAD_TOTAL_SIZE_LIMIT_BYTES"
SEGMENT = "MOONCAKE_PREFERRED_SEGMENT"
YAML = """\
# llm-d
rpc_port: 50051
rpc_address: "0.0.0.0"   # all
cluster_id: 'it''s'
root_fs_dir: /data/a#b
enable_offload: yes
eviction_ratio: 0.2
"""

# -- command lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        ("--enable_offload=true", {"enable_offload": "true"}),
        ("-enable_offload=1", {"enable_offload": "true"}),
        ("--enable-offload", {"enable_offload": "true"}),
        ("--noenable_offload", {"enable_offload": "false"}),
        ("--enable_offload=F", {"enable_offload": "false"}),
        ("--enable_offload --noenable_offload", {"enable_offload": "false"}),
        ("mooncake_master --port 50051 -v=1", {"port": "50051", "v": "1"}),
        ("--rpc_address '0.0.0.0'", {"rpc_address": "0.0.0.0"}),  # noqa: S104  - a word
        ("--enable_offload -- --port 1", {"enable_offload": "true"}),
        ("--cluster_id=a=b", {"cluster_id": "a=b"}),
        ("--port=1 \\\n  --v=2", {"port": "1", "v": "2"}),
        ("", {}),
    ],
)
def test_flags_as_gflags_reads_them(args: str, flags: Mapping[str, str]) -> None:
    owner = owner_of(master_args=args)
    assert owner.faults == ()
    assert owner.master is not None
    assert owner.master.flags == flags


@pytest.mark.parametrize(
    ("args", "place", "said", "severity"),
    [
        ("--enable_offload false", "--master-args: --enable_offload", "flag is true", "error"),
        ("--enable_offload=maybe", "--master-args: --enable_offload", '"maybe"', "error"),
        ("--enable_ofload=true", "--master-args: --enable_ofload", "--enable_offload", "warning"),
        ("--zzz=1", "--master-args: --zzz", "--zzz=1", "warning"),
        ("--port", "--master-args", "--port has no value", "error"),
        ("--port=1 extra", "--master-args: --port", '"extra"', "error"),
        ("--rpc_address '0.0.0.0", "--master-args", "No closing quotation", "error"),
        ("--zzz \udcff", "--master-args: --zzz", "--zzz", "warning"),
    ],
)
def test_faults_of_command_lines(args: str, place: str, said: str, severity: str) -> None:
    one = held(check(EMBEDDED, owner=owner_of(master_args=args)), "arguments", place)
    assert one.severity == severity
    assert said in one.message


def test_the_flat_file_of_the_master() -> None:
    owner = owner_of(master_args="--config_path=/m.yaml", master_config=(YAML, "m.yaml"))
    assert owner.faults == ()
    assert owner.master is not None
    assert owner.master.file == {
        "rpc_port": "50051",
        "rpc_address": "0.0.0.0",  # noqa: S104  - a word
        "cluster_id": "it's",
        "root_fs_dir": "/data/a#b",
        "enable_offload": "true",
        "eviction_ratio": "0.2",
    }
    as_json = owner_of(master_config=('{"rpc_port": 50051, "enable_offload": true}', "m.json"))
    assert as_json.master is not None
    assert as_json.master.file == {"rpc_port": "50051", "enable_offload": "true"}


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("rpc:\n  port: 1\n", "m.yaml:2", "port: 1"),
        ("list:\n- a\n", "m.yaml:2", "- a"),
        ("a: {b: 1}\n", "m.yaml:1", "{b: 1}"),
        ("a: [1]\n", "m.yaml:1", "[1]"),
        ("a: &x 1\n", "m.yaml:1", "&x"),
        ("enable_offload=true\n", "m.yaml:1", "enable_offload=true"),
        ("enable_offload:true\n", "m.yaml:1", "enable_offload:true"),
        ("a: 'open\n", "m.yaml:1", "'open"),
        ("a: b: c\n", "m.yaml:1", "b: c"),
        ("port: 1\nport: 2\n", "m.yaml:2", '"2"'),
        ("enable_offload: 1\n", "m.yaml: enable_offload", '"1"'),
        ('{"enable_offload": }', "m.yaml", "JSON"),
    ],
)
def test_faults_of_the_file_of_the_master(text: str, place: str, said: str) -> None:
    found = check(EMBEDDED, owner=owner_of(master_config=(text, "m.yaml")))
    one = held(found, "master-file", place)
    assert one.severity == "error"
    assert said in one.message


# -- the three places ---------------------------------------------------------------------------

OFF = MASTER.replace("=true", "=false")
CLIENT_OFF = CLIENT.replace("=true", "=false")


@pytest.mark.parametrize(
    ("given", "master", "client", "place", "said"),
    [
        (STANDALONE, OFF, CLIENT, "--master-args: --enable_offload", "mooncake_client"),
        (STANDALONE, "", CLIENT, "--master-args: --enable_offload", "mooncake_config.json"),
        (STANDALONE, MASTER, CLIENT_OFF, "--client-args: --enable_offload", "mooncake_master"),
        (
            {**STANDALONE, "enable_offload": False},
            MASTER,
            CLIENT,
            "mc.json: enable_offload",
            "mooncake_master and mooncake_client",
        ),
        (EMBEDDED, MASTER, None, "mc.json: enable_offload", "mooncake_master"),
    ],
)
def test_the_place_that_is_off(
    given: Mapping[str, object], master: str, client: str | None, place: str, said: str
) -> None:
    owner = owner_of(master_args=master, client_args=client)
    one = held(check(given, owner=owner), "offload-agree", place)
    assert one.severity == "error"
    assert said in one.message
    assert "true" in one.mend[0].command


def test_places_that_nobody_showed_are_notes() -> None:
    found = check(STANDALONE, owner=None)
    for program in ("master", "client"):
        one = held(found, "offload-agree", f"mooncake_{program}: --enable_offload")
        assert (one.severity, "true" in one.message) == ("note", True)


def test_the_file_of_the_master_counts_and_the_command_line_beats_it() -> None:
    file = ("enable_offload: false\n", "m.yaml")
    owner = owner_of(master_config=file, client_args=CLIENT)
    one = held(check(STANDALONE, owner=owner), "offload-agree", "m.yaml: enable_offload")
    assert one.severity == "error"
    owner = owner_of(master_args=MASTER, master_config=file, client_args=CLIENT)
    assert "mooncake-offload-agree" not in {one.check for one in check(STANDALONE, owner=owner)}
    owner = owner_of(master_args="--config_path=/m.yaml", client_args=CLIENT)
    one = held(check(STANDALONE, owner=owner), "offload-agree", "--master-args: --enable_offload")
    assert one.severity == "note"


# -- staging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "severity", "said"),
    [
        (1, "note", "takes 12288 (aligned to 4096, + 8192): 98304 keys"),
        (4096, "note", "takes 12288"),
        (4097, "note", "takes 16384"),
        (1207951360, "note", "takes 1207959552 (aligned to 4096, + 8192): 1 keys"),
        (1207951361, "warning", "takes 1207963648"),
        (1342169088, "warning", "usable budget, 1207959552"),
        (1342169089, "error", "takes 1342181376 (aligned to 4096, + 8192): more than the whole"),
    ],
)
def test_keys_against_the_staging_budget(size: int, severity: str, said: str) -> None:
    owner = owner_of(master_args=MASTER, client_args=CLIENT, key_bytes=size)
    one = held(check(STANDALONE, owner=owner), "staging-key", "mc.json: --kv-key-bytes")
    assert one.severity == severity
    assert f"a key of {size} bytes" in one.message
    assert said in one.message


def test_a_key_is_judged_when_asked_for_without_offload_too() -> None:
    found = check(EMBEDDED, owner=owner_of(key_bytes=1 << 31))
    assert held(found, "staging-key", "mc.json: --kv-key-bytes").severity == "error"


def test_the_budget_is_told_in_numbers() -> None:
    one = held(check(STANDALONE), "staging", "mc.json: enable_offload")
    for number in ("1342177280", "0.9", "1207959552", "4096", "8192", "1342169088"):
        assert number in one.message
    environment = {**ENVIRONMENT, "VLLM_MOONCAKE_DISK_STAGING_USABLE_RATIO": "0.5"}
    one = held(check(STANDALONE, environment), "staging", "mc.json: enable_offload")
    assert "671088640" in one.message


@pytest.mark.parametrize(
    ("value", "severity"),
    [(1 << 30, "error"), (1250 << 20, "warning"), (2 << 30, "warning"), (32 << 30, "warning")],
)
def test_a_buffer_that_parts_from_vllms_constant(value: int, severity: str) -> None:
    found = check(STANDALONE, {**ENVIRONMENT, BUFFER: str(value)})
    one = held(found, "staging-buffer", f"environment: {BUFFER}")
    assert one.severity == severity
    assert f"{BUFFER}={value}" in one.message
    assert one.mend[0].command == f"unset {BUFFER}"


@pytest.mark.parametrize("value", ["1342177280", "", "1GB"])
def test_a_buffer_that_is_the_default(value: str) -> None:
    found = check(STANDALONE, {**ENVIRONMENT, BUFFER: value})
    assert "mooncake-staging-buffer" not in {one.check for one in found}


# -- the disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("", None, "empty"),
        ("data", None, "absolute"),
        ("/data/../x", None, "refused"),
        ("/d", "missing", "does not exist"),
        ("/d", "file", "no directory"),
        ("/d", "symlink", "symbolic link"),
        ("/d", "unwritable", "written"),
    ],
)
def test_directories_that_the_owner_refuses(path: str, kind: str | None, said: str) -> None:
    paths = {path: PathFact.model_validate({"kind": kind})} if kind else {}
    environment = {**ENVIRONMENT, SSD: path}
    found = check(STANDALONE, environment, machine=MachineFacts(paths=paths))
    told = [one for one in found if one.check == "mooncake-ssd-path"]
    assert [(one.severity, one.place) for one in told] == [("error", f"environment: {SSD}")]
    assert f'{SSD}="{path}"' in told[0].message
    assert said in told[0].message


@pytest.mark.parametrize(
    ("client", "theirs", "severity"),
    [(None, None, "note"), (CLIENT, None, "warning"), (CLIENT, {}, "error")],
)
def test_no_directory_for_the_disk(
    client: str | None, theirs: Mapping[str, str] | None, severity: str
) -> None:
    owner = owner_of(master_args=MASTER, client_args=client, environment=theirs)
    environment = {key: value for key, value in ENVIRONMENT.items() if key != SSD}
    where = "environment" if theirs is None else "environment of mooncake_client"
    one = held(check(STANDALONE, environment, owner=owner), "ssd-path", f"{where}: {SSD}")
    assert one.severity == severity
    assert SSD in one.mend[0].command


def test_limits_beyond_the_disk() -> None:
    machine = MachineFacts(paths={"/data/mooncake": PathFact(kind="directory", size=10**12)})
    one = held(check(STANDALONE, machine=machine), "ssd-limit", f"environment: {LIMIT}")
    assert "2199023255552, the default" in one.message
    assert one.mend[0].command == f"{LIMIT}=900000000000"
    environment = {**ENVIRONMENT, LIMIT: str(10**11)}
    found = check(STANDALONE, environment, machine=machine)
    assert "mooncake-ssd-limit" not in {each.check for each in found}


def test_an_eviction_threshold_that_is_never_reached() -> None:
    name = "MOONCAKE_OFFLOAD_BUCKET_MAX_TOTAL_SIZE"
    found = check(STANDALONE, {**ENVIRONMENT, LIMIT: "1000", name: "2000"})
    one = held(found, "ssd-limit", f"environment: {name}")
    assert "2000" in one.message
    assert one.mend[0].command == f"{name}=1000"


# -- segment, addresses, tenants ----------------------------------------------------------------


def test_a_rank_without_an_owner() -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != SEGMENT}
    one = held(check(STANDALONE, environment), "segment", f"environment: {SEGMENT}")
    assert one.severity == "warning"
    assert "50053" in one.mend[0].command


@pytest.mark.parametrize(
    ("value", "client", "severity", "said"),
    [
        ("10.0.0.1:50052", None, "warning", "50052 is the RPC port of mooncake_client"),
        ("10.0.0.1:50051", None, "warning", "50051 is the port of mooncake_master"),
        ("10.0.0.1:50052", CLIENT, "error", '"10.0.0.1:50053"'),
        ("10.0.0.2:50053", CLIENT, "error", '"10.0.0.2:50053"'),
        ("10.0.0.1:7", "--host=10.0.0.1 --port=7", "warning", "7 is the --port"),
    ],
)
def test_segments_that_are_none(value: str, client: str | None, severity: str, said: str) -> None:
    owner = owner_of(master_args=MASTER, client_args=client)
    found = check(STANDALONE, {**ENVIRONMENT, SEGMENT: value}, owner=owner)
    one = held(found, "segment", f"environment: {SEGMENT}")
    assert one.severity == severity
    assert said in one.message
    assert "50053" in one.mend[0].command


def test_loopback_and_several_nodes() -> None:
    local = "127.0.0.1:50053"
    name = "MOONCAKE_REQUESTER_LOCAL_HOSTNAME"
    environment = {**ENVIRONMENT, SEGMENT: local, name: "localhost"}
    given = {**STANDALONE, "master_server_address": "127.0.0.1:50051"}
    alone = check(given, environment, owner=owner_of(nodes=1))
    assert [one for one in alone if one.severity == "error"] == []
    found = check(given, environment, owner=owner_of(nodes=4))
    assert "4 nodes" in held(found, "segment", f"environment: {SEGMENT}").message
    assert '"127.0.0.1:50051"' in held(found, "address", "mc.json: master_server_address").message
    assert '"localhost"' in held(found, "requester", f"environment: {name}").message


@pytest.mark.parametrize(
    ("old", "new", "flag", "said"),
    [
        (":50051", ":50061", "master_server_address", '"10.0.0.1:50061"'),
        (" --protocol=rdma", "", "protocol", '"tcp", the default'),
        (" --metadata_server=P2PHANDSHAKE", "", "metadata_server", "8080/metadata"),
    ],
)
def test_an_owner_that_means_another_store(old: str, new: str, flag: str, said: str) -> None:
    owner = owner_of(master_args=MASTER, client_args=CLIENT.replace(old, new))
    one = held(check(STANDALONE, owner=owner), "owner-agree", f"--client-args: --{flag}")
    assert said in one.message
    assert one.mend[0].command == f"--{flag}={STANDALONE[flag]}"


def test_a_master_that_listens_elsewhere() -> None:
    owner = owner_of(master_args=MASTER.replace("50051", "50061"), client_args=CLIENT)
    one = held(check(STANDALONE, owner=owner), "owner-agree", "mc.json: master_server_address")
    assert "50061" in one.message
    assert one.mend[0].command == '"master_server_address": "10.0.0.1:50061"'


def test_an_owner_without_memory() -> None:
    owner = owner_of(master_args=MASTER, client_args=CLIENT.replace("80GB", "80GiB"))
    found = check(STANDALONE, owner=owner)
    one = held(found, "owner-size", "--client-args: --global_segment_size")
    assert "80GiB" in one.message
    assert one.mend[0].command == "--global_segment_size=80GB"


def test_tenants_in_three_places() -> None:
    given = {**STANDALONE, "tenant_id": "team-a"}
    found = check(given, owner=OWNER)
    messages = [one.message for one in found if one.check == "mooncake-tenant"]
    assert len(messages) == 2
    assert all('"team-a"' in message for message in messages)
    right = owner_of(
        master_args=f"{MASTER} --enable_multi_tenants", client_args=f"{CLIENT} --tenant_id team-a"
    )
    assert "mooncake-tenant" not in {one.check for one in check(given, owner=right)}
    one = held(check(given, owner=None), "tenant", "mc.json: tenant_id")
    assert one.severity == "note"


# -- the wheel ----------------------------------------------------------------------------------


def elf(path: str, *needed: str, versions: Mapping[str, tuple[str, ...]] | None = None) -> ElfFile:
    return ElfFile(
        path=path,
        arch="x86_64",
        kind=ElfKind.SHARED,
        needed=needed,
        symbol_versions=dict(versions or {}),
    )


def test_what_a_full_wheel_can_do() -> None:
    files = [
        elf("mooncake/engine.so", versions={"libibverbs.so.1": ("IBVERBS_1.1", "IBVERBS_1.12")}),
        elf("mooncake/_store.cpython-312-x86_64-linux-gnu.so"),
        elf("mooncake/mooncake_client", "libc.so.6", "liburing-2f5d.so.1.0.7"),
    ]
    paths = [
        *(one.path for one in files),
        "mooncake/mooncake_master",
        "mooncake/libetcd_wrapper.so",
    ]
    found = ability_of("mooncake-transfer-engine-cuda13", "0.3.14", paths, files)
    assert found == WHEEL


def test_what_a_bare_wheel_can_do() -> None:
    old = {"libibverbs.so.1": ("IBVERBS_1.11",)}
    files = [
        elf("mooncake/engine.so", versions=old),
        elf("mooncake/store.so", "libibverbs.so.1"),
    ]
    found = ability_of("m", "0.3.10", [one.path for one in files], files)
    assert (found.store, found.client, found.master, found.etcd) == (True, False, False, False)
    assert (found.io_uring, found.dma_buf, found.redis) == (False, False, False)
    nothing = ability_of("m", "1", [], [])
    assert (nothing.store, nothing.io_uring, nothing.dma_buf) == (False, None, None)


@pytest.mark.parametrize(
    ("lacks", "more", "environment", "check_", "place", "said"),
    [
        ({"store": False}, {}, {}, "wheel-store", "DIST", "mooncake.store"),
        ({"client": False}, {}, {}, "wheel-program", "DIST", "mooncake_client"),
        ({"master": False}, {}, {}, "wheel-program", "DIST", "mooncake_master"),
        (
            {"io_uring": False},
            {},
            {"MOONCAKE_OFFLOAD_USE_URING": "1"},
            "wheel-uring",
            "environment: MOONCAKE_OFFLOAD_USE_URING",
            "=1",
        ),
        (
            {"io_uring": False},
            {},
            {"MOONCAKE_USE_URING": "true"},
            "wheel-uring",
            "environment: MOONCAKE_USE_URING",
            "=true",
        ),
        (
            {"dma_buf": False},
            {},
            {"WITH_NVIDIA_PEERMEM": "0"},
            "wheel-dma-buf",
            "environment: WITH_NVIDIA_PEERMEM",
            "=0",
        ),
        (
            {"dma_buf": None, "version": "0.3.10.post2"},
            {},
            {"WITH_NVIDIA_PEERMEM": "0"},
            "wheel-dma-buf",
            "environment: WITH_NVIDIA_PEERMEM",
            "0.3.10.post2",
        ),
        (
            {"version": "0.3.11"},
            {},
            {},
            "wheel-version",
            "mc.json: enable_offload",
            ">=0.3.11.post1",
        ),
        (
            {"version": "0.3.10.post2+kvp.1"},
            {},
            {},
            "wheel-version",
            "mc.json: enable_offload",
            "0.3.10.post2+kvp.1",
        ),
        (
            {"version": "0.3.11.post1"},
            {"tenant_id": "a"},
            {},
            "wheel-version",
            "mc.json: tenant_id",
            '"a"',
        ),
        (
            {"version": "0.3.13"},
            {"protocol": "efa"},
            {},
            "wheel-version",
            "mc.json: protocol",
            "efa",
        ),
        ({"version": "0.3.12"}, {}, {}, "wheel-version", "DIST", "0.3.12"),
        ({"version": "git"}, {}, {}, "wheel-version", "DIST", '"git"'),
        (
            {"etcd": False},
            {"metadata_server": "etcd://h:2379"},
            {},
            "wheel-metadata",
            "mc.json: metadata_server",
            "etcd://h:2379",
        ),
        (
            {},
            {"metadata_server": "redis://h:6379"},
            {},
            "wheel-metadata",
            "mc.json: metadata_server",
            "redis",
        ),
    ],
)
def test_what_a_wheel_cannot_do(
    lacks: Mapping[str, object],
    more: Mapping[str, object],
    environment: Mapping[str, str],
    check_: str,
    place: str,
    said: str,
) -> None:
    found = check(
        {**STANDALONE, **more},
        {**ENVIRONMENT, **environment},
        wheel=WHEEL.model_copy(update=dict(lacks)),
    )
    one = held(found, check_, place.replace("DIST", WHEEL.distribution))
    assert said in one.message


def test_the_commands_are_for_the_environment_that_was_looked_at() -> None:
    wheel = WHEEL.model_copy(
        update={"python": "/v/bin/python", "version": "0.3.11", "store": False}
    )
    found = check(STANDALONE, wheel=wheel)
    one = held(found, "wheel-version", "mc.json: enable_offload")
    named = f"{WHEEL.distribution}>=0.3.11.post1"
    assert [(mend.tool, mend.command) for mend in one.mend] == [
        ("pip", f"/v/bin/python -m pip install --no-deps '{named}'"),
        ("uv", f"uv pip install --python /v/bin/python --no-deps '{named}'"),
    ]
    again = held(found, "wheel-store", WHEEL.distribution).mend[0].command
    assert again.endswith(f"--force-reinstall {WHEEL.distribution}==0.3.11")


def test_efa_has_distributions_of_its_own() -> None:
    efa = WHEEL.model_copy(
        update={"version": "0.3.13", "distribution": "mooncake-transfer-engine-efa"}
    )
    found = check({**EMBEDDED, "protocol": "efa"}, owner=None, wheel=efa)
    assert [one for one in found if one.severity != "note"] == []
