"""One container that builds: made, given a folder, run to its end, asked for a folder, removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvpack.errors import BuildFailed
from kvpack.report import Reporter
from kvpack.tools.engine import Engine
from kvpack.tools.process import Command, Result, run

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""What docker's client hands on from ~/.docker/config.json unless it is set to nothing."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """How a container is made. No network; no folder of the host but what ``volumes`` names."""

    engine: Engine
    image: str
    label: str
    """By which a later run finds what a killed one left."""
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[str] = ()

    def create(self, command: Sequence[str], reporter: Reporter) -> str:
        """Make it; returns its id.

        :raises BuildFailed: if the engine refuses.
        """
        variables = dict(self.environment)
        if self.engine.name == "docker":
            variables = {**dict.fromkeys(PROXIES, ""), **variables}
        words = ["create", f"--label={self.label}", "--network=none", "--pull=never"]
        words += [f"--env={name}={value}" for name, value in variables.items()]
        words += [f"--volume={volume}" for volume in self.volumes]
        result = self.engine.run(
            [*words, "--workdir=/project", self.image, *command], reporter, timeout=None
        )
        return self._done(result, "make a container").output.split()[-1]

    def starting(self, name: str) -> Command:
        """The command that runs it and shows its output; its exit code is the build's."""
        return Command(
            args=[self.engine.name, "start", "--attach", name],
            environment=self.engine.environment,
        )

    def give(self, name: str, folder: Path, place: str, reporter: Reporter) -> None:
        """Copy what a folder holds to a place in it.

        :raises BuildFailed: if the engine refuses.
        """
        args = ["cp", f"{folder}/.", f"{name}:{place}"]
        self._done(self.engine.run(args, reporter, timeout=None), f"copy {folder} in")

    def take(self, name: str, place: str, target: Path, reporter: Reporter) -> bool:
        """Write a folder of it as a tar; whether there is such a folder.

        :raises BuildFailed: if the engine fails otherwise.
        """
        command = Command(
            args=[self.engine.name, "cp", f"{name}:{place}", "-"],
            environment=self.engine.environment,
            output_to=target,
        )
        result = run(command, reporter)
        # podman: "PLACE" could not be found on container; docker: Could not find the file PLACE.
        words = result.errors.lower()
        missing = any(text in words for text in ("could not be found", "could not find"))
        if result.code != 0 and missing and place in result.errors:
            return False
        self._done(result, f"copy {place} out")
        return True

    def _done(self, result: Result, what: str) -> Result:
        if result.code != 0:
            raise BuildFailed(
                f"{self.engine.name} did not {what}",
                cause=" ".join(result.tail(3)),
                hint="check the engine's storage: a full disk, or a storage driver that does not "
                f"work here ({self.engine.name} info)",
            )
        return result
