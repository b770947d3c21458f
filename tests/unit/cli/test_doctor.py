"""``kvpack doctor`` on environments made of files, with a Python that is a script."""

import json
import sys
from pathlib import Path

import pytest

from kvpack.cli import mending
from kvpack.doctor.model import Diagnosis, Finding
from tests.unit.cli.face import Answer, Place
from tests.unit.doctor.patients import environment, patient
from tests.unit.doctor.test_doctor_installed import install

MACHINES = Path(__file__).parents[2] / "data" / "machines"


class Venv:
    """An environment whose Python answers like one, and keeps what it is asked to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "lib/python3.12/site-packages"
        self.site.mkdir(parents=True)
        self.python = folder / "bin/python"
        self.log = folder / "log"
        self.answers(
            json.dumps({
                "prefix": str(folder), "site": [str(self.site)], "python": "3.12", "glibc": "2.36",
            })
        )  # fmt: skip

    def answers(self, text: str) -> None:
        self.python.parent.mkdir(exist_ok=True)
        self.python.write_text(
            f"#!{sys.executable} -I\nimport shutil, sys\n"
            f"if '-c' in sys.argv: print({text!r})\n"
            f"else:\n    open({str(self.log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
            f"    if 'uninstall' in sys.argv:\n"
            f"        for p in __import__('pathlib').Path({str(self.site)!r}).glob('nixl_cu*'):\n"
            f"            shutil.rmtree(p)\n"
        )
        self.python.chmod(0o755)


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


def two_variants(venv: Venv) -> None:
    """Both members own one path; the second one wrote it last."""
    install(venv.site, "pip", {"pip/x.py": b""}, "25.0")
    install(venv.site, "nixl_cu12", {"nixl_ep/x.so": b"12"}, "1.2.0")
    install(venv.site, "nixl_cu13", {"nixl_ep/x.so": b"13"}, "1.2.0")
    install(venv.site, "nixl", {"nixl/__init__.py": b""}, "1.2.0")


def doctor(place: Place, venv: Venv, *words: str) -> Answer:
    return place.run("doctor", "--python", str(venv.python), *words)


def checks(answer: Answer) -> list[str]:
    document = answer.json
    assert document["kind"] == "doctor"
    assert document["schema"] == 1
    assert answer.code == (0 if document["healthy"] else 72)
    return [row["check"] for row in document["findings"]]


def test_a_healthy_environment(place: Place, venv: Venv) -> None:
    install(venv.site, "x", {"x/a.py": b""})
    answer = doctor(place, venv)
    assert answer.code == 0
    assert answer.out.startswith(f"{venv.python}: Python 3.12, 1 distribution\n")
    assert answer.out.endswith("nothing to mend\n")
    assert checks(doctor(place, venv, "--json")) == []


def test_two_variants_and_how_to_mend_them(place: Place, venv: Venv) -> None:
    two_variants(venv)
    answer = doctor(place, venv, "--cuda", "13.0")
    assert answer.code == 72
    for text in (
        "1. error two-members: nixl-cu12, nixl-cu13",
        "site-packages/nixl_ep/x.so",
        f"   pip:      {venv.python} -m pip uninstall -y nixl-cu12 nixl-cu13\n",
        f"             {venv.python} -m pip install --no-deps nixl-cu13==1.2.0\n",
        f"   uv:       uv pip uninstall --python {venv.python} nixl-cu12 nixl-cu13\n",
        "not checked: GPU",
    ):
        assert text in answer.out
    assert answer.out.endswith("\n1 error\n")
    assert checks(doctor(place, venv, "--json")) == ["two-members"]


def test_quick_compares_sizes(place: Place, venv: Venv) -> None:
    install(venv.site, "x", {"x/a.py": b"a"})
    (venv.site / "x/a.py").write_bytes(b"b")
    assert checks(doctor(place, venv, "--json")) == ["record-changed"]
    assert checks(doctor(place, venv, "--json", "--quick")) == []


def test_fix_runs_the_commands_and_looks_again(place: Place, venv: Venv) -> None:
    two_variants(venv)
    answer = doctor(place, venv, "--cuda", "13", "--fix", "--yes", "--json")
    ran = [
        f"{venv.python} -m pip uninstall -y nixl-cu12 nixl-cu13",
        f"{venv.python} -m pip install --no-deps nixl-cu13==1.2.0",
    ]
    assert answer.json["ran"] == ran
    assert venv.log.read_text().splitlines() == [one.partition(" ")[2] for one in ran]
    assert checks(answer) == []  # the script's install writes nothing, and no nixl asks for it


def test_fix_does_not_run_unasked(place: Place, venv: Venv) -> None:
    two_variants(venv)
    answer = doctor(place, venv, "--cuda", "13", "--fix")
    assert answer.code == 2
    assert "two-members" in answer.out
    assert f"{venv.python} -m pip uninstall -y" in answer.err
    assert "kvpack doctor --fix --yes" in answer.err
    assert not venv.log.exists()


@pytest.mark.parametrize(("said", "runs"), [("y\n", True), ("\n", False), ("n\n", False)])
def test_fix_asks_on_a_terminal(
    place: Place, venv: Venv, monkeypatch: pytest.MonkeyPatch, said: str, runs: bool
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return said

    monkeypatch.setattr(sys, "stdin", Terminal())
    two_variants(venv)
    answer = doctor(place, venv, "--cuda", "13", "--fix")
    assert "Run these 2 commands? [y/N]" in answer.err
    assert venv.log.exists() is runs
    assert answer.code == (0 if runs else 72)


def test_a_fix_that_fails_says_what_is_left(place: Place, venv: Venv) -> None:
    two_variants(venv)
    venv.python.write_text(venv.python.read_text() + "    sys.exit('install' in sys.argv)\n")
    answer = doctor(place, venv, "--cuda", "13", "--fix", "--yes")
    assert answer.code == 60
    assert "run what is left" in answer.err
    assert answer.err.rstrip().endswith("-m pip install --no-deps nixl-cu13==1.2.0")


def test_fix_has_nothing_to_do(place: Place, venv: Venv) -> None:
    assert doctor(place, venv, "--fix").code == 0
    install(venv.site, "nixl_cu12", {"nixl_ep/x.so": b"12"}, "1.2.0")
    install(venv.site, "nixl_cu13", {"nixl_ep/x.so": b"13"}, "1.2.0")
    install(venv.site, "nixl", {"nixl/__init__.py": b""}, "1.2.0")
    answer = doctor(place, venv, "--fix", "--yes")  # which one is right, nobody said
    assert answer.code == 72
    assert "nothing among it that pip or uv can mend" in answer.err
    assert not venv.log.exists()


def test_record_and_replay_say_the_same(
    place: Place, venv: Venv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(venv.folder.parent))
    two_variants(venv)
    file = place.folder / "machine.json"
    live = doctor(place, venv, "--json", "--record", str(file))
    assert str(venv.folder.parent) not in file.read_text()
    again = place.run("doctor", "--replay", str(file), "--json")
    assert again.code == live.code == 72
    told = [row["message"] for row in again.json["findings"]]
    assert told == [row["message"] for row in live.json["findings"]]


@pytest.mark.parametrize("text", ['os.environ.setdefault("WITH_NVIDIA_PEERMEM", "0")\n', ""])
def test_what_mooncake_sets_by_itself_is_recorded(place: Place, venv: Venv, text: str) -> None:
    files = {"mooncake/__init__.py": text.encode()}
    install(venv.site, "mooncake_transfer_engine_cuda13", files, "0.3.14")
    file = place.folder / "machine.json"
    doctor(place, venv, "--record", str(file))
    recorded = json.loads(file.read_text())["environment"]
    assert recorded.get("mooncake-peermem") == ("0" if text else None)


def test_a_recorded_machine_is_judged(place: Place) -> None:
    answer = place.run("doctor", "--replay", str(MACHINES / "gb200.json"))
    assert answer.code == 72
    assert "4 x NVIDIA GB200, 4 x mlx5 RDMA" in answer.out
    assert "   variable: WITH_NVIDIA_PEERMEM=0\n" in answer.out


def test_a_configuration_of_mooncake(place: Place, venv: Venv) -> None:
    install(venv.site, "mooncake_transfer_engine_cuda13", {"mooncake/engine.so": b""}, "0.3.14")
    file = place.folder / "mooncake_config.json"
    file.write_text('{"enable_offload": "false"}')
    answer = doctor(place, venv, "--json", "--mooncake-config", str(file))
    assert "mooncake-boolean" in checks(answer)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--replay", "x.json", "--fix"], "--replay judges a file"),
        (["--yes"], "--yes belongs to --fix"),
        (["--fix", "--offline"], "--offline forbids"),
        (["--cuda", "14"], "--cuda does not take '14'"),
        (["--rocm", "six"], "--rocm does not take 'six'"),
        (["--cuda", "13", "--cpu"], "not allowed with"),
        (["--fix", "conda"], "invalid choice"),
        (["--python", "nowhere"], "--python nowhere is no file"),
        (["--nodes", "2"], "belong to --mooncake-config"),
        (["--mooncake-config", "x", "--nodes", "0"], "--nodes does not take 0"),
        (["--replay", "nowhere.json"], "nowhere.json"),
        (["--mooncake-config", "nowhere.json"], "nowhere.json"),
    ],
)
def test_words_that_cannot_be(place: Place, venv: Venv, words: list[str], said: str) -> None:
    more = [] if {"--python", "--replay"} & set(words) else ["--python", str(venv.python)]
    answer = place.run("doctor", *more, *words)
    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("said", ["hello", "1", "{}", '{"prefix": 1, "site": []}'])
def test_a_python_that_is_none(place: Place, venv: Venv, said: str) -> None:
    venv.answers(said)
    for words in (("doctor", "--python"), ("conflicts", "--installed")):
        answer = place.run(*words, str(venv.python))
        assert answer.code == 2
        assert f"{words[1]} {venv.python} is no Python: it said '{said}" in answer.err


def test_the_active_environment_is_looked_at(
    place: Place, venv: Venv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert place.run("doctor").code == 2
    monkeypatch.setenv("VIRTUAL_ENV", str(venv.folder))
    assert place.run("doctor").code == 0
    monkeypatch.delenv("VIRTUAL_ENV")
    assert place.run("doctor", "--python", str(venv.folder)).code == 0


# -- what is planned -------------------------------------------------------------------------------


def finding(place: str, command: str, severity: str = "error") -> Finding:
    mend = [{"tool": "uv", "command": command}, {"tool": "kernel", "command": "modprobe x"}]
    return Finding.model_validate(
        {"check": "c", "severity": severity, "place": place, "message": "m", "mend": mend}
    )


def test_a_distribution_is_changed_once() -> None:
    found = patient(environment("a==1", "b==1"))
    diagnosis = Diagnosis(
        findings=(
            finding("a", "uv pip install --python /x a==2"),
            finding("a", "uv pip uninstall --python /x a"),
            finding("b", "uv pip install --python /x 'b @ file:///b.whl'"),
            finding("c", "uv pip install --python /x c==2", "note"),
        )
    )
    planned = mending.plan(diagnosis, found, "auto")
    assert planned is not None
    assert planned.tool == "uv"  # the environment has no pip
    assert planned.commands == (
        "uv pip install --python /x a==2",
        "uv pip install --python /x 'b @ file:///b.whl'",
    )
    assert mending.plan(diagnosis, found, "pip") is None
