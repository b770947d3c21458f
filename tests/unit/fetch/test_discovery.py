"""What this machine's tools say about registries; the tools' answers are recorded ones."""

from pathlib import Path

import pytest

from kvpack.errors import ConfigInvalid, FetchFailed, ToolFailed
from kvpack.fetch import debian, pypi
from kvpack.fetch.config import DebianConfig, PypiConfig
from kvpack.report import Reporter, Silent
from kvpack.tools.process import Command, Result
from kvpack.tools.web import HttpSettings

UV_HELP = """      --default-index <DEFAULT_INDEX>
          The default package index (by default: <https://default.invalid/simple>) [env: UV]
  -i, --index-url <INDEX_URL>
          (Deprecated) The URL of the Python package index (by
          default: <https://default.invalid/simple>) [env: UV_INDEX_URL]
"""
PIP_HELP = """  -i, --index-url <url>       Base URL of the Python Package Index (default
                              https://pip-default.invalid/simple). This should point to a
"""


class Machine:
    """Answers commands by a word in them; what it does not know is not installed."""

    def __init__(self, answers: dict[str, str]) -> None:
        self._answers = answers

    def __call__(self, command: Command, reporter: Reporter) -> Result:  # noqa: ARG002
        shown = " ".join(command.words)
        for words, output in self._answers.items():
            if words in shown:
                return Result(command=command.words, code=0, output=output)
        if "-m pip" in shown:
            return Result(
                command=command.words, code=1, output="", errors="python: No module named pip"
            )
        raise ToolFailed(f"{shown} is not installed")


def ask(
    answers: dict[str, str], environment: dict[str, str], config: PypiConfig | None = None
) -> pypi.PypiRegistry:
    return pypi.discover(
        config or PypiConfig(),
        environment=environment,
        runner=Machine(answers),
        reporter=Silent(),
    )


def test_pip_then_uv_then_the_built_in_default(tmp_path: Path) -> None:
    answers = {
        "config list": "global.extra-index-url='https://a.invalid/s file:///opt/simple'\n",
        "pip compile --help": UV_HELP,
    }
    found = ask(answers, {"HOME": str(tmp_path), "UV_INDEX": "corp=https://u.invalid/s"})
    assert found.indexes == (
        "https://a.invalid/s",
        "file:///opt/simple",
        "https://u.invalid/s",
        "https://default.invalid/simple",
    )


@pytest.mark.parametrize(
    ("config", "environment"),
    [
        ("global.index-url='https://mine.invalid/simple/'", {}),
        ("", {"UV_DEFAULT_INDEX": "https://mine.invalid/simple"}),
        ("", {"UV_INDEX_URL": "https://mine.invalid/simple/"}),
    ],
    ids=["pip", "uv", "uv-old"],
)
def test_a_default_that_is_set_replaces_the_built_in_one(
    tmp_path: Path, config: str, environment: dict[str, str]
) -> None:
    answers = {"config list": config, "pip compile --help": UV_HELP}
    found = ask(answers, {"HOME": str(tmp_path), **environment})
    assert found.indexes == ("https://mine.invalid/simple",)


def test_kvpack_toml_comes_before_what_pip_says(tmp_path: Path) -> None:
    answers = {"config list": "global.index-url='https://pip.invalid/s'"}
    config = PypiConfig(index="https://own.invalid/s", files=("https://f.invalid",))
    found = ask(answers, {"HOME": str(tmp_path)}, config)
    assert found.indexes == ("https://own.invalid/s", "https://pip.invalid/s")
    assert found.files == ("https://f.invalid",)


def test_the_default_of_pip_where_uv_is_missing(tmp_path: Path) -> None:
    found = ask({"install --help": PIP_HELP}, {"HOME": str(tmp_path)})
    assert found.indexes == ("https://pip-default.invalid/simple",)


@pytest.mark.parametrize("switch", ["pip", "uv"])
def test_no_index_means_no_default(tmp_path: Path, switch: str) -> None:
    config = "global.find-links='/wheels'\nglobal.index-url='https://pip.invalid/s'\n"
    environment = {"HOME": str(tmp_path)}
    if switch == "pip":
        config += ":env:.no-index='1'\n"
    else:
        environment["UV_NO_INDEX"] = "true"
        config = "global.find-links='/wheels'\n"
    found = ask({"config list": config, "pip compile --help": UV_HELP}, environment)
    assert found.indexes == ()
    assert found.find_links == ("/wheels",)


def test_sections_of_pips_configuration_win_in_pips_order() -> None:
    output = (
        ":env:.index-url='https://env.invalid'\n"
        "install.index-url='https://install.invalid'\n"
        "install.cert='/install.pem'\n"
        "global.cert='/global.pem'\n"
        "global.extra-index-url='\\nhttps://one.invalid\\nhttps://two.invalid'\n"
        "download.index-url='https://download.invalid'\n"
        "global.odd=unquoted\n"
        "no setting at all\n"
    )
    values = pypi.parse_pip_config(output)
    assert values["index-url"] == "https://env.invalid"
    assert values["cert"] == "/install.pem"
    assert values["extra-index-url"].split() == ["https://one.invalid", "https://two.invalid"]
    assert values["odd"] == "unquoted"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", HttpSettings()),
        (
            "global.cert='/ca.pem'\nglobal.proxy='http://p.invalid:1'\nglobal.timeout='180'",
            HttpSettings(read=180, cert="/ca.pem", proxy="http://p.invalid:1"),
        ),
        (":env:.default-timeout='5'", HttpSettings(read=5, connect=5)),
    ],
    ids=["none", "all", "short"],
)
def test_pips_settings_for_the_network(tmp_path: Path, config: str, expected: HttpSettings) -> None:
    answers = {"config list": config, "pip compile --help": UV_HELP}
    assert ask(answers, {"HOME": str(tmp_path)}).settings == expected


@pytest.mark.parametrize("value", ["soon", "0", "-1"])
def test_a_time_out_that_is_no_number_is_a_fault(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigInvalid, match=value):
        ask({"config list": f"global.timeout='{value}'"}, {"HOME": str(tmp_path)})


UV_TOML = """
index-url = "https://old.invalid/s"
extra-index-url = ["https://extra.invalid/s"]
find-links = ["/wheels"]
[[index]]
url = "https://second.invalid/s"
[[index]]
url = "https://only-torch.invalid/s"
explicit = true
[[index]]
url = "https://first.invalid/s"
default = true
"""


@pytest.mark.parametrize("where", ["home", "xdg", "named"])
def test_uvs_file_is_read_where_uv_reads_it(tmp_path: Path, where: str) -> None:
    path, environment = {
        "home": (tmp_path / ".config/uv/uv.toml", {"HOME": str(tmp_path)}),
        "xdg": (tmp_path / "x/uv/uv.toml", {"XDG_CONFIG_HOME": str(tmp_path / "x")}),
        "named": (tmp_path / "my.toml", {"UV_CONFIG_FILE": str(tmp_path / "my.toml")}),
    }[where]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(UV_TOML)
    found = ask({}, environment)
    assert found.indexes == (
        "https://first.invalid/s",
        "https://second.invalid/s",
        "https://extra.invalid/s",
    )
    assert found.find_links == ("/wheels",)


def test_the_environment_wins_over_uvs_file(tmp_path: Path) -> None:
    path = tmp_path / "uv.toml"
    path.write_text('index-url = "https://file.invalid/s"\nno-index = false\n')
    environment = {
        "UV_CONFIG_FILE": str(path),
        "UV_DEFAULT_INDEX": "https://env.invalid/s",
        "UV_FIND_LINKS": "/a,/b",
    }
    found = ask({}, environment)
    assert found.indexes == ("https://env.invalid/s",)
    assert found.find_links == ("/a", "/b")


def test_a_broken_file_of_uv_is_named(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text("index-url =")
    with pytest.raises(ConfigInvalid, match=r"uv\.toml"):
        ask({}, {"UV_CONFIG_FILE": str(tmp_path / "uv.toml")})


def test_a_machine_that_knows_no_index_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed) as caught:
        ask({}, {"HOME": str(tmp_path)})
    assert "[registries.pypi] index" in caught.value.hint


def test_the_default_of_the_installed_tools_can_be_read(tmp_path: Path) -> None:
    """Against the real uv or pip of this environment: their help still says it so."""
    from kvpack.tools.process import run

    environment = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "PATH": "/usr/bin:/bin"}
    found = pypi.discover(PypiConfig(), environment=environment, runner=run, reporter=Silent())
    assert found.indexes[-1].startswith("https://")


# -- Debian ---------------------------------------------------------------------------------

TARGETS = """http://m.invalid/debian/|bookworm|Debian|main
http://m.invalid/debian/|bookworm|Debian|contrib
http://m.invalid/debian/|bookworm-updates|Debian|main
http://m.invalid/debian-security/|bookworm-security|Debian|main
http://second.invalid/debian|trixie||main
http://vendor.invalid/repo/|stable|Vendor|main
http://vendor.invalid/other/|stable||main
http://m.invalid/debian/|trixie|Debian|main
copy:/srv/debian/|bookworm|Debian|main
cdrom://disk/|bookworm|Debian|main
nonsense
"""


def ask_apt(answers: dict[str, str], *mirrors: str) -> debian.DebianRegistry:
    return debian.discover(
        DebianConfig(mirrors=mirrors), environment={}, runner=Machine(answers), reporter=Silent()
    )


def test_mirrors_of_kvpack_toml_then_those_of_apt() -> None:
    found = ask_apt({"indextargets": TARGETS}, "https://own.invalid/debian/")
    assert found.mirrors == (
        "https://own.invalid/debian",
        "http://m.invalid/debian",
        "http://second.invalid/debian",
        "file:///srv/debian",
    )
    assert found.settings.proxy is None


@pytest.mark.parametrize(
    ("dump", "proxy"),
    [
        ('Acquire::http::Proxy "http://p.invalid:3142";\n', "http://p.invalid:3142"),
        ('Acquire::http::Proxy "";\n', None),
        ('Acquire::http::Proxy "DIRECT";\n', None),
        ('Acquire::http::Proxy::h.invalid "http://p.invalid";\n', None),
    ],
    ids=["set", "empty", "direct", "one-host"],
)
def test_apts_proxy(dump: str, proxy: str | None) -> None:
    found = ask_apt({"apt-config": dump}, "https://own.invalid/debian")
    assert found.settings.proxy == proxy


def test_a_machine_without_apt_needs_a_mirror() -> None:
    with pytest.raises(FetchFailed) as caught:
        ask_apt({})
    assert "[registries.debian] mirrors" in caught.value.hint
