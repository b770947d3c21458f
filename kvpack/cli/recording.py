"""Writes what a doctor read, with nothing in it that names a host, a person or a key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvpack.doctor.environment import Environment
from kvpack.doctor.machine import MachineFacts
from kvpack.doctor.recorded import Recording, Tape, save


def write(path: Path, tape: Tape, environment: Environment, facts: MachineFacts) -> None:
    """Write the recording; the home folder, and with it a user's name, becomes ``~``."""
    things = [gpu.name for gpu in facts.gpus] + [f"{nic.driver} RDMA" for nic in facts.nics]
    counted = [f"{things.count(one)} x {one}" for one in dict.fromkeys(things)]
    name = ", ".join(counted) or f"{facts.arch} without GPU and RDMA"
    content = {
        "schema": 1,
        "name": name,
        "machine": _anonymous(tape.as_json()),
        "environment": _anonymous(environment.as_json()),
    }
    save(path, Recording.model_validate(content))


def _anonymous(value: Any) -> Any:  # noqa: ANN401  # JSON
    home = str(Path.home())
    match value:
        case str() if home != "/":
            return value.replace(home, "~")
        case Mapping():
            return {key: _anonymous(one) for key, one in value.items()}
        case list():
            return [_anonymous(one) for one in value]
        case _:
            return value
