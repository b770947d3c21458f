from pathlib import Path

import pytest
from pydantic import ValidationError

from kvpack.errors import ConfigInvalid
from kvpack.fetch.config import Config, load
from kvpack.fetch.model import Wanted

GOOD = {
    "registry": "pypi",
    "place": "packages/ab/x.whl",
    "filename": "x.whl",
    "sha256": "0" * 64,
    "project": "x",
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"registry": "debian", "place": "pool/main/x++/x_1~rc_all.deb", "project": None},
        {"registry": "url", "place": "https://h.invalid/x?y=1", "project": None, "size": 3},
    ],
    ids=["pypi", "debian", "url"],
)
def test_good_values(change: dict[str, object]) -> None:
    wanted = Wanted.model_validate({**GOOD, **change})
    assert Wanted.model_validate(wanted.as_json()) == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": "/packages/x.whl"}, "no place below"),
        ({"place": "packages/../../x.whl"}, "no place below"),
        ({"place": "https://h.invalid/x.whl"}, "no place below"),
        ({"place": "packages/a b.whl"}, "a space"),
        ({"filename": "a/b.whl"}, "a space"),
        ({"registry": "url", "place": "gopher://h/x"}, "no http"),
        ({"registry": "npm"}, "Input should be"),
        ({"project": None}, "names no project"),
        ({"sha256": "0" * 63}, "pattern"),
        ({"size": -1}, "has the size"),
        ({"host": "h"}, "Extra inputs"),
    ],
)
def test_bad_values(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Wanted.model_validate({**GOOD, **change})


def test_no_kvpack_toml_is_an_empty_one(tmp_path: Path) -> None:
    assert load(tmp_path) == Config()


def test_kvpack_toml(tmp_path: Path) -> None:
    (tmp_path / "kvpack.toml").write_text(
        '[registries.pypi]\nindex = "https://h.invalid/simple"\nfiles = ["file:///srv"]\n'
        '[registries.debian]\nmirrors = ["http://h.invalid:8/debian/"]\n'
    )
    registries = load(tmp_path).registries
    assert registries.pypi.index == "https://h.invalid/simple"
    assert registries.pypi.files == ("file:///srv",)
    assert registries.debian.mirrors == ("http://h.invalid:8/debian/",)


def test_all_faults_of_kvpack_toml_at_once(tmp_path: Path) -> None:
    (tmp_path / "kvpack.toml").write_text(
        '[registries.pypi]\nindx = "https://h.invalid/s"\nfiles = ["h.invalid"]\n'
        "[registries.debian]\nmirrors = 3\n[registry]\n"
    )
    with pytest.raises(ConfigInvalid, match="4 faults") as caught:
        load(tmp_path)
    faults = {
        fault.place.partition(": ")[2]: (fault.message, fault.hint) for fault in caught.value.faults
    }
    assert faults["registries.pypi.indx"] == ("unknown key 'indx'", "did you mean 'index'?")
    assert faults["registries.pypi.files.0"][0] == "not an http, https or file URL"
    assert faults["registries.debian.mirrors"] == ("must be a list", "write it in brackets")
    assert faults["registry"][1] == "did you mean 'registries'?"


@pytest.mark.parametrize("data", [b"[registries", b"\xff\xfe"], ids=["toml", "utf-8"])
def test_a_kvpack_toml_that_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "kvpack.toml").write_bytes(data)
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path)
    assert len(caught.value.faults) == 1
