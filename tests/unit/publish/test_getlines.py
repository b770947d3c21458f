"""Which places the emitted lines ask, and what they say of the others."""

from pathlib import Path

import pytest

from kvpack.fetch.config import load
from kvpack.publish.getlines import Lines, addresses, dockerfile, shell
from kvpack.publish.getspec import of_release
from tests.unit.cli.face import Place
from tests.unit.publish.made import release

PUBLIC = {
    "s3://wheels/prod/": "https://wheels.example",
    "s3://wheels": "https://all.example/bucket/",
    "file:///srv/wheels": "https://srv.example",
}


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("s3://wheels/prod", "https://wheels.example"),
        ("s3://wheels/prod/eu", "https://wheels.example/eu"),
        ("s3://wheels/test", "https://all.example/bucket/test"),
        ("s3://wheels/production", "https://all.example/bucket/production"),
        ("file:///srv/wheels", "https://srv.example"),
        ("file:///other", "file:///other"),
        ("http://host/x", "http://host/x"),
        ("s3://wheels-eu/prod", None),
        ("gs://wheels/prod", None),
    ],
)
def test_the_public_address_of_a_place(place: str, address: str | None) -> None:
    usable, left_out = addresses([place], PUBLIC)
    assert usable == ([address] if address else [])
    assert len(left_out) == (0 if address else 1)
    if address is None:
        assert left_out[0].startswith(f"{place}: curl cannot ask {place[:2]}://")


@pytest.mark.parametrize("write", [shell, dockerfile])
def test_what_is_left_out_is_a_comment_of_the_lines(write: object) -> None:
    usable, left_out = addresses(["s3://a/b", "https://host/x", "s3://wheels/prod"], PUBLIC)
    assert callable(write)
    text = write(
        Lines(
            places=usable, offers=of_release(release("demo-a==1.0").release), patience=1, whole=9,
            slowest=10, command="kvpack get", left_out=left_out,
        )
    )  # fmt: skip
    (line,) = [line for line in text.splitlines() if "s3://" in line]
    assert line.startswith("# Left out: s3://a/b: curl cannot ask s3://")
    assert "[mirrors.public]" in line
    assert "https://host/x https://wheels.example" in text


@pytest.mark.parametrize(
    "text",
    [
        '"s3://user:secret@wheels" = "https://host"',
        '"s3://wheels" = "https://user:secret@host"',
        '"s3://wheels" = "s3://other"',
        '"wheels" = "https://host"',
    ],
)
def test_addresses_that_are_refused(place: Place, text: str) -> None:
    (place.root / "kvpack.toml").write_text(f"[mirrors.public]\n{text}\n")
    answer = place.run("get", "--emit", "shell")
    assert answer.code == 13
    assert "both without credentials" in answer.err
    assert "secret" not in answer.err


def test_a_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "kvpack.toml").write_text('[mirrors.public]\n"s3://a/b" = "https://host/x"\n')
    assert load(tmp_path).mirrors.public == {"s3://a/b": "https://host/x"}
