"""Container engines, played by programs in a folder on PATH."""

import tomllib
from pathlib import Path

import pytest

from kvpack.errors import EngineMissing, ToolFailed, UsageError
from kvpack.report import Silent
from kvpack.tools.engine import (
    CONFIGURED,
    PASSED,
    RESTRICTED,
    Engine,
    candidates,
    choose,
    oci_platform,
    reachable,
)
from kvpack.tools.store import Store
from tests.unit.build.made import Heard, calls, script

RECORDS = """
{ printf "%s" NAME; printf "\\t%s" "$@"; echo; } >> HERE/calls
PATH=/usr/bin:/bin
env | sort > HERE/environment
"""
PODMAN = '{"Client":{"Version":"5.4.0"}}'
DOCKER = '{"Client":{"Version":"28.0"},"Server":{"Version":"28.0"}}'
CLIENT_ONLY = '{"Client":{"Version":"28.0"},"Server":null}'


class Machine:
    """A PATH with fake engines, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        (folder / "bin").mkdir()

    def install(self, name: str, text: str = "", *, version: str = "") -> None:
        """``text`` plays every command but ``version``."""
        answer = version or {"podman": PODMAN, "docker": DOCKER}[name]
        head = RECORDS.replace("HERE", str(self.folder)).replace("NAME", name)
        play = f"case $1 in version) echo '{answer}';; *) :\n{text}\n;; esac\n"
        script(self.folder / "bin" / name, head + play)

    def calls(self) -> list[list[str]]:
        return list(calls(self.folder / "calls"))

    def environment(self) -> dict[str, str]:
        lines = (self.folder / "environment").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def choose(self) -> Engine:
        return choose(reachable(self.store, Silent()), "root:1", self.store, Silent())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Machine(tmp_path)


def names(engines: list[Engine]) -> list[tuple[str, str]]:
    return [(engine.name, engine.how) for engine in engines]


OWN = "its own configuration"

# -- finding one -------------------------------------------------------------------------------


def test_where_none_is_installed_the_error_says_how_to_get_one(machine: Machine) -> None:
    with pytest.raises(EngineMissing, match="podman and docker not found on PATH") as caught:
        reachable(machine.store, Silent())
    assert "apt-get install podman runc" in caught.value.hint
    assert "dnf install podman" in caught.value.hint
    assert "container" in caught.value.cause


def test_podman_comes_before_docker_and_the_plain_one_before_the_restricted(
    machine: Machine,
) -> None:
    machine.install("docker")
    machine.install("podman")
    expected = [("podman", "plain"), ("podman", "restricted"), ("docker", OWN)]
    assert names(candidates(machine.store)) == expected


def test_podman_reads_a_configuration_of_kvpack_and_none_of_the_host(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's could add variables, mounts, hooks and devices that no key names."""
    monkeypatch.setenv("CONTAINERS_CONF", "/etc/host.conf")
    monkeypatch.setenv("CONTAINERS_CONF_OVERRIDE", "/etc/host.conf")
    machine.install("podman")
    machine.install("docker")
    plain, restricted, docker = candidates(machine.store)
    assert "CONTAINERS_CONF" not in docker.environment
    texts = []
    for engine in (plain, restricted):
        path = Path(engine.environment["CONTAINERS_CONF"])
        assert path.is_relative_to(machine.store.root)
        assert "CONTAINERS_CONF_OVERRIDE" not in engine.environment
        texts.append(path.read_text(encoding="utf-8"))
        engine.run(["version"], Silent())
        assert machine.environment()["CONTAINERS_CONF"] == str(path)
        assert "/etc/host.conf" not in machine.environment().values()
    assert texts == [CONFIGURED, CONFIGURED + RESTRICTED]
    for text in map(tomllib.loads, texts):
        assert text["containers"]["env_host"] is False
        assert text["containers"]["http_proxy"] is False
    assert "default_ulimits" not in tomllib.loads(texts[0])["containers"]
    assert "default_ulimits" in tomllib.loads(texts[1])["containers"]


def test_an_edited_configuration_is_written_anew(machine: Machine) -> None:
    machine.install("podman")
    path = Path(candidates(machine.store)[0].environment["CONTAINERS_CONF"])
    path.write_text("[containers]\nenv_host = true\n", encoding="utf-8")
    candidates(machine.store)
    assert path.read_text(encoding="utf-8") == CONFIGURED


def test_a_client_without_a_service_is_no_engine(machine: Machine) -> None:
    machine.install("docker", version=CLIENT_ONLY)
    with pytest.raises(EngineMissing, match="no container engine answers") as caught:
        reachable(machine.store, Silent())
    assert "systemctl start docker" in caught.value.hint
    machine.install("podman")
    assert {engine.name for engine in reachable(machine.store, Silent())} == {"podman"}


@pytest.mark.parametrize("version", ["Cannot connect to the Docker daemon", "5", "[]"])
def test_a_client_that_answers_otherwise_is_no_engine(machine: Machine, version: str) -> None:
    machine.install("docker", version=version)
    with pytest.raises(EngineMissing) as caught:
        reachable(machine.store, Silent())
    assert caught.value.cause == f"docker: {version}"


def test_a_client_that_cannot_be_started_does_not_hide_the_next_one(machine: Machine) -> None:
    (machine.folder / "bin" / "podman").write_bytes(b"\x00")
    (machine.folder / "bin" / "podman").chmod(0o755)
    machine.install("docker")
    assert names(reachable(machine.store, Silent())) == [("docker", OWN)]


def test_one_can_be_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("docker")
    machine.install("podman")
    monkeypatch.setenv("KVPACK_ENGINE", "docker")
    assert names(reachable(machine.store, Silent())) == [("docker", OWN)]
    assert {call[0] for call in machine.calls()} == {"docker"}
    monkeypatch.setenv("KVPACK_ENGINE", "nerdctl")
    with pytest.raises(UsageError, match="KVPACK_ENGINE is 'nerdctl'"):
        reachable(machine.store, Silent())


def test_the_named_one_is_not_replaced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("podman")
    monkeypatch.setenv("KVPACK_ENGINE", "docker")
    with pytest.raises(EngineMissing, match="docker not found on PATH"):
        reachable(machine.store, Silent())


# -- choosing one that runs --------------------------------------------------------------------

ONLY_RESTRICTED = """
case ${CONTAINERS_CONF:-none} in */restricted.conf) ;; *)
    echo 'setrlimit: Operation not permitted'; exit 126;;
esac
"""


def test_the_plain_one_is_taken_where_it_works(machine: Machine) -> None:
    machine.install("podman")
    assert machine.choose().how == "plain"
    assert machine.calls()[-1] == [
        *("podman", "run", "--rm", "--network=none", "--pull=never", "root:1", "/bin/true"),
    ]


def test_the_restricted_one_is_taken_where_the_plain_one_fails_and_remembered(
    machine: Machine,
) -> None:
    machine.install("podman", ONLY_RESTRICTED)
    engine = machine.choose()
    assert (engine.name, engine.how) == ("podman", "restricted")
    configuration = Path(engine.environment["CONTAINERS_CONF"])
    assert configuration.read_text(encoding="utf-8") == CONFIGURED + RESTRICTED
    assert configuration.is_relative_to(machine.store.root)
    tried = sum(call[1] == "run" for call in machine.calls())
    assert tried == 2
    assert machine.choose() == engine
    assert sum(call[1] == "run" for call in machine.calls()) == tried + 1


def test_what_was_remembered_gives_way_when_it_works_no_more(machine: Machine) -> None:
    machine.store.write_record("engine", "chosen", {"engine": ["podman", "restricted"]})
    machine.install("podman", "case $CONTAINERS_CONF in */plain.conf) ;; *) exit 1;; esac")
    assert machine.choose().how == "plain"
    assert machine.store.read_record("engine", "chosen") == {"engine": ["podman", "plain"]}


def test_what_an_older_kvpack_remembered_is_forgotten(machine: Machine) -> None:
    machine.store.write_record("engine", "chosen", {"engine": ["podman", OWN]})
    machine.install("podman")
    assert machine.choose().how == "plain"


def test_where_none_runs_each_says_why(machine: Machine) -> None:
    machine.install("podman", "echo no runc >&2; exit 127")
    machine.install("docker", "echo no permission >&2; exit 1")
    with pytest.raises(EngineMissing, match="can run root:1") as caught:
        machine.choose()
    for words in ("podman with restricted: no runc", f"docker with {OWN}: no permission"):
        assert words in caught.value.cause
    assert "runc" in caught.value.hint


# -- what reaches it ---------------------------------------------------------------------------


def test_only_names_that_an_engine_needs_reach_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*PASSED, "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD_X", "HTTPS_PROXY"):
        if name != "PATH":
            monkeypatch.setenv(name, "passed")
    monkeypatch.setenv("CONTAINERS_CONF", "not passed")
    machine.install("docker")
    reachable(machine.store, Silent())
    found = machine.environment()
    assert {name for name, value in found.items() if value == "passed"} == {
        *PASSED,
    } - {"PATH"}
    assert {"PWD", "_", "OLDPWD", "SHLVL"} | set(PASSED) >= set(found)


def test_a_pull_may_go_through_a_proxy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    machine.install("docker")
    (engine,) = reachable(machine.store, Silent())
    assert engine.pull("x@sha256:1", "linux/arm64", Silent()).code == 0
    assert machine.environment()["HTTPS_PROXY"] == "http://proxy:3128"
    assert machine.calls()[-1] == [
        *("docker", "pull", "--quiet", "--platform=linux/arm64", "x@sha256:1"),
    ]


def test_images_are_asked_for_by_name(machine: Machine) -> None:
    machine.install("podman", 'case "$*" in *"{{.Id}} there") exit 0;; *) exit 1;; esac')
    engine = candidates(machine.store)[0]
    assert engine.has_image("there", Silent())
    assert not engine.has_image("absent", Silent())


def test_the_id_of_an_image_is_what_the_engine_says(machine: Machine) -> None:
    """A name can be moved to another image; an id cannot."""
    machine.install("podman", 'case "$*" in *"{{.Id}} there") echo 4d3c;; *) exit 1;; esac')
    engine = candidates(machine.store)[0]
    assert engine.image_id("there", Silent()) == "4d3c"
    assert engine.image_id("absent", Silent()) is None
    assert machine.calls()[0] == ["podman", "image", "inspect", "--format", "{{.Id}}", "there"]


# -- importing, removing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("podman", ["--os", "linux", "--arch", "arm64", "--quiet"]),
        ("docker", ["--platform", "linux/arm64"]),
    ],
)
def test_an_import_passes_the_stream_and_each_engines_own_flags(
    machine: Machine, name: str, flags: list[str]
) -> None:
    machine.install(name, f"cat > {machine.folder}/stream")
    engine, heard = candidates(machine.store)[0], Heard()
    changes = ["ENV PATH=/bin", 'CMD ["/bin/bash"]']
    with engine.importing("root:1", changes, "linux/arm64", heard) as pipe:
        pipe.write(b"tar" * 50_000)
    assert (machine.folder / "stream").read_bytes() == b"tar" * 50_000
    (call,) = machine.calls()
    assert call == [name, "import", *[f"--change={c}" for c in changes], *flags, "-", "root:1"]
    assert heard.details[0].startswith(f"+ {name} import ")


def test_an_import_that_the_engine_refuses_fails(machine: Machine) -> None:
    machine.install("podman", "echo no space left; exit 125")
    engine = candidates(machine.store)[0]

    def importing() -> None:
        with engine.importing("root:1", [], "linux/amd64", Silent()) as pipe:
            pipe.write(b"x" * 1_000_000)

    with pytest.raises(ToolFailed, match="exited with code 125") as caught:
        importing()
    assert "no space left" in caught.value.cause


LAYERING = 'case $1 in create) echo layer-1;; cp) cat > "$FOLDER/stream";; ps) echo left;; esac'


def test_a_layer_is_copied_into_a_container_and_committed(machine: Machine) -> None:
    machine.install("podman", LAYERING.replace("$FOLDER", str(machine.folder)))
    engine = candidates(machine.store)[0]
    with engine.layering("base-id", "layer:1", ["ENV A=b"], "kvpack.layer=1", Silent()) as pipe:
        pipe.write(b"tar" * 50_000)
    assert (machine.folder / "stream").read_bytes() == b"tar" * 50_000
    listed = [
        ["podman", "ps", "--all", "--quiet", "--filter", "label=kvpack.layer=1"],
        ["podman", "kill", "left"],
        ["podman", "rm", "--force", "left"],
    ]
    assert machine.calls() == [
        *listed,  # of a run that was killed
        ["podman", "create", "--label=kvpack.layer=1", "--network=none", "--pull=never", "base-id",
         "/bin/true"],
        ["podman", "cp", "-", "layer-1:/"],
        ["podman", "commit", "--change=ENV A=b", "layer-1", "layer:1"],
        *listed,
    ]  # fmt: skip


@pytest.mark.parametrize("verb", ["cp", "commit"])
def test_a_layer_that_the_engine_refuses_leaves_no_container(machine: Machine, verb: str) -> None:
    refusing = f"case $1 in {verb}) cat > /dev/null; echo no space left; exit 125;; esac; "
    machine.install("podman", refusing + LAYERING.replace("$FOLDER", str(machine.folder)))
    engine = candidates(machine.store)[0]

    def layering() -> None:
        with engine.layering("base-id", "layer:1", [], "x", Silent()) as pipe:
            pipe.write(b"x" * 1_000_000)

    with pytest.raises(ToolFailed, match="exited with code 125") as caught:
        layering()
    assert "no space left" in caught.value.cause
    assert machine.calls()[-1] == ["podman", "rm", "--force", "left"]


def test_the_environment_of_an_image(machine: Machine) -> None:
    machine.install("podman", """echo '["PATH=/opt:/bin","A=b=c"]'""")
    engine = candidates(machine.store)[0]
    assert engine.variables("there", Silent()) == {"PATH": "/opt:/bin", "A": "b=c"}
    machine.install("podman", "echo null")
    assert engine.variables("there", Silent()) == {}


def test_containers_with_a_label_are_removed(machine: Machine) -> None:
    machine.install("podman", 'test "$1" != ps || printf "aa\\nbb\\n"')
    candidates(machine.store)[0].remove_containers("kvpack.key=1", Silent())
    assert machine.calls() == [
        ["podman", "ps", "--all", "--quiet", "--filter", "label=kvpack.key=1"],
        ["podman", "kill", "aa"],
        ["podman", "rm", "--force", "aa"],
        ["podman", "kill", "bb"],
        ["podman", "rm", "--force", "bb"],
    ]


def test_a_container_that_ended_by_itself_is_removed_all_the_same(machine: Machine) -> None:
    machine.install("podman", "case $1 in ps) echo aa;; kill) exit 125;; esac")
    candidates(machine.store)[0].remove_containers("x", Silent())
    assert machine.calls()[-1] == ["podman", "rm", "--force", "aa"]


def test_platforms_have_the_names_of_oci() -> None:
    assert oci_platform("x86_64") == "linux/amd64"
    assert oci_platform("aarch64") == "linux/arm64"
