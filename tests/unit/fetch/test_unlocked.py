import hashlib
from collections.abc import Iterator

import pytest

from kvpack.errors import DigestMismatch, FetchFailed
from kvpack.fetch.model import Fetched
from kvpack.fetch.transfer import Effort
from kvpack.fetch.unlocked import fetch_unlocked
from kvpack.tools.http import Http
from kvpack.tools.store import Store
from tests.unit.fetch.upstream import Reply, Upstream, serving, sha

BODY = bytes(range(256)) * 100
QUICK = Effort(pause=0.001)
BLAKE = hashlib.blake2b(BODY, digest_size=32).hexdigest()
PLACE = f"packages/{BLAKE[:2]}/{BLAKE[2:4]}/{BLAKE[4:]}/demo-1.0+cpu.tar.gz"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


def test_bytes_without_a_lock_are_kept_and_named(
    upstream: Upstream, store: Store, web: Http
) -> None:
    url = upstream.put("/x/demo-1.0%2Bcpu.tar.gz", BODY)
    found = fetch_unlocked(url, store=store, web=web)
    assert found == Fetched(sha256=sha(BODY), size=len(BODY), place=PLACE)
    assert store.read(found.sha256) == BODY
    again = fetch_unlocked(url, store=store, web=web, sha256=sha(BODY))
    assert again == found
    assert len(upstream.seen) == 1


def test_other_bytes_than_the_index_names_are_not_kept(
    upstream: Upstream, store: Store, web: Http
) -> None:
    url = upstream.put("/demo.tar.gz", BODY)
    with pytest.raises(DigestMismatch, match=r"demo\.tar\.gz") as caught:
        fetch_unlocked(url, store=store, web=web, sha256="0" * 64)
    assert sha(BODY) in caught.value.cause
    assert not list(store.blobs())


def test_passing_failures_are_tried_again(upstream: Upstream, store: Store, web: Http) -> None:
    url = upstream.put("/f", Reply(status=503), Reply(body=BODY, cut=9), BODY)
    assert fetch_unlocked(url, store=store, web=web, effort=QUICK).sha256 == sha(BODY)


@pytest.mark.parametrize(("status", "times"), [(404, 1), (503, 3)])
def test_failure_names_the_url_and_the_reason(
    upstream: Upstream, store: Store, web: Http, status: int, times: int
) -> None:
    url = upstream.put("/f", Reply(status=status)).replace("//", "//me:secret@")
    with pytest.raises(FetchFailed, match="/f could not be fetched") as caught:
        fetch_unlocked(url, store=store, web=web, effort=QUICK)
    assert f"HTTP {status}" in caught.value.cause
    assert "secret" not in f"{caught.value.as_json()}"
    assert upstream.count("/f") == times
    assert not list((store.root / "tmp").glob("*"))
