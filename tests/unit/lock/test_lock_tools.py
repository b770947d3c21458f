"""What is asked of uv and apt, and how their answers are read: on recorded answers."""

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kvpack.errors import DiskFull, FetchFailed, KvpackError, ResolutionFailed, ToolFailed
from kvpack.lock import apt, uv
from kvpack.lock.uv import Environment, Question, place_of
from kvpack.names import Arch
from kvpack.report import Reporter, Silent
from kvpack.tools import uv as uv_tool
from kvpack.tools.process import Command, Result
from tests.unit.lock.outside import wheel

HASH = "a" * 60
PLACE = f"packages/0f/b3/{HASH}/x-1.0.tar.gz"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"https://files.example/{PLACE}", PLACE),
        (f"https://user:secret@mirror.example/pypi/{PLACE}?x=1#sha256=abc", PLACE),
        (f"file:///srv/mirror/{PLACE}", PLACE),
        (f"file:///packages/0f/b3/{HASH}/x-1%2Bcu.whl", f"packages/0f/b3/{HASH}/x-1+cu.whl"),
        ("https://mirror.example/packages/x/x-1.0.tar.gz", None),
        (f"https://mirror.example/packages/0F/b3/{HASH}/x.whl", None),
        (f"https://mirror.example/{PLACE}/more", None),
    ],
)  # fmt: skip
def test_the_place_in_a_url(url: str, place: str | None) -> None:
    assert place_of(url) == place


def wish(*packages: str) -> apt.Wish:
    return apt.Wish(suite="bookworm", arch=Arch.X86_64, packages=packages)


def arguments(environment: Environment, upgrade: str | None = None) -> list[str]:
    question = Question(requires=["a"], environment=environment, upgrade=upgrade)
    return uv._arguments(question, "https://index.example/simple", Path("out.toml"))


def after(args: list[str], option: str) -> str:
    return args[args.index(option) + 1]


def test_uv_is_asked_for_wheels_only_and_for_nothing_of_this_machine() -> None:
    args = arguments(Environment(python="3.11", glibc="2.36", arch="aarch64"))
    assert args[:4] == [uv_tool.program(), "pip", "compile", "-"]
    assert after(args, "--only-binary") == ":all:"
    assert {"--no-config", "--no-sources"} <= set(args)
    assert after(args, "--default-index") == "https://index.example/simple"
    assert after(args, "--python-version") == "3.11"
    assert after(args, "--python-platform") == "aarch64-manylinux_2_36"
    assert after(args, "--output-file") == "out.toml"
    assert not {"--universal", "--upgrade", "--upgrade-package"} & set(args)


def test_uv_is_asked_for_its_newest_platform_where_the_floor_is_newer() -> None:
    args = arguments(Environment(python="3.13", glibc="2.41", arch="x86_64"))
    assert after(args, "--python-platform") == "x86_64-manylinux_2_40"


def test_uv_is_asked_for_any_machine() -> None:
    args = arguments(Environment(python="3.11"), upgrade="pip")
    assert "--universal" in args
    assert "--python-platform" not in args
    assert after(args, "--upgrade-package") == "pip"


def test_what_is_kept_is_uvs_preference() -> None:
    kept = [wheel("a-b", "1.0"), wheel("c", "2.0")]
    assert tomllib.loads(uv._preferences(kept)) == {
        "lock-version": "1.0",
        "created-by": "kvpack",
        "packages": [{"name": "a-b", "version": "1.0"}, {"name": "c", "version": "2.0"}],
    }


def row(name: str, *wheels: str, marker: str = "") -> str:
    """One package of a pylock as uv writes it (PEP 751)."""
    files = ", ".join(
        f'{{ name = "{file}", url = "https://files.example/packages/0f/b3/{HASH}/{file}", '
        f'size = 10, hashes = {{ sha256 = "{"b" * 64}" }} }}'
        for file in wheels
    )
    extra = f'marker = "{marker}"\n' if marker else ""
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{extra}wheels = [{files}]\n'


HEAD = 'lock-version = "1.0"\ncreated-by = "uv"\nrequires-python = ">=3.11"\n'


def read(text: str, environment: Environment) -> list[str]:
    question = Question(requires=["a"], environment=environment)
    return [one.file for one in uv._wheels(tomllib.loads(HEAD + text), question)]


@pytest.mark.parametrize(
    ("marker", "kept"),
    [
        ("", True),
        ("sys_platform == 'linux'", True),
        ("sys_platform == 'win32'", False),
        ("platform_system != 'Windows'", True),
        ("os_name == 'nt'", False),
        ("python_full_version < '3.11'", False),
        ("python_full_version < '3.12'", True),
        ("python_version >= '3.14'", True),
        ("platform_machine == 'aarch64'", True),
        ("platform_machine == 's390x'", False),
    ],
)
def test_markers_of_a_closure_for_any_machine(marker: str, kept: bool) -> None:
    text = row("a", "a-1.0-py3-none-any.whl") + row("b", "b-1.0-py3-none-any.whl", marker=marker)
    found = read(text, Environment(python="3.11"))
    assert found == ["a-1.0-py3-none-any.whl", *(["b-1.0-py3-none-any.whl"] if kept else [])]


def test_a_closure_for_any_machine_takes_pure_wheels() -> None:
    text = row("a", "a-1.0-cp311-cp311-win32.whl", "a-1.0-py3-none-any.whl")
    assert read(text, Environment(python="3.11")) == ["a-1.0-py3-none-any.whl"]


def test_a_closure_of_one_platform_takes_uvs_choice() -> None:
    text = row("a", "a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", marker="sys_platform == 'win32'")
    environment = Environment(python="3.11", glibc="2.36", arch="x86_64")
    assert read(text, environment) == ["a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"]


def test_names_are_normalized_and_everything_is_kept() -> None:
    question = Question(requires=["a"], environment=Environment(python="3.11"))
    raw = tomllib.loads(HEAD + row("A_b.C", "A_b.C-1.0-py3-none-any.whl"))
    (found,) = uv._wheels(raw, question)
    assert (found.project, found.version, found.sha256) == ("a-b-c", "1.0", "b" * 64)
    assert found.path == f"packages/0f/b3/{HASH}/A_b.C-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (row("a"), "a 1.0 has no wheel for every platform"),
        (row("a", "a-1.0-cp311-cp311-win32.whl"), "a 1.0 has no wheel for every platform"),
        (
            row("a", "a-1.0-py3-none-any.whl").replace("/packages/", "/other/"),
            r"the index gives no place \(packages/ab/cd/…\) for a-1.0-py3-none-any.whl",
        ),
        (
            row("a", "a-1.0-py3-none-any.whl").replace("sha256", "md5"),
            "the index gives no sha256 for a-1.0-py3-none-any.whl",
        ),
    ],
)
def test_answers_that_cannot_be_locked(text: str, message: str) -> None:
    with pytest.raises(ResolutionFailed, match=message) as caught:
        read(text, Environment(python="3.11"))
    assert caught.value.cause
    assert caught.value.hint


def test_no_solution_says_what_uv_says() -> None:
    environment = Environment(python="3.11", glibc="2.36", arch="x86_64")
    error = uv._no_solution(Question(requires=["a>9"], environment=environment), "no\nversion\n")
    assert error.what == "no set of wheels satisfies a>9 (Python 3.11, x86_64-manylinux_2_36)"
    assert error.cause == "uv says:\n  no\n  version"


URIS = f"""\
Reading package lists...
'http://mirror.example/debian/pool/main/g/gcc-12/libgcc-s1_12.2.0-14%2bdeb12u1_amd64.deb' libgcc-s1_12.2.0-14+deb12u1_amd64.deb 49860 SHA256:{"1" * 64}
'http://mirror.example/debian/pool/main/b/binutils/binutils_2.40-2_amd64.deb' binutils_2.40-2_amd64.deb 65448 SHA256:{"2" * 64}
'http://mirror.example/debian/pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86716 SHA256:{"3" * 64}
'file:/srv/debian/pool/main/c/c/c_1~rc1_all.deb' c_1~rc1_all.deb 5 SHA256:{"4" * 64}
"""  # noqa: E501


def test_the_answers_of_apt() -> None:
    found = {deb.name: deb for deb in apt.parse_uris(URIS)}
    assert list(found) == ["binutils", "c", "libgcc-s1", "zlib1g"]
    assert found["zlib1g"].version == "1:1.2.13.dfsg-1"
    assert found["libgcc-s1"].version == "12.2.0-14+deb12u1"
    assert found["libgcc-s1"].path == "pool/main/g/gcc-12/libgcc-s1_12.2.0-14+deb12u1_amd64.deb"
    assert found["c"].version == "1~rc1"
    assert (found["binutils"].size, found["binutils"].sha256) == (65448, "2" * 64)


@pytest.mark.parametrize(
    "digest", [f"MD5Sum:{'5' * 32}", f"SHA512:{'5' * 128}", "", f"SHA256:{'5' * 63}"]
)
def test_a_package_that_apt_gives_no_sha256_for_is_not_left_out(digest: str) -> None:
    line = f"'http://mirror.example/debian/pool/main/x/x_1_amd64.deb' x_1_amd64.deb 5 {digest}"
    with pytest.raises(ResolutionFailed, match="without size and sha256") as caught:
        apt.parse_uris(URIS + line + "\n")
    assert "x_1_amd64.deb" in caught.value.what
    assert "[registries.debian]" in caught.value.hint


def test_names_of_packages_are_nothing_else_to_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No options, and no regular expressions where no package has the name."""
    (tmp_path / "keyring").touch()
    asked: list[list[str]] = []

    def runner(command: Command, reporter: Reporter) -> Result:  # noqa: ARG001
        asked.append(list(command.words))
        return Result(command=command.words, code=0, output="")

    monkeypatch.setattr(apt, "KEYRING", tmp_path / "keyring")
    monkeypatch.setattr(apt, "find", lambda name: name)
    monkeypatch.setattr(apt, "run", runner)
    archive = apt.Archive(mirror="http://mirror.example/debian")
    assert apt.resolve(archive, wish("bash", "g++"), Silent()) == ()
    install = asked[-1]
    assert install[:2] == ["apt-get", "install"]
    assert install[-3:] == ["--", "bash", "g++"]
    assert install.count("--") == 1


def test_apt_runs_in_a_world_of_its_own(tmp_path: Path) -> None:
    archive = apt.Archive(mirror="http://mirror.example/debian", proxy="http://proxy.example:3128")
    environment = apt._world(tmp_path, archive, replace(wish(), arch=Arch.AARCH64))
    config = Path(environment["APT_CONFIG"]).read_text()
    assert f'Dir::Etc "{tmp_path}/etc";' in config
    assert 'APT::Architecture "arm64";' in config
    assert 'APT::Cmd::Pattern-Only "true";' in config
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in config
    assert (tmp_path / "etc" / "sources.list").read_text() == (
        f"deb [signed-by={apt.KEYRING}] http://mirror.example/debian bookworm main\n"
    )


def test_where_there_is_no_apt() -> None:
    archive = apt.Archive(mirror="http://mirror.example/debian")
    with pytest.raises(ToolFailed, match="can only be locked where apt") as caught:
        apt.resolve(archive, wish("bash"), Silent())
    assert "building needs neither of them" in caught.value.cause


def test_uv_is_the_one_that_kvpack_was_installed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(uv_tool.program()).parent == Path(sys.executable).parent

    def nowhere() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(uv_tool, "find_uv_bin", nowhere)
    assert uv_tool.program() == "uv"


def test_uv_sees_the_one_index_and_the_trust_that_pip_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index in uv's environment would add versions (dependency confusion)."""
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_PRERELEASE"):
        monkeypatch.setenv(name, "https://elsewhere.example/simple")
    monkeypatch.setenv("UV_CACHE_DIR", "/somewhere")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    found = uv_tool.environment("/etc/ca.pem")
    assert {name: value for name, value in found.items() if name.startswith("UV_")} == {
        "UV_CACHE_DIR": "/somewhere",
        "UV_PYTHON_DOWNLOADS": "never",  # resolving for 3.12 must not fetch a Python 3.12
    }
    assert found["SSL_CERT_FILE"] == "/etc/ca.pem"


def test_an_index_that_does_not_answer_is_no_missing_solution() -> None:
    question = uv.Question(requires=("x",), environment=uv.Environment(python="3.11"))
    said = "error: Failed to fetch: https://index.example/simple/x/\n  invalid peer certificate"
    error = uv._no_solution(question, said)
    assert isinstance(error, FetchFailed)
    assert "invalid peer certificate" in error.cause


LOCAL = {
    "no cache": "error: Failed to initialize cache at `/proc/nope`\n  cause: failed to create "
    "directory `/proc/nope`: No such file or directory (os error 2)",
    "not writable": "error: Could not acquire lock\n  cause: Could not create temporary file\n"
    '  cause: Permission denied (os error 13) at path "/cache/.tmp8hHHTe"',
    "full": "error: Failed to write to the client cache\n  cause: failed to write to file "
    "`/cache/simple-v27/pypi/.tmpCA`: No space left on device (os error 28)",
    "full while fetching": "error: Failed to fetch: `https://index.example/x.whl`\n"
    "  cause: No space left on device (os error 28)",
}
"""What uv 0.13.8 says; the last one is put together."""


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (LOCAL["no cache"], ToolFailed),
        (LOCAL["not writable"], ToolFailed),
        (LOCAL["full"], DiskFull),
        (LOCAL["full while fetching"], DiskFull),
    ],
    ids=LOCAL,
)
def test_a_cache_that_uv_cannot_use_is_no_missing_solution(
    said: str, kind: type[KvpackError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", "/cache")
    question = uv.Question(requires=("x",), environment=uv.Environment(python="3.11"))
    error = uv._no_solution(question, said)
    assert type(error) is kind
    assert "(/cache)" in error.what
    assert said.splitlines()[-1].strip() in error.cause
    assert "UV_CACHE_DIR=DIR" in error.hint


@pytest.mark.parametrize("said", ["Connection refused (os error 111)", "No solution found"])
def test_other_failures_of_uv_are_not_the_disk_s(said: str) -> None:
    assert uv_tool.local_fault(f"error: {said}") is None


STANZAS = """\
Package: libc6-dev
Source: glibc
Version: 2.31-13
Architecture: amd64
Multi-Arch: same
Provides: libc-dev
Depends: libc6 (= 2.31-13), linux-libc-dev
Description: headers
 of more lines

Package: cmake
Version: 3.18.4-2
Architecture: amd64
Depends: cmake-data

"""


def test_what_an_image_has_is_installed_without_what_it_needs() -> None:
    assert (
        apt.installed(STANZAS)
        == """\
Status: install ok installed
Package: libc6-dev
Version: 2.31-13
Architecture: amd64
Multi-Arch: same
Provides: libc-dev

Status: install ok installed
Package: cmake
Version: 3.18.4-2
Architecture: amd64
"""
    )


@pytest.mark.parametrize(
    ("package", "taken"),
    [("a", "a"), ("a | b", "a"), ("z | b", "b"), ("z | y | b", "b"), ("z | y", "z"), ("z", "z")],
)
def test_the_first_alternative_that_a_suite_has(package: str, taken: str) -> None:
    assert apt.chosen(package, {"a", "b"}) == taken


def test_what_is_provided_is_neither_asked_for_nor_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keyring").touch()
    asked: list[list[str]] = []
    line = (
        f"'http://m/debian/pool/main/x/x/{{0}}_1_amd64.deb' {{0}}_1_amd64.deb 9 SHA256:{'a' * 64}"
    )

    def runner(command: Command, reporter: Reporter) -> Result:  # noqa: ARG001
        asked.append(list(command.words))
        found = {"show": STANZAS, "pkgnames": "libnew\ncmake\n", "install": "\n".join(
            line.format(name) for name in ("libnew", "libc6-dev")
        )}  # fmt: skip
        return Result(command=command.words, code=0, output=found.get(command.words[1], ""))

    monkeypatch.setattr(apt, "KEYRING", tmp_path / "keyring")
    monkeypatch.setattr(apt, "find", lambda name: name)
    monkeypatch.setattr(apt, "run", runner)
    archive = apt.Archive(mirror="http://mirror.example/debian")
    wanted = replace(wish("cmake", "libold | libnew"), provided=("cmake", "libc6-dev"))
    (found,) = apt.resolve(archive, wanted, Silent())
    assert found.name == "libnew"
    assert asked[-1][-2:] == ["--", "libnew"]


@pytest.mark.parametrize("broken", ["show", "pkgnames"])
def test_without_an_answer_of_its_cache_nothing_is_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Else what the image has would be locked beside it, or an alternative that there is not."""
    (tmp_path / "keyring").touch()

    def runner(command: Command, reporter: Reporter) -> Result:  # noqa: ARG001
        fails = command.words[1] == broken
        errors = "E: The cache cannot be read" if fails else ""
        return Result(command=command.words, code=100 * fails, output="", errors=errors)

    monkeypatch.setattr(apt, "KEYRING", tmp_path / "keyring")
    monkeypatch.setattr(apt, "find", lambda name: name)
    monkeypatch.setattr(apt, "run", runner)
    wanted = replace(wish("libold | libnew"), provided=("cmake",))
    with pytest.raises(ResolutionFailed, match="suite 'bookworm' cannot be read") as caught:
        apt.resolve(apt.Archive(mirror="http://mirror.example/debian"), wanted, Silent())
    assert "E: The cache cannot be read" in caught.value.cause
