"""One container that builds: how it is made, what it is given, what it gives out."""

from pathlib import Path

import pytest

from kvpack.errors import BuildFailed
from kvpack.report import Silent
from kvpack.tools.container import PROXIES, Container
from tests.unit.engines import MISSING, Playing


@pytest.fixture(params=["podman", "docker"])
def playing(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Playing:
    return Playing(tmp_path, request.param).on(monkeypatch)


def container(playing: Playing, **more: object) -> Container:
    fields: dict[str, object] = {"engine": playing.engine, "image": "root:1", "label": "a=b"}
    return Container(**(fields | more))  # type: ignore[arg-type]  # a dict of its fields


def created(playing: Playing, **more: object) -> list[str]:
    container(playing, **more).create(["bash", "-c", "true"], Silent())
    (words,) = playing.calls("create")
    return words


def test_it_has_no_network_and_is_found_by_its_label(playing: Playing) -> None:
    assert container(playing).create(["bash", "-c", "true"], Silent()) == "0a1b2c"
    (words,) = playing.calls("create")
    assert {"--network=none", "--pull=never", "--label=a=b"} <= set(words)
    assert words[-5:] == ["--workdir=/project", "root:1", "bash", "-c", "true"]


def test_the_environment_and_the_volumes_are_the_only_ones(playing: Playing) -> None:
    words = created(playing, environment={"A": "1 2", "B": "x=$y"}, volumes=["/cache:/ccache"])
    own = [word for word in words if word.startswith("--env=") and not word.endswith("=")]
    assert own == ["--env=A=1 2", "--env=B=x=$y"]
    assert [word for word in words if word.startswith("--volume")] == ["--volume=/cache:/ccache"]


def test_the_proxies_of_dockers_client_do_not_reach_it(playing: Playing) -> None:
    blank = {f"--env={name}=" for name in PROXIES}
    found = set(created(playing)) & blank
    assert found == (blank if playing.name == "docker" else set())


def test_a_recipe_may_set_a_proxy_variable(playing: Playing) -> None:
    words = created(playing, environment={"no_proxy": "x"})
    assert [word for word in words if word.startswith("--env=no_proxy")] == ["--env=no_proxy=x"]


def test_only_the_engines_own_variables_reach_its_client(
    playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    created(playing)
    text = (playing.folder / "environment").read_text()
    assert "DOCKER_HOST=unix:///x" in text
    assert "SECRET" not in text


def test_a_folder_is_copied_in_by_what_it_holds(playing: Playing, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "x").write_text("1")
    container(playing).give("0a1b2c", tmp_path / "project", "/project", Silent())
    assert playing.calls("cp") == [[f"{tmp_path}/project/.", "0a1b2c:/project"]]


def test_a_folder_is_taken_out_as_the_engine_gives_it(playing: Playing, tmp_path: Path) -> None:
    data = bytes(range(256))
    playing.plays(taken=data)
    assert container(playing).take("0a1b2c", "/opt/ucx", tmp_path / "out", Silent())
    assert (tmp_path / "out").read_bytes() == data
    assert playing.calls("cp") == [["0a1b2c:/opt/ucx", "-"]]


def test_a_folder_that_is_not_there(playing: Playing, tmp_path: Path) -> None:
    assert not container(playing).take("0a1b2c", "/opt/ucx", tmp_path / "out", Silent())


@pytest.mark.parametrize(
    "words",
    ["Error: no such container: 0a1b2c", "dial unix /x.sock: connect: no such file or directory",
     MISSING["podman"].format(place="/elsewhere"), "no space left on device"],
)  # fmt: skip
def test_any_other_refusal_is_the_engines_failure(
    playing: Playing, tmp_path: Path, words: str
) -> None:
    """Else a dead engine would read as steps that installed nothing."""
    playing.refuses(words)
    with pytest.raises(BuildFailed) as caught:
        container(playing).take("0a1b2c", "/opt/ucx", tmp_path / "out", Silent())
    assert caught.value.what == f"{playing.name} did not copy /opt/ucx out"
    assert words in caught.value.cause
    assert f"{playing.name} info" in caught.value.hint


def test_an_engine_that_makes_none_says_why(playing: Playing) -> None:
    (playing.folder / "bin" / playing.name).write_text("#!/bin/sh\necho 'no disk' >&2; exit 125\n")
    with pytest.raises(BuildFailed) as caught:
        created(playing)
    assert (caught.value.what, caught.value.cause) == (
        f"{playing.name} did not make a container", "no disk",
    )  # fmt: skip


def test_the_program_that_runs_shows_its_output(playing: Playing) -> None:
    command = container(playing).starting("0a1b2c")
    assert command.words == (playing.name, "start", "--attach", "0a1b2c")
    assert command.environment == playing.engine.environment
