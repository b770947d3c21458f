import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvpack.errors import ConfigInvalid
from kvpack.tools.http import Http
from kvpack.tools.web import (
    HttpSettings,
    TryFailed,
    encode_path,
    inherit_credentials,
    redact,
)
from tests.unit.fetch.upstream import Reply, Upstream, refusing, serving


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Http]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    port = Http(HttpSettings(connect=60, read=60), environment={"HOME": str(tmp_path)})
    yield port
    port.close()


def read(web: Http, url: str, start: int = 0) -> tuple[int, int | None, bytes]:
    with web.open(url, start=start) as body:
        return body.start, body.total, b"".join(body.chunks)


def test_import_of_the_port_does_not_import_httpx2() -> None:
    code = (
        "import sys, kvpack.tools.http; sys.exit('httpx2' in sys.modules or 'ssl' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_open_reads_all_or_from_an_offset(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/f", b"0123456789")
    assert read(web, url) == (0, 10, b"0123456789")
    assert read(web, url, 4) == (4, 10, b"456789")
    assert [seen.range for seen in upstream.seen] == [None, "bytes=4-"]


def read_part(web: Http, url: str, start: int, stop: int | None) -> tuple[int, int | None, bytes]:
    with web.open(url, start=start, stop=stop) as body:
        return body.start, body.total, b"".join(body.chunks)


@pytest.mark.parametrize(
    ("part", "asked", "expected"),
    [
        ((-3, None), "bytes=-3", (7, 10, b"789")),
        ((-99, None), "bytes=-99", (0, 10, b"0123456789")),
        ((2, 5), "bytes=2-4", (2, 10, b"234")),
        ((0, 1), "bytes=0-0", (0, 10, b"0")),
        ((8, 99), "bytes=8-98", (8, 10, b"89")),
    ],
)
def test_open_reads_a_part(
    upstream: Upstream,
    tmp_path: Path,
    part: tuple[int, int | None],
    asked: str,
    expected: tuple[int, int, bytes],
) -> None:
    """From a server and from disk alike."""
    web = Http(HttpSettings(), environment={"HOME": str(tmp_path)})
    assert read_part(web, upstream.put("/f", b"0123456789"), *part) == expected
    assert upstream.seen[0].range == asked
    (tmp_path / "f").write_bytes(b"0123456789")
    assert read_part(web, (tmp_path / "f").as_uri(), *part) == expected
    web.close()


def test_a_part_of_a_server_without_ranges_is_the_whole(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/f", Reply(body=b"0123456789", ranges=False))
    assert read_part(web, url, -3, None) == (0, 10, b"0123456789")
    assert read_part(web, url, 2, 5) == (0, 10, b"0123456789")


def test_a_range_from_the_end_can_be_refused(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/f", Reply(body=b"0123456789", suffix=False))
    with pytest.raises(TryFailed, match="416") as caught:
        read(web, url, -3)
    assert caught.value.status == 416
    assert read(web, url, 3)[0] == 3


def test_a_server_without_ranges_answers_from_the_start(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/f", Reply(body=b"0123456789", ranges=False))
    assert read(web, url, 4) == (0, 10, b"0123456789")


def test_compressed_transfer_is_not_undone(web: Http, upstream: Upstream) -> None:
    """A server that calls x.tar.gz "Content-Encoding: gzip" must not make us hash x.tar."""
    url = upstream.put("/f", Reply(body=b"\x1f\x8b as is", headers=(("Content-Encoding", "gzip"),)))
    assert read(web, url)[2] == b"\x1f\x8b as is"
    assert upstream.seen[0].encoding == "identity"


@pytest.mark.parametrize(
    ("reply", "start", "reason", "lasting"),
    [
        (Reply(status=404), 0, "HTTP 404", 404),
        (Reply(status=403), 0, "credentials", 403),
        (Reply(body=b"0123"), 4, "HTTP 416", 416),
        (Reply(body=b"0123", range_header="bytes 0-3/4"), 2, "asked for bytes from 2", 416),
        (Reply(body=b"0123", range_header="nonsense"), 2, "asked for bytes from 2", 416),
        (Reply(status=503), 0, "HTTP 503", None),
        (Reply(status=429), 0, "HTTP 429", None),
        (Reply(body=b"0123456789", cut=3), 0, "cut", None),
    ],
)
def test_each_failure_is_one_reason(
    upstream: Upstream, reply: Reply, start: int, reason: str, lasting: int | None
) -> None:
    url = upstream.put("/f", reply)
    web = Http(HttpSettings(), environment={})
    with pytest.raises(TryFailed, match=reason) as caught:
        read(web, url, start)
    web.close()
    assert caught.value.transient is (lasting is None)
    assert lasting in {None, caught.value.status}


def test_refused_connection_is_a_lasting_reason(web: Http) -> None:
    with pytest.raises(TryFailed, match="no connection") as caught:
        read(web, f"{refusing()}/f")
    assert not caught.value.transient


def test_silence_is_a_time_out(upstream: Upstream) -> None:
    import threading

    release = threading.Event()
    url = upstream.put("/f", Reply(body=b"0123456789", before=release.wait))
    port = Http(HttpSettings(connect=60, read=0.05), environment={})
    try:
        with pytest.raises(TryFailed, match=r"nothing came for 0\.05 s") as caught:
            read(port, url)
    finally:
        release.set()
        port.close()
    assert caught.value.transient


@pytest.mark.parametrize("url", ["http://[bad/", "http://127.0.0.1:99999/x", "gopher://h/x", "x"])
def test_no_url_is_a_reason_not_a_traceback(web: Http, url: str) -> None:
    with pytest.raises(TryFailed):
        read(web, url)


def test_credentials_of_the_url_are_sent_and_never_shown(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/f", Reply(status=401)).replace("//", "//me:p%40ss@")
    with pytest.raises(TryFailed) as caught:
        read(web, url)
    expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
    assert upstream.seen[0].authorization == expected
    chain = [str(caught.value), str(caught.value.__cause__), str(caught.value.__context__)]
    assert "p%40ss" not in "".join(chain)
    assert "p@ss" not in "".join(chain)


def test_netrc_gives_credentials(web: Http, upstream: Upstream, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    read(web, upstream.put("/f", b"x"))
    assert upstream.seen[0].authorization == "Basic " + base64.b64encode(b"me:secret").decode()


def test_a_bad_netrc_is_named_where_credentials_are_missing(
    web: Http, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine\n")
    assert read(web, upstream.put("/open", b"x"))[2] == b"x"
    with pytest.raises(TryFailed, match=r"\.netrc cannot be read"):
        read(web, upstream.put("/closed", Reply(status=401)))


def test_credentials_do_not_follow_to_another_host(web: Http, upstream: Upstream) -> None:
    with serving() as other:
        goal = other.put("/goal", b"x")
        url = upstream.put("/f", Reply(status=302, headers=(("Location", goal),)))
        assert read(web, url.replace("//", "//me:secret@"))[2] == b"x"
        assert upstream.seen[0].authorization is not None
        assert other.seen[0].authorization is None


def test_the_proxy_of_the_settings_is_used(upstream: Upstream) -> None:
    upstream.put("http://elsewhere.invalid/f", b"by proxy")
    port = Http(HttpSettings(proxy=upstream.url), environment={})
    try:
        assert read(port, "http://elsewhere.invalid/f")[2] == b"by proxy"
    finally:
        port.close()


def test_the_proxy_of_the_environment_is_used(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", upstream.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    upstream.put("http://elsewhere.invalid/f", b"by proxy")
    port = Http(HttpSettings(), environment={})
    try:
        assert read(port, "http://elsewhere.invalid/f")[2] == b"by proxy"
    finally:
        port.close()


@pytest.mark.parametrize(
    "settings",
    [
        HttpSettings(proxy="gopher://user:secret@host:1"),
        HttpSettings(cert="/nonexistent/ca.pem"),
    ],
)
def test_settings_that_cannot_be_used_are_config_faults(settings: HttpSettings) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(Http(settings, environment={}), "http://127.0.0.1:9/")
    assert caught.value.faults
    assert caught.value.hint
    assert "secret" not in f"{caught.value.as_json()}"


def test_a_folder_of_certificates_is_accepted(upstream: Upstream) -> None:
    folder = ssl.get_default_verify_paths().openssl_capath
    port = Http(HttpSettings(cert=folder), environment={})
    assert read(port, upstream.put("/f", b"x"))[2] == b"x"
    port.close()


def test_text_is_bounded_and_knows_its_final_url(web: Http, upstream: Upstream) -> None:
    upstream.put("/new/", Reply(body="é".encode(), headers=(("Content-Type", "Text/HTML; x=1"),)))
    url = upstream.put("/old", Reply(status=301, headers=(("Location", "/new/"),)))
    page = web.text(url, accept="text/html")
    assert (page.text, page.content_type) == ("é", "text/html")
    assert page.url == f"{upstream.url}/new/"
    assert upstream.seen[0].accept == "text/html"
    with pytest.raises(TryFailed, match="longer than 1 bytes"):
        web.text(url, limit=1)


def test_text_in_an_unknown_encoding_is_a_reason(web: Http, upstream: Upstream) -> None:
    kind = (("Content-Type", "text/html; charset=klingon"),)
    with pytest.raises(TryFailed, match="klingon"):
        web.text(upstream.put("/", Reply(body=b"x", headers=kind)))


def test_file_urls_are_served_from_disk(web: Http, tmp_path: Path) -> None:
    (tmp_path / "a b+c.whl").write_bytes(b"0123456789")
    url = (tmp_path / "a b+c.whl").as_uri()
    assert read(web, url) == (0, 10, b"0123456789")
    assert read(web, url, 4) == (4, 10, b"456789")
    assert "a%20b%2Bc.whl" in web.text(tmp_path.as_uri()).text
    assert web.text(tmp_path.as_uri()).url.endswith("/")
    (tmp_path / "index.html").write_text("page")
    assert web.text(f"{tmp_path.as_uri()}/").text == "page"


@pytest.mark.parametrize(
    ("url", "start", "status"),
    [("{}/none", 0, 404), ("{}/f", 9, 416), ("file://elsewhere/f", 0, 0), ("{}", 0, 0)],
)
def test_file_urls_fail_with_a_reason(
    web: Http, tmp_path: Path, url: str, start: int, status: int
) -> None:
    (tmp_path / "f").write_bytes(b"0123")
    with pytest.raises(TryFailed) as caught:
        read(web, url.format(tmp_path.as_uri()), start)
    assert caught.value.status == status


def test_a_missing_or_long_file_page_is_a_reason(web: Http, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123")
    with pytest.raises(TryFailed, match="No such file"):
        web.text(f"{tmp_path.as_uri()}/none/")
    with pytest.raises(TryFailed, match="longer"):
        web.text(f"{tmp_path.as_uri()}/f", limit=2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:secret@h/x", "https://***@h/x"),
        ("see http://token@h and https://h/@x", "see http://***@h and https://h/@x"),
        ("https://h/x", "https://h/x"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_paths_are_encoded_once() -> None:
    """Apt encodes a plus too: servers on object storage read a bare one as a space."""
    place = "pool/main/g/gcc-12/libstdc++6_12.2.0~rc1-14+deb12u1_amd64.deb"
    encoded = "pool/main/g/gcc-12/libstdc%2B%2B6_12.2.0~rc1-14%2Bdeb12u1_amd64.deb"
    assert encode_path(place) == encode_path(encoded) == encoded


def test_credentials_are_inherited_on_one_host_only() -> None:
    page = "https://me:pw@h:8/simple/x/"
    assert inherit_credentials("https://h:8/f", page) == "https://me:pw@h:8/f"
    for other in ("https://h/f", "http://h:8/f", "https://you@h:8/f"):
        assert inherit_credentials(other, page) == other
