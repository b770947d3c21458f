"""Container engines: finds one that works here, without touching the host's configuration."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from kvpack.errors import EngineMissing, ToolFailed, UsageError
from kvpack.report import Reporter
from kvpack.tools.files import write_text
from kvpack.tools.process import Command, Result, failed, feeding, find, run
from kvpack.tools.store import Store

ENGINES = ("podman", "docker")
"""Tried in this order; ``KVPACK_ENGINE`` names one."""

CONFIGURED = """\
# Written by kvpack, used through CONTAINERS_CONF; /etc is not touched. It takes the place of every
# containers.conf of the host: their env, mounts, hooks and devices would reach a build that its key
# does not name. Storage and registries stay as the host configures them.
[containers]
env_host = false
http_proxy = false
"""
RESTRICTED = """
# For machines that forbid raising limits, or crun's cgroup layout (containers, cgroup v1).
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"

[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
"""

PASSED = (
    *("HOME", "PATH", "TMPDIR", "USER", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    *("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "CONTAINER_HOST", "REGISTRY_AUTH_FILE"),
    *("CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF"),
    "DBUS_SESSION_BUS_ADDRESS",
)
"""What an engine's client may read of the environment; nothing else reaches it."""

WEB = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""What pulling an image may read as well; podman would hand proxies on to containers."""

_HOW_TO_GET_ONE = (
    "install one: apt-get install podman runc (Debian, Ubuntu), dnf install podman (RHEL, Fedora), "
    "or Docker from its vendor; then run the same command again"
)


@dataclass(frozen=True)
class Engine:
    """A container engine's client and the environment it is called with."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    how: str = "its own configuration"

    def run(
        self, args: Sequence[str], reporter: Reporter, *, timeout: float | None = 120
    ) -> Result:
        """Call the client; the exit code is the caller's to judge."""
        command = Command(args=[self.name, *args], environment=self.environment, timeout=timeout)
        return run(command, reporter)

    def has_image(self, image: str, reporter: Reporter) -> bool:
        return self.image_id(image, reporter) is not None

    def image_id(self, image: str, reporter: Reporter) -> str | None:
        """The immutable id behind a name, if the image is there."""
        result = self.run(["image", "inspect", "--format", "{{.Id}}", image], reporter)
        return result.output.strip() if result.code == 0 else None

    def pull(self, image: str, platform: str, reporter: Reporter) -> Result:
        """Pull an image; the exit code is the caller's to judge."""
        web = {name: os.environ[name] for name in WEB if name in os.environ}
        args = [self.name, "pull", "--quiet", f"--platform={platform}", image]
        return run(Command(args=args, environment={**self.environment, **web}), reporter)

    @contextmanager
    def importing(
        self, image: str, changes: Sequence[str], platform: str, reporter: Reporter
    ) -> Iterator[IO[bytes]]:
        """Import the tar stream that the caller writes, as a local image.

        :param platform: OCI platform, ``linux/arm64``; podman 4 calls its parts ``--os, --arch``.
        :raises ToolFailed: if the engine refuses the stream.
        """
        flags = [f"--change={change}" for change in changes]
        if self.name == "podman":
            os_name, _, arch = platform.partition("/")
            flags += ["--os", os_name, "--arch", arch, "--quiet"]
        else:
            flags += ["--platform", platform]
        args = [self.name, "import", *flags, "-", image]
        command = Command(args=args, environment=self.environment)
        with feeding(command, reporter) as stream:
            yield stream

    @contextmanager
    def layering(
        self, base: str, image: str, changes: Sequence[str], label: str, reporter: Reporter
    ) -> Iterator[IO[bytes]]:
        """Lay the tar stream that the caller writes over an image; nothing is run in it.

        :param base: id of the image below; ``image`` is the name of the new one.
        :param label: on the container that is needed meanwhile; what a killed run left goes first.
        :raises ToolFailed: if the engine refuses.
        """
        self.remove_containers(label, reporter)
        words = ["create", f"--label={label}", "--network=none", "--pull=never"]
        created = self._done([*words, base, "/bin/true"], reporter)
        container = created.output.split()[-1]
        try:
            copying = Command(
                args=[self.name, "cp", "-", f"{container}:/"], environment=self.environment
            )
            with feeding(copying, reporter) as stream:
                yield stream
            flags = [f"--change={change}" for change in changes]
            self._done(["commit", *flags, container, image], reporter)
        finally:
            self.remove_containers(label, reporter)

    def _done(self, args: Sequence[str], reporter: Reporter) -> Result:
        """Call the client, which must succeed."""
        result = self.run(args, reporter, timeout=None)
        if result.code != 0:
            raise failed(result, " ".join([self.name, *args]))
        return result

    def variables(self, image: str, reporter: Reporter) -> dict[str, str]:
        """The environment that an image gives to what runs in it."""
        result = self.run(["image", "inspect", "--format", "{{json .Config.Env}}", image], reporter)
        found = json.loads(result.output) if result.code == 0 else None
        return dict(str(text).split("=", 1) for text in found or [])

    def remove_containers(self, label: str, reporter: Reporter) -> None:
        """Remove the containers with a label: what a killed build left."""
        listed = self.run(["ps", "--all", "--quiet", "--filter", f"label={label}"], reporter)
        for container in listed.output.split():
            self.run(["kill", container], reporter)  # rm alone waits 10 s for it to end
            self.run(["rm", "--force", container], reporter)


def candidates(store: Store) -> list[Engine]:
    """Every way to call an engine that is installed here, the plainest first."""
    named = os.environ.get("KVPACK_ENGINE")
    if named and named not in ENGINES:
        raise UsageError(
            f"KVPACK_ENGINE is {named!r}",
            cause="cibuildwheel drives engines by these names only",
            hint=f"set it to {' or '.join(ENGINES)}; PATH says which program that is",
        )
    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    found = []
    for name in (named,) if named else ENGINES:
        if find(name) is None:
            continue
        if name != "podman":
            found.append(Engine(name, environment))
            continue
        for how, text in (("plain", CONFIGURED), ("restricted", CONFIGURED + RESTRICTED)):
            path = store.root / "engine" / f"{how}.conf"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
            found.append(Engine(name, {**environment, "CONTAINERS_CONF": str(path)}, how))
    return found


def reachable(store: Store, reporter: Reporter) -> list[Engine]:
    """The candidates whose client and service answer.

    :raises EngineMissing: if there is none, saying how to get one.
    """
    installed = candidates(store)
    if not installed:
        wanted = os.environ.get("KVPACK_ENGINE")
        raise EngineMissing(
            f"no container engine: {wanted or ' and '.join(ENGINES)} not found on PATH",
            cause="builds run in a container, so that nothing but the locked inputs is in them",
            hint=_HOW_TO_GET_ONE,
        )
    reasons, found = [], []
    for engine in installed:
        try:
            answer = engine.run(["version", "--format", "{{json .}}"], reporter)
        except ToolFailed as error:
            reasons.append(f"{engine.name}: {error.what}")
            continue
        if answer.code == 0 and _serves(answer.output):
            found.append(engine)
        else:
            reasons.append(f"{engine.name}: " + " ".join(answer.tail(2)))
    if not found:
        raise EngineMissing(
            "no container engine answers",
            cause="; ".join(reasons),
            hint="start the service (systemctl start docker), or " + _HOW_TO_GET_ONE,
        )
    return found


def _serves(text: str) -> bool:
    """docker answers with ``"Server": null`` when only its client is there."""
    try:
        answer = json.loads(text)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("Server", ...) is not None


def choose(engines: Sequence[Engine], image: str, store: Store, reporter: Reporter) -> Engine:
    """The first engine that runs ``true`` in the image with no network; remembered in the store.

    :raises EngineMissing: if none does, with what each said.
    """
    known = store.read_record("engine", "chosen") or {}
    order = sorted(engines, key=lambda engine: [engine.name, engine.how] != known.get("engine"))
    reasons = []
    for engine in order:
        args = ["run", "--rm", "--network=none", "--pull=never", image, "/bin/true"]
        result = engine.run(args, reporter)
        if result.code == 0:
            if known.get("engine") != [engine.name, engine.how]:
                store.write_record("engine", "chosen", {"engine": [engine.name, engine.how]})
            return engine
        reasons.append(f"{engine.name} with {engine.how}: " + " ".join(result.tail(3)))
    raise EngineMissing(
        f"no container engine can run {image}",
        cause="; ".join(reasons),
        hint="-v shows the commands, to try by hand; on a restricted machine podman needs runc: "
        "apt-get install runc",
    )


def oci_platform(arch: str) -> str:
    """``aarch64`` -> ``linux/arm64``."""
    return {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[arch]
