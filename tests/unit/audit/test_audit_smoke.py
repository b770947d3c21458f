"""A wheel on trial: a fake engine unpacks the clean environment and runs it with this Python."""

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from kvpack.audit.model import Finding, Severity
from kvpack.audit.smoke import Trial, try_out
from kvpack.audit.wheel import inspect_wheel
from kvpack.errors import ToolFailed, WheelInvalid
from kvpack.report import Silent
from kvpack.tools.engine import Engine
from tests.unit.audit.elves import Elf
from tests.unit.audit.wheels import Wheel
from tests.unit.build.made import calls, script

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = str(Path(sys.base_prefix) / "bin")
ENGINE = """
import io, json, os, pathlib, sys, tarfile
here = pathlib.Path(__file__).parent
(here / "calls").write_text("\\t".join(sys.argv[1:]).replace("\\n", " ") + "\\n")
(here / "seen").write_text(json.dumps(dict(os.environ)))
data = sys.stdin.buffer.read()
(here / "stream.tar").write_bytes(data)
home = here / "root" / "clean"
with tarfile.open(fileobj=io.BytesIO(data)) as tar:
    # Its own archive; filters came with Python 3.11.4 and became strict with 3.14.
    tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
    tar.extractall(home.parent)
for path in (home / "order.json", *(home / "bin").glob("*")):
    if not path.is_symlink() and not path.read_bytes().startswith(b"\\x7fELF"):
        text = path.read_text()
        path.write_text(text.replace('"/clean', f'"{home}').replace("#!/clean", f"#!{home}"))
if (here / "before").exists():
    exec((here / "before").read_text())
python = home / "bin" / "python"
os.execv(python, [python, "-I", home / "trial.py", home / "order.json"])
"""


class Site:
    """A place for wheels on trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script(folder / "engine", ENGINE, interpreter=f"{BASE}/python{PYTHON}")

    def trial(self, **changes: object) -> Trial:
        found: dict[str, object] = {
            "imports": (),
            "commands": (),
            "python": PYTHON,
            "base": BASE,
            "image": "root:1",
            "platform": "linux/amd64",
            "requirements": (),
        }
        return Trial(**{**found, **changes})  # type: ignore[arg-type]  # named by each test

    def run(self, wheel: Wheel, **changes: object) -> tuple[Finding, ...]:
        (self.folder / "wheels").mkdir(exist_ok=True)
        path = wheel.write(self.folder / "wheels")
        facts, _ = inspect_wheel(path)
        assert facts is not None
        engine = Engine(str(self.folder / "engine"), {"HOME": "/nowhere"})
        return try_out(path, facts, self.trial(**changes), engine, Silent())

    def members(self) -> dict[str, tarfile.TarInfo]:
        with tarfile.open(self.folder / "stream.tar") as tar:
            return {info.name: info for info in tar}

    def read(self, name: str) -> str:
        with tarfile.open(self.folder / "stream.tar") as tar:
            stream = tar.extractfile(name)
            assert stream is not None
            return stream.read().decode()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


ENTRY = {"demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"}
MAIN = b"import sys\ndef main():\n    print('said', *sys.argv[1:])\n    return %s\n"


def test_what_imports_and_starts_has_no_finding(site: Site) -> None:
    wheel = Wheel(files={**ENTRY, "demo/__init__.py": MAIN % b"0", "demo/sub.py": b""})
    found = site.run(wheel, imports=("demo", "demo.sub"), commands=(("demo", "--help"),))
    assert found == ()


def test_an_import_that_fails_is_an_error_with_its_last_words(site: Site) -> None:
    wheel = Wheel(files={"demo/__init__.py": b"import absent_thing\n"})
    (found,) = site.run(wheel, imports=("demo",))
    assert (found.check, found.severity) == ("import", Severity.ERROR)
    assert found.place == f"{wheel.filename}: demo"
    assert found.message.startswith("exit code 1: ")
    assert "ModuleNotFoundError: No module named 'absent_thing'" in found.message
    assert "audit.import" in found.hint


def test_all_failures_are_found_at_once(site: Site) -> None:
    files = {**ENTRY, "demo/__init__.py": MAIN % b"3", "demo/bad.py": b"1 / 0"}
    found = site.run(
        Wheel(files=files),
        imports=("demo.bad", "demo", "absent"),
        commands=(("demo", "--fast"), ("no-such-command",)),
    )
    assert [one.check for one in found] == ["import", "import", "run", "run"]
    assert "ZeroDivisionError" in found[0].message
    assert found[2].message == "exit code 3: said --fast"
    assert found[2].place.endswith("/clean/bin/demo --fast")
    assert "No such file or directory" in found[3].message


def test_a_crash_while_importing_is_a_finding_and_not_the_end(site: Site) -> None:
    crash = b"import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    wheel = Wheel(files={"demo/crash.py": crash})
    (found,) = site.run(wheel, imports=("demo.crash", "demo"))
    assert (found.check, found.message) == ("import", "signal 11: ")


PROGRAM = "demo-1.0.data/scripts/tool"


TRUE = Path("/bin/true").read_bytes()


def tool(data: bytes) -> Wheel:
    """A wheel with a program."""
    return Wheel(files={PROGRAM: data}, modes={PROGRAM: 0o100755})


def test_a_program_that_the_loader_can_start_has_no_finding(site: Site) -> None:
    assert site.run(tool(TRUE)) == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            TRUE.replace(b"\0libc.so.6\0", b"\0libx.so.6\0"),
            "libx.so.6 => not found",
            id="library",
        ),
        pytest.param(
            TRUE.replace(b"\0abort\0", b"\0abxyz\0"), "undefined symbol: abxyz", id="symbol"
        ),
        pytest.param(
            bytes(Elf(interpreter="/lib64/ld-linux-x86-64.so.2")), "signal 11", id="crash"
        ),
    ],
)
def test_a_program_that_the_loader_cannot_start(site: Site, data: bytes, message: str) -> None:
    (found,) = site.run(tool(data))
    assert found.check == "run"
    assert found.message.startswith(message)
    assert found.place.endswith("/clean/bin/tool")


def test_a_program_that_the_kernel_refuses(site: Site) -> None:
    wheel = tool(bytes(Elf(interpreter="/no/such/loader.so")))
    (found,) = site.run(wheel, imports=("demo",))
    assert found.check == "run"
    assert found.message


@pytest.mark.parametrize("code", [0, 1, 139])
def test_a_trial_that_ends_early_is_an_error(site: Site, code: int) -> None:
    text = f"print('oops: no end'); sys.exit({code})"
    (site.folder / "before").write_text(text, encoding="utf-8")
    (found,) = site.run(Wheel(), imports=("demo",))
    assert (found.check, found.severity) == ("run", Severity.ERROR)
    assert found.message == f"the trial ended early (code {code}): oops: no end"


@pytest.mark.parametrize("code", [125, 126, 127, 137])
def test_an_engine_that_fails_says_nothing_about_the_wheel(site: Site, code: int) -> None:
    """Else a full disk or a killed container would be remembered against the wheel."""
    text = f"print('Error: no space left'); sys.exit({code})"
    (site.folder / "before").write_text(text, encoding="utf-8")
    with pytest.raises(ToolFailed, match=rf"did not run \(code {code}\)") as caught:
        site.run(Wheel(), imports=("demo",))
    assert "no space left" in caught.value.cause
    assert "not the wheel" in caught.value.hint


@pytest.mark.parametrize("code", [125, 137])
def test_after_the_trials_own_end_the_code_does_not_matter(site: Site, code: int) -> None:
    text = f"""print('{{"check": "import", "what": "x", "ok": false, "text": "y"}}')
print('{{"done": true}}')
sys.exit({code})
"""
    (site.folder / "before").write_text(text, encoding="utf-8")
    (found,) = site.run(Wheel())
    assert (found.check, found.message) == ("import", "y")


def test_what_a_module_prints_cannot_pass_for_the_trials_own_words(site: Site) -> None:
    lie = b"import os, sys\nprint('{\"done\": true}', flush=True)\nos._exit(1)\n"
    found = site.run(Wheel(files={"demo/lie.py": lie}), imports=("demo.lie",))
    assert [one.check for one in found] == ["import"]


# -- the clean environment ---------------------------------------------------------------------


def test_the_environment_holds_the_wheels_and_nothing_else(site: Site) -> None:
    files = {
        **ENTRY,
        "demo/__init__.py": MAIN % b"0",
        "demo-1.0.data/scripts/plain": b"#!python\nprint(1)\n",
        "demo-1.0.data/data/share/x.txt": b"data",
        "demo-1.0.data/purelib/other.py": b"",
    }
    other = Wheel(
        filename="needed-2.0-py3-none-any.whl",
        files={"needed.py": b"", "demo/__init__.py": b""},
        dist_info="needed-2.0.dist-info",
        metadata="Metadata-Version: 2.4\nName: needed\nVersion: 2.0\n",
        purelib="true",
    ).write(site.folder)
    blob = other.rename(site.folder / "a-digest")
    wheel = Wheel(files=files)
    assert site.run(wheel, imports=("needed",), requirements=((other.name, blob),)) == ()
    members = site.members()
    place = f"clean/lib/python{PYTHON}/site-packages"
    assert {f"{place}/{name}" for name in ("demo/__init__.py", "needed.py", "other.py")} <= {
        *members,
    }
    assert site.read("clean/pyvenv.cfg") == (
        f"home = {BASE}\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    )
    assert members["clean/bin/python"].linkname == f"{BASE}/python{PYTHON}"
    assert site.read("clean/bin/plain") == "#!/clean/bin/python\nprint(1)\n"
    assert site.read("clean/bin/demo").startswith("#!/clean/bin/python\n")
    assert {members[f"clean/bin/{name}"].mode for name in ("plain", "demo")} == {0o755}
    assert members[f"{place}/demo/__init__.py"].mode == 0o644
    assert site.read("clean/share/x.txt") == "data"


def test_the_container_has_no_network_and_no_folder_of_the_host(site: Site) -> None:
    site.run(Wheel(), platform="linux/arm64", image="root:2")
    (call,) = calls(site.folder / "calls")
    assert call[:8] == [
        *("run", "--rm", "--interactive", "--network=none", "--pull=never"),
        *("--platform=linux/arm64", "root:2", "sh"),
    ]
    assert "python -I /clean/trial.py" in call[9]
    seen = (site.folder / "seen").read_text(encoding="utf-8")
    assert "/nowhere" in seen
    assert os.environ["PATH"] not in seen


def test_a_wheel_that_cannot_be_installed_is_invalid(site: Site) -> None:
    with pytest.raises(WheelInvalid, match="cannot be installed") as caught:
        site.run(Wheel(without=frozenset({"WHEEL"})))
    assert "kvpack audit" in caught.value.hint


def test_a_missing_engine_is_said(site: Site) -> None:
    (site.folder / "engine").unlink()
    with pytest.raises(ToolFailed, match="is not installed"):
        site.run(Wheel())


def test_the_stream_is_a_plain_tar(site: Site) -> None:
    site.run(Wheel())
    data = (site.folder / "stream.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        assert not [info.name for info in tar if info.name.startswith("/")]
