"""What a user of ``kvpack requirements`` sees when the words are wrong; sets are in integration."""

import json
import os
import time
from pathlib import Path

import pytest

from kvpack.cli.main import main
from kvpack.cli.outcome import Outcome
from kvpack.cli.recent import FRESH, keep, recalled
from kvpack.fetch.pypi import _pip_commands
from kvpack.fetch.remembered import remember, signature
from kvpack.tools.store import Store
from tests.unit.fetch.upstream import refusing


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KVPACK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{refusing()}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    (tmp_path / "a.in").write_text("nixl==1.4.1\n", encoding="utf-8")
    said = f":env:.index-url='{refusing()}/simple'"  # as pip says; it takes a third of a second
    remember(Store(tmp_path / "store"), signature(os.environ, _pip_commands()), said)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.in"], "one of the arguments --cuda --rocm --cpu is required"),
        (["a.in", "--cuda", "11"], "--cuda does not take '11'"),
        (["a.in", "--cuda", "x"], "kvpack knows CUDA 12 and 13"),
        (["a.in", "--rocm", "6"], "--rocm does not take '6'"),
        (["a.in", "--cuda", "13", "--rocm", "7"], "not allowed with argument"),
        (["a.in", "--cuda", "13", "--python", "312"], "--python does not take '312'"),
        (["a.in", "--cuda", "13", "--glibc", "2"], "--glibc does not take '2'"),
        (["a.in", "--cuda", "13", "--torch", "new"], "--torch does not take 'new'"),
        (["a.in", "--cuda", "13", "--arch", "arm64"], "--arch does not take 'arm64'"),
        (["a.in", "--cuda", "13", "--arch", "x86_64", "--universal"], "exclude each other"),
        (["a.in", "--cuda", "13", "--name", "../x"], "--name does not take '../x'"),
        (["b.in", "--cuda", "13"], "the intent b.in cannot be read"),
        (["--cuda", "13"], "requirements/kv_connectors.in cannot be read"),
        (["a.in", "--cuda", "13", "--find-links", "none"], "none is no folder"),
        (["a.in", "--cuda", "13", "--find-links", "."], ". holds no wheel"),
        (["a.in", "--cuda", "13", "--index", "dist"], "--index does not take 'dist'"),
        (["a.in", "--cpu"], "no member of its family for cpu"),
    ],
)
def test_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requirements", *words]) == 2
    assert said in capsys.readouterr().err


def test_every_fault_of_an_intent_at_once(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "a.in").write_text("nixl=1\n--index-url x\n-r none.in\namd-mori\n", encoding="utf-8")
    assert main(["requirements", "a.in", "--cuda", "13", "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [fault["place"] for fault in faults] == [f"a.in, line {n}" for n in (1, 2, 3, 4)]
    assert not (desk / "requirements").exists()


def test_an_intent_that_is_no_text(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "a.in").write_bytes(b"\xff\xfe\0")
    assert main(["requirements", "a.in", "--cuda", "13"]) == 2
    assert "no UTF-8 text" in capsys.readouterr().err


def test_a_uv_cache_that_cannot_be_written(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "file").touch()
    monkeypatch.setenv("UV_CACHE_DIR", str(desk / "file"))
    assert main(["requirements", "a.in", "--cuda", "13"]) == 60
    said = capsys.readouterr().err
    assert f"uv cannot use its cache ({desk / 'file'})" in said
    assert "no set of wheels" not in said


def test_an_index_that_does_not_answer(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["requirements", "a.in", "--cuda", "13"]) == 30
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert not (desk / "requirements").exists()


OUTCOME = Outcome(
    requirements="a\n", pylock="b\n", stanza="c\n", rows=[["x"]], notes=("n",), document={"k": 1}
)


def test_a_fresh_outcome_is_recalled(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    assert recalled(store, "k" * 64) is None
    keep(store, "k" * 64, OUTCOME)
    assert recalled(store, "k" * 64) == OUTCOME


@pytest.mark.parametrize("age", [FRESH + 1, -60])
def test_an_old_outcome_and_one_of_the_future_are_not(tmp_path: Path, age: float) -> None:
    store = Store(tmp_path / "s")
    keep(store, "k" * 64, OUTCOME)
    record = store.read_record("outcomes", "k" * 64)
    assert record is not None
    store.write_record("outcomes", "k" * 64, {**record, "at": time.time() - age})
    assert recalled(store, "k" * 64) is None


def test_a_damaged_outcome_is_asked_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    store.write_record("outcomes", "k" * 64, {"at": time.time(), "outcome": {"rows": 1}})
    assert recalled(store, "k" * 64) is None
