"""Go modules from proxies: where they are, and what they have to be."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.errors import (
    ConfigInvalid,
    DigestMismatch,
    FetchFailed,
    KvpackError,
    OfflineMissing,
    ResolutionFailed,
)
from kvpack.fetch.config import GoConfig
from kvpack.fetch.download import fetch
from kvpack.fetch.gofiles import fetch_go_files
from kvpack.fetch.goproxy import discover, listed
from kvpack.fetch.model import Wanted
from kvpack.fetch.registries import Registries
from kvpack.fetch.transfer import Effort
from kvpack.lock.gofile import LockedGoFile, PendingGoFile
from kvpack.lock.gomodules import read_go_sums
from kvpack.report import Silent
from kvpack.tools.http import Http
from kvpack.tools.store import Store
from tests.goproxy import standin_modules
from tests.unit.tools.test_dirhash import GO_SUM

QUICK = Effort(rounds=1)
WORDS = "example.test/!stand!in/!words/@v/v1.2.0.zip"


def proxy(folder: Path, files: Mapping[str, bytes]) -> str:
    """A folder that is a proxy."""
    for place, data in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder.mkdir(exist_ok=True)
    return folder.as_uri()


def wanted() -> tuple[PendingGoFile, ...]:
    return read_go_sums("x", ["."], {"go.mod": b"", "go.sum": GO_SUM.read_bytes()})


def obtained(store: Store, web: Http, *proxies: str) -> tuple[LockedGoFile, ...]:
    return fetch_go_files(
        "demo 1.0", wanted(), store=store, places=(proxies, web), reporter=Silent(), effort=QUICK
    )


def test_each_comes_from_the_first_proxy_that_has_it(
    tmp_path: Path, store: Store, web: Http
) -> None:
    files = standin_modules()
    first = proxy(tmp_path / "first", {WORDS: b"PK\x03\x04 damaged"})
    second = proxy(tmp_path / "second", files)
    found = obtained(store, web, first, second)
    assert {one.place: (store.read(one.sha256), one.size) for one in found} == {
        place: (data, len(data)) for place, data in files.items()
    }
    # A lock names them by digest: now any registry of the machine may give them.
    other = Store(tmp_path / "other")
    entry = Wanted(registry="go", place=WORDS, filename="v1.2.0.zip", sha256=found[1].sha256)
    with Registries(tmp_path, reporter=Silent(), environment={"GOPROXY": second}) as registries:
        fetch([entry], store=other, registries=registries, reporter=Silent())
    assert other.has(entry.sha256)


def told(error: KvpackError) -> list[str]:
    return [f"{one.place} {one.message}" for one in error.faults]


def test_other_files_than_go_sum_names_are_refused_at_once(
    tmp_path: Path, store: Store, web: Http
) -> None:
    files = standin_modules()
    mod = WORDS.replace(".zip", ".mod")
    other = next(data for place, data in files.items() if place.endswith("v3.5.21.zip"))
    files |= {WORDS: other, mod: b"module other\n"}
    with pytest.raises(DigestMismatch) as caught:
        obtained(store, web, proxy(tmp_path / "proxy", files))
    first, second = told(caught.value)
    assert first.startswith(f"go: {mod} file:///")
    assert "it is h1:" in second
    assert second.endswith("go.sum says h1:vMqWqFOLoxrIa7MzrQ5b28J/IMFUtErigklEXQDyP3k=")
    assert "2 of 4 files of the Go modules of demo 1.0" in caught.value.what


def test_what_proxies_do_not_have_is_told_as_that(tmp_path: Path, store: Store, web: Http) -> None:
    files = standin_modules()
    del files[WORDS]
    with pytest.raises(ResolutionFailed) as caught:
        obtained(store, web, proxy(tmp_path / "proxy", files))
    (line,) = told(caught.value)
    assert line.startswith(f"go: {WORDS} ")


def test_a_proxy_that_does_not_answer_is_another_matter(store: Store, web: Http) -> None:
    with pytest.raises(FetchFailed) as caught:
        obtained(store, web, "http://127.0.0.1:9")
    assert len(caught.value.faults) == 4
    assert "[registries.go] proxies" in caught.value.hint


# -- where they are --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        ("off", []),
        ("direct", []),
        ("https://a.test", ["https://a.test"]),
        (" https://a.test , http://b.test/x|file:///c,direct,https://never.test",
         ["https://a.test", "http://b.test/x", "file:///c"]),
        ("https://a.test,off,https://never.test", ["https://a.test"]),
        ("a.test/go,/srv/a b", ["https://a.test/go", "file:///srv/a%20b"]),
    ],
)  # fmt: skip
def test_goproxy_is_read_as_go_reads_it(text: str, urls: list[str]) -> None:
    assert list(listed(text)) == urls


@pytest.mark.parametrize("text", ["ftp://a.test", "https://a.test,nonsense", "https:///x"])
def test_what_is_no_url_is_told(text: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        discover(GoConfig(), environment={"GOPROXY": text})
    assert "GOPROXY names" in caught.value.what


def test_the_catalogue_comes_first_then_the_environment_then_gos_own_file(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "env").write_text("GOSUMDB=off\nGOPROXY=https://file.test,direct\n")
    home = {"XDG_CONFIG_HOME": str(tmp_path)}
    table = GoConfig(proxies=("https://team.test/",))
    assert discover(table, environment=home).proxies == ("https://team.test", "https://file.test")
    own = {**home, "GOPROXY": "https://own.test|https://team.test"}
    assert discover(table, environment=own).proxies == ("https://team.test", "https://own.test")
    named = {"GOENV": str(tmp_path / "go" / "env")}
    assert discover(GoConfig(), environment=named).proxies == ("https://file.test",)


@pytest.mark.parametrize("more", [{}, {"GOPROXY": "direct"}, {"GOENV": "off"}])
def test_no_host_is_built_in(tmp_path: Path, more: dict[str, str]) -> None:
    with pytest.raises(FetchFailed) as caught:
        discover(GoConfig(), environment={"HOME": str(tmp_path), **more})
    assert "no proxy of Go modules is known" in caught.value.what
    assert "[registries.go] proxies" in caught.value.hint


def test_offline_names_what_is_missing(tmp_path: Path, store: Store) -> None:
    entry = Wanted(registry="go", place=WORDS, filename="v1.2.0.zip", sha256="0" * 64)
    with (
        Registries(tmp_path, reporter=Silent(), environment={}) as registries,
        pytest.raises(OfflineMissing) as caught,
    ):
        fetch([entry], store=store, registries=registries, reporter=Silent(), offline=True)
    assert caught.value.faults[0].place == f"go: {WORDS}"
