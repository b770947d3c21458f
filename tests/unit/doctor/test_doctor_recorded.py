"""Recorded machines replay, and a recording holds nothing that it must not."""

import json
import re
from pathlib import Path

import pytest

from kvpack.doctor.diagnose import diagnose
from kvpack.doctor.live import Live, Taped
from kvpack.doctor.machine import facts_of
from kvpack.doctor.model import Diagnosis
from kvpack.doctor.patient import Patient
from kvpack.doctor.port import DROPPED, FILES, FOLDERS, PROGRAMS
from kvpack.doctor.recorded import Recorded, Recording, Tape, load, save
from kvpack.errors import UsageError
from tests.unit.doctor.patients import FAMILIES, RULES, environment

MACHINES = Path(__file__).parents[2] / "data" / "machines"
FILES_OF_MACHINES = sorted(MACHINES.glob("*.json"))


def replayed(name: str, **variables: str) -> Diagnosis:
    recording = load(MACHINES / f"{name}.json")
    tape = recording.machine.model_copy(
        update={"variables": {**recording.machine.variables, **variables}}
    )
    facts = facts_of(Recorded(tape))
    return diagnose(Patient(recording.environment, facts, FAMILIES, RULES))


def serious(diagnosis: Diagnosis) -> list[str]:
    return [one.check for one in diagnosis.findings if one.severity != "note"]


@pytest.mark.parametrize("path", FILES_OF_MACHINES, ids=lambda path: path.stem)
def test_every_recording_replays(path: Path) -> None:
    recording = load(path)
    assert recording.stand_in == bool(recording.sources)
    facts = facts_of(Recorded(recording.machine))
    diagnosis = diagnose(Patient(recording.environment, facts, FAMILIES, RULES))
    assert facts.gpus
    assert diagnosis.looked_at
    assert Diagnosis.model_validate(diagnosis.as_json()) == diagnosis


@pytest.mark.parametrize("path", FILES_OF_MACHINES, ids=lambda path: path.stem)
def test_no_recording_holds_a_secret(path: Path) -> None:
    recording = load(path)
    assert set(recording.machine.variables) <= set(RULES.variables)
    assert set(recording.machine.programs) <= set(PROGRAMS)
    assert set(recording.machine.folders) <= set(FOLDERS)
    texts = [*recording.machine.files.values(), *recording.machine.programs.values()]
    assert not [text for text in texts if re.search(DROPPED, text, re.IGNORECASE)]
    assert "/home/" not in path.read_text(encoding="utf-8")


def test_a_real_h200_with_torch_is_healthy() -> None:
    """Recorded on a machine with one H200: torch 2.11.0+cu130, cupy, jax, 197 distributions.

    Its trust store was edited and cupy's cuTENSOR is not there: notes, nothing to mend.
    """
    recording = load(MACHINES / "h200.json")
    assert not recording.stand_in
    diagnosis = replayed("h200")
    assert serious(diagnosis) == []
    assert {one.check for one in diagnosis.findings} == {"plugin-library", "record-changed"}


def test_gb200_needs_dma_buf() -> None:
    """The machine of vLLM's Mooncake guide: a working default was lost with #51067."""
    assert serious(replayed("gb200")) == ["peermem"]
    (finding, *_) = replayed("gb200").findings
    assert [one.command for one in finding.mend] == ["WITH_NVIDIA_PEERMEM=0"]


def test_gb200_with_dma_buf_shows_what_comes_next() -> None:
    found = replayed("gb200", WITH_NVIDIA_PEERMEM="0")
    assert serious(found) == ["dma-buf-4gib"]
    segments = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    found = replayed("gb200", WITH_NVIDIA_PEERMEM="0", MC_MAX_MR_SIZE="4294967296", **segments)
    assert serious(found) == ["expandable-segments"]


def test_mi300_with_an_image_whose_libionic_does_not_fit() -> None:
    """vLLM #56713."""
    found = replayed("mi300-ainic")
    assert {"verbs-abi", "memlock", "mori-archs", "mori-rocm", "host-library"} >= set(
        serious(found)
    )
    (abi,) = [one for one in found.findings if one.check == "verbs-abi"]
    assert "1.117.3-hydra" in abi.mend[0].command


# -- taking and reading ----------------------------------------------------------------------------


def test_a_live_machine_replays_to_the_same_facts() -> None:
    taped = Taped(Live(RULES.variables))
    facts = facts_of(taped)
    assert facts.kernel == "" or facts.arch  # no program is on a unit test's PATH
    assert facts_of(Recorded(taped.recorded())) == facts


def test_only_what_is_listed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    live = Live(RULES.variables)
    assert live.variables()["LD_LIBRARY_PATH"] == "/opt/lib"
    assert not set(live.variables()) - set(RULES.variables)
    with pytest.raises(ValueError, match="/etc/shadow is not on the list"):
        live.read("/etc/shadow")
    with pytest.raises(ValueError, match="/root is not on the list"):
        live.listing("/root")
    assert live.read("/proc/self/limits") is not None
    assert "\n" not in (live.read("/proc/self/limits") or "")
    assert live.read("/proc/driver/nvidia/gpus/none/information") is None


def test_lines_with_identities_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ibv_devinfo"
    program.write_text(
        "#!/bin/sh\necho 'hca_id: mlx5_0'\necho '  node_guid: 1234:5678'\n"
        "echo 'libibverbs: Warning: refused' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = Live(()).run("ibv_devinfo")
    assert said == "hca_id: mlx5_0\nlibibverbs: Warning: refused"
    assert Live(()).run("lspci") is None


def test_a_recording_survives_the_file(tmp_path: Path) -> None:
    recording = Recording(
        name="one", machine=Tape(files={"/proc/modules": "x"}), environment=environment("nixl==1")
    )
    path = tmp_path / "machine.json"
    save(path, recording)
    assert load(path) == recording


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no JSON"),
        ("[]", "must be a table"),
        (json.dumps({"schema": 2, "name": "x", "machine": {}}), "environment"),
        (json.dumps({"schema": 1, "name": "x", "machine": {"programs": {"rm": ""}},
                     "environment": {"python": "p", "version": "3.12"}}), "programs"),
    ],
)  # fmt: skip
def test_files_that_are_no_recording(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "machine.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="no recording") as caught:
        load(path)
    assert said in " ".join(f"{one.place} {one.message}" for one in caught.value.faults)


def test_every_file_pattern_is_a_path() -> None:
    assert all(glob.startswith("/") and re.compile(lines) for glob, lines in FILES.items())
