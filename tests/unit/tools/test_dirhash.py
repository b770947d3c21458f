"""Digests of go.sum, held to what Go itself wrote for the stand-ins' modules."""

import zipfile
from pathlib import Path

import pytest

from kvpack.errors import ArchiveUnsafe
from kvpack.tools.dirhash import hash1, hash_mod, hash_zip
from tests.goproxy import MODULES, module_zip, standin_modules
from tests.standins.make import HERE

GO_SUM = HERE / "mooncake" / "0.3.14" / "mooncake-common" / "etcd" / "go.sum"
"""Written by ``go mod tidy`` of Go 1.26.6."""


def test_they_are_what_go_writes(tmp_path: Path) -> None:
    lines = []
    files = standin_modules()
    for module, version in MODULES.values():
        place = next(p for p in files if p.lower().replace("!", "").startswith(module.lower()))
        for end, mark in (("zip", ""), ("mod", "/go.mod")):
            path = tmp_path / end
            path.write_bytes(files[f"{place.rpartition('.')[0]}.{end}"])
            h1 = hash_zip(path, name="x") if end == "zip" else hash_mod(path)
            lines.append(f"{module} {version}{mark} {h1}")
    assert sorted(lines) == sorted(GO_SUM.read_text().splitlines())


def test_how_a_zip_is_packed_does_not_count(tmp_path: Path) -> None:
    files = {"b.go": b"package b\n", "a/a.go": b"package a\n", "B.go": b""}
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(module_zip("example.test/m", "v1.0.0", files))
    with zipfile.ZipFile(second, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"example.test/m@v1.0.0/{name}", data)
    assert first.read_bytes() != second.read_bytes()
    assert hash_zip(first, name="x") == hash_zip(second, name="x")
    with zipfile.ZipFile(second, "a") as archive:
        archive.writestr("example.test/m@v1.0.0/c/", b"")
    assert hash_zip(first, name="x") != hash_zip(second, name="x")


def test_an_empty_tree_and_the_order_of_names() -> None:
    assert hash1([]) == "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="  # sha256 of nothing
    one, two = ("a", "0" * 64), ("B", "1" * 64)
    assert hash1([one, two]) == hash1([two, one]) != hash1([one])


@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\x03\x04cut"])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    with pytest.raises(ArchiveUnsafe):
        hash_zip(path, name="x.zip")
