import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvpack.errors import FetchFailed, ToolFailed
from kvpack.fetch.download import fetch
from kvpack.fetch.model import Wanted
from kvpack.fetch.registries import Registries
from kvpack.fetch.transfer import Effort
from kvpack.report import Reporter, Silent
from kvpack.tools.process import Command, Result
from kvpack.tools.store import Store
from tests.unit.fetch.upstream import Ears, Reply, Upstream, deb, serving, sha, wheel

BODY = b"a wheel's bytes"
JSON = (("Content-Type", "application/vnd.pypi.simple.v1+json"),)


class Tools:
    """Programs of a machine: what each prints; all others are not installed."""

    def __init__(self, outputs: dict[str, str]) -> None:
        self.outputs = outputs
        self.asked: list[str] = []

    def __call__(self, command: Command, reporter: Reporter) -> Result:  # noqa: ARG002
        shown = " ".join(command.words)
        self.asked.append(shown)
        for name, output in self.outputs.items():
            if name in shown:
                return Result(command=command.words, code=0, output=output)
        raise ToolFailed(f"{command.words[0]} is not installed")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def page(*links: str) -> bytes:
    return b"<!DOCTYPE html>\n" + "\n".join(f'<a href="{link}">x</a>' for link in links).encode()


def registries_of(root: Path, pip_config: str = "", apt_config: str = "") -> Registries:
    return Registries(
        root,
        reporter=Silent(),
        environment={"HOME": str(root)},
        runner=Tools({"config list": pip_config, "apt-config": apt_config}),
    )


def get(registries: Registries, store: Store, *wanted: Wanted, jobs: int = 1) -> Ears:
    ears, effort = Ears(), Effort(jobs=jobs, pause=0.001)
    with registries:
        fetch(wanted, store=store, registries=registries, reporter=ears, effort=effort)
    return ears


def test_an_index_with_relative_links(upstream: Upstream, store: Store, tmp_path: Path) -> None:
    wanted = wheel(BODY)
    upstream.put("/simple/demo/", page(f"../../{wanted.place}#sha256={wanted.sha256}"))
    upstream.put("/" + wanted.place, BODY)
    registries = registries_of(tmp_path, f"global.index-url='{upstream.url}/simple/'")
    get(registries, store, wanted)
    assert store.read(wanted.sha256) == BODY


def test_an_index_in_json_whose_files_lie_elsewhere(
    upstream: Upstream, other: Upstream, store: Store, tmp_path: Path
) -> None:
    """PEP 691."""
    wanted = wheel(BODY)
    url = other.put("/some/where/" + wanted.filename, BODY)
    files = [{"filename": wanted.filename, "url": url, "hashes": {"sha256": wanted.sha256}}]
    body = json.dumps({"meta": {"api-version": "1.0"}, "files": files}).encode()
    upstream.put("/simple/demo/", Reply(body=body, headers=JSON))
    registries = registries_of(tmp_path, f"global.index-url='{upstream.url}/simple'")
    get(registries, store, wanted)
    assert store.has(wanted.sha256)
    assert (upstream.seen[0].accept or "").startswith("application/vnd.pypi.simple.v1+json")


def test_files_of_kvpack_toml_come_first(
    upstream: Upstream, other: Upstream, store: Store, tmp_path: Path
) -> None:
    wanted = wheel(BODY)
    upstream.put("/mirror/" + wanted.place, BODY)
    (tmp_path / "kvpack.toml").write_text(
        f'[registries.pypi]\nfiles = ["{upstream.url}/mirror/"]\nindex = "{other.url}/simple"\n'
    )
    get(registries_of(tmp_path), store, wanted)
    assert store.has(wanted.sha256)
    assert other.seen == []


def test_the_order_of_the_places(upstream: Upstream, tmp_path: Path) -> None:
    """kvpack.toml's files, find-links, kvpack.toml's index, pip's, pip's extra ones."""
    wanted = wheel(BODY)
    (tmp_path / "kvpack.toml").write_text(
        f'[registries.pypi]\nfiles = ["{upstream.url}/files"]\nindex = "{upstream.url}/own"\n'
    )
    config = (
        f"global.index-url='{upstream.url}/pip'\n"
        f":env:.extra-index-url='{upstream.url}/extra-1 {upstream.url}/extra-2'\n"
        f"global.find-links='{upstream.url}/links.html'\n"
    )
    with registries_of(tmp_path, config) as registries:
        urls = [candidate.url for candidate in registries.places(wanted)]
    assert [url.removeprefix(upstream.url) for url in urls] == [
        f"/files/{wanted.place}",
        "/links.html",
        "/own/demo/",
        "/pip/demo/",
        "/extra-1/demo/",
        "/extra-2/demo/",
    ]


def test_what_one_page_taught_spares_the_other_pages(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    files = [wheel(f"bytes {n}".encode(), project=f"demo{n}") for n in range(9)]
    for n, entry in enumerate(files):
        upstream.put("/files/" + entry.place, f"bytes {n}".encode())
        upstream.put(f"/simple/{entry.project}/", page(f"/files/{entry.place}"))
    config = f"global.index-url='{upstream.url}/simple'"
    get(registries_of(tmp_path, config), store, *files)
    assert all(store.has(entry.sha256) for entry in files)
    assert sum(path.startswith("/simple/") for path in upstream.paths) == 1


def test_a_page_is_read_once_by_many_threads(upstream: Upstream, tmp_path: Path) -> None:
    wanted = wheel(BODY)
    upstream.put("/simple/demo/", page("/elsewhere/" + wanted.filename))
    config = f"global.index-url='{upstream.url}/simple'"
    found: list[str] = []
    with registries_of(tmp_path, config) as registries:
        threads = [
            threading.Thread(target=lambda: found.extend(c.url for c in registries.places(wanted)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [f"{upstream.url}/elsewhere/{wanted.filename}"] * 4
    assert len(upstream.seen) == 1


def test_a_page_that_fails_for_a_moment_is_read_again(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    wanted = wheel(BODY)
    upstream.put("/simple/demo/", Reply(status=503), page("/f/" + wanted.filename))
    upstream.put("/f/" + wanted.filename, BODY)
    get(registries_of(tmp_path, f"global.index-url='{upstream.url}/simple'"), store, wanted)
    assert store.has(wanted.sha256)
    assert upstream.count("/simple/demo/") == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "HTTP 404"),
        (Reply(body=b"<a href='other-1.0.whl'>"), "lists no demo-1.0-py3-none-any.whl"),
        (
            Reply(body=page("demo-1.0-py3-none-any.whl#sha256=" + "0" * 64)),
            "its page gives it the sha256 0000",
        ),
        (Reply(body=b"{", headers=JSON), "no JSON of a simple index"),
        (Reply(body=b'{"files": 3}', headers=JSON), "no JSON of a simple index"),
    ],
    ids=["404", "not-listed", "other-hash", "no-json", "no-list"],
)
def test_why_a_page_is_no_help_is_told(
    upstream: Upstream, store: Store, tmp_path: Path, reply: Reply, reason: str
) -> None:
    upstream.put("/simple/demo/", reply)
    registries = registries_of(tmp_path, f"global.index-url='{upstream.url}/simple'")
    with pytest.raises(FetchFailed) as caught:
        get(registries, store, wheel(BODY))
    assert reason in caught.value.faults[0].message
    assert upstream.paths == ["/simple/demo/"]


def test_find_links_may_be_a_folder_a_url_or_a_page(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    files = [wheel(f"bytes {n}".encode(), project=f"demo{n}") for n in range(3)]
    (tmp_path / "one" / files[0].filename).write_bytes(b"bytes 0")
    (tmp_path / "two" / files[1].filename).write_bytes(b"bytes 1")
    upstream.put("/flat", page(f"x/{files[2].filename}"))
    upstream.put(f"/x/{files[2].filename}", b"bytes 2")
    links = f"{tmp_path}/one {tmp_path.as_uri()}/two {upstream.url}/flat {tmp_path}/none"
    get(registries_of(tmp_path, f"global.find-links='{links}'\nglobal.no-index='1'"), store, *files)
    assert all(store.has(entry.sha256) for entry in files)


def test_an_index_on_disk(store: Store, tmp_path: Path) -> None:
    """As file:///…/simple with relative links out of it."""
    wanted = wheel(BODY)
    (tmp_path / "simple" / "demo").mkdir(parents=True)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / wanted.filename).write_bytes(BODY)
    link = f"../../files/{wanted.filename}#sha256={wanted.sha256}"
    (tmp_path / "simple" / "demo" / "index.html").write_bytes(page(link))
    config = f"global.index-url='{tmp_path.as_uri()}/simple'"
    get(registries_of(tmp_path, config), store, wanted)
    assert store.has(wanted.sha256)


def test_credentials_of_an_index_reach_its_files(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    wanted = wheel(BODY)
    upstream.put("/simple/demo/", page(f"{upstream.url}/{wanted.place}"))
    upstream.put("/" + wanted.place, BODY)
    index = upstream.url.replace("//", "//me:secret@") + "/simple"
    get(registries_of(tmp_path, f"global.index-url='{index}'"), store, wanted)
    assert all(seen.authorization for seen in upstream.seen)
    assert len(upstream.seen) == 2


def test_pips_proxy_is_used_for_pypi_and_apts_for_debian(
    upstream: Upstream, other: Upstream, store: Store, tmp_path: Path
) -> None:
    package = deb(BODY)
    one = wheel(b"one")
    upstream.put(f"http://index.invalid/files/{one.place}", b"one")
    other.put(f"http://mirror.invalid/debian/{package.place}", BODY)
    (tmp_path / "kvpack.toml").write_text(
        '[registries.pypi]\nindex = "http://index.invalid/simple"\n'
        'files = ["http://index.invalid/files"]\n'
        '[registries.debian]\nmirrors = ["http://mirror.invalid/debian"]\n'
    )
    registries = registries_of(
        tmp_path, f"global.proxy='{upstream.url}'", f'Acquire::http::Proxy "{other.url}";\n'
    )
    get(registries, store, package, one)
    assert store.has(package.sha256)
    assert store.has(one.sha256)


def test_debian_places_are_encoded(upstream: Upstream, store: Store, tmp_path: Path) -> None:
    wanted = deb(BODY, name="libstdc++6_12.2.0~rc1-14+deb12u1_amd64.deb")
    path = "/debian/pool/main/x/libstdc%2B%2B6_12.2.0~rc1-14%2Bdeb12u1_amd64.deb"
    upstream.put(path, BODY)
    (tmp_path / "kvpack.toml").write_text(
        f'[registries.debian]\nmirrors = ["{upstream.url}/debian"]\n'
    )
    get(registries_of(tmp_path), store, wanted)
    assert upstream.paths == [path]
    encoded = wanted.model_copy(update={"place": path.removeprefix("/debian/")})
    with registries_of(tmp_path) as registries:
        assert [c.url for c in registries.places(encoded)] == [upstream.url + path]


def test_tools_are_asked_once_and_only_when_needed(tmp_path: Path) -> None:
    tools = Tools({"config list": "global.index-url='http://h.invalid/simple'"})
    registries = Registries(tmp_path, reporter=Silent(), environment={}, runner=tools)
    url = Wanted(registry="url", place="http://h.invalid/x", filename="x", sha256=sha(BODY))
    assert [candidate.url for candidate in registries.places(url)] == [url.place]
    assert tools.asked == []
    registries.pypi()
    registries.pypi()
    assert len(tools.asked) == 1


def test_links_lists_a_project_from_declared_places_only(
    upstream: Upstream, other: Upstream, tmp_path: Path
) -> None:
    """Another place that lists a higher version must not win (dependency confusion)."""
    (tmp_path / "flat").mkdir()
    for name in ("my_demo-2.0-py3-none-any.whl", "my_demo-2.0.tar.gz", "my_demo_x-1.tar.gz"):
        (tmp_path / "flat" / name).write_bytes(b"")
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "my_demo-99.0.tar.gz").write_bytes(b"")
    upstream.put("/simple/my-demo/", page("my_demo-1.0.tar.gz"))
    other.put("/extra/my-demo/", page("my_demo-99.1.tar.gz"))
    other.put("/links", page("my_demo-99.2.tar.gz"))
    (tmp_path / "kvpack.toml").write_text(
        f'[registries.pypi]\nfind-links = ["{(tmp_path / "flat").as_uri()}"]\n'
    )
    config = (
        f"global.index-url='{upstream.url}/simple'\n"
        f"global.find-links='{tmp_path}/pip {other.url}/links'\n"
        f"global.extra-index-url='{other.url}/extra'"
    )
    with registries_of(tmp_path, config) as registries:
        names = [link.filename for link in registries.links("my-demo")]
        with pytest.raises(
            FetchFailed, match="no index lists a file of the project nope"
        ) as caught:
            registries.links("nope")
    assert names == ["my_demo-2.0-py3-none-any.whl", "my_demo-2.0.tar.gz", "my_demo-1.0.tar.gz"]
    assert len(caught.value.faults) == 1  # a folder that lists none of it is no fault
    assert other.seen == []


@pytest.mark.parametrize(("status", "asked"), [(503, 3), (404, 1)])
def test_links_are_asked_for_again_where_a_failure_may_pass(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, asked: int
) -> None:
    monkeypatch.setattr("kvpack.fetch.registries.PAUSES", (0, 0))
    bad = Reply(status=status)
    upstream.put("/simple/demo/", bad, bad, page("demo-1.0.tar.gz"))
    with registries_of(tmp_path, f"global.index-url='{upstream.url}/simple'") as registries:
        if status == 503:
            assert [link.filename for link in registries.links("demo")] == ["demo-1.0.tar.gz"]
        else:
            with pytest.raises(FetchFailed):
                registries.links("demo")
    assert upstream.count("/simple/demo/") == asked


def test_links_without_an_index_are_the_declared_ones(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "demo-99.0.tar.gz").write_bytes(b"")
    config = f"global.no-index='1'\nglobal.find-links='{tmp_path}/pip'"
    with registries_of(tmp_path, config) as registries:
        assert registries.pypi().declared == ()
        with pytest.raises(FetchFailed, match="no index lists a file of the project demo"):
            registries.links("demo")


def test_bytes_of_a_digest_may_come_from_everywhere(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "flat").mkdir()
    files = [wheel(f"bytes {n}".encode(), project=f"demo{n}") for n in range(3)]
    (tmp_path / "flat" / files[0].filename).write_bytes(b"bytes 0")
    upstream.put("/flat", page(f"x/{files[1].filename}"))
    upstream.put(f"/x/{files[1].filename}", b"bytes 1")
    upstream.put("/extra/demo2/", page(f"../../x/{files[2].filename}"))
    upstream.put(f"/x/{files[2].filename}", b"bytes 2")
    (tmp_path / "kvpack.toml").write_text(
        f'[registries.pypi]\nfind-links = ["{(tmp_path / "flat").as_uri()}"]\n'
    )
    config = (
        f"global.index-url='{upstream.url}/simple'\nglobal.find-links='{upstream.url}/flat'\n"
        f"global.extra-index-url='{upstream.url}/extra'"
    )
    get(registries_of(tmp_path, config), store, *files)
    assert all(store.has(entry.sha256) for entry in files)
