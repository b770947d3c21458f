"""Locking against the real registries: complete, stable, and only what is asked for moves."""

from pathlib import Path

import pytest

from tests.integration.conftest import Kvpack

pytestmark = pytest.mark.integration


def narrow(kvpack: Kvpack) -> Path:
    """Only msgpack on one root, so that a lock takes seconds."""
    for path in (kvpack.root / "recipes").glob("*.toml"):
        if path.stem != "msgpack":
            path.unlink()
    recipe = kvpack.root / "recipes" / "msgpack.toml"
    text = recipe.read_text().replace('["3.11", "3.13"]', '["3.11"]')
    recipe.write_text(text.replace('["2.36", "2.41"]', '["2.36"]\narch = ["x86_64"]'))
    lock = kvpack.root / "lock" / "msgpack.toml"
    lock.unlink()
    return lock


def test_lock_is_stable_and_upgrade_moves_one_input(kvpack: Kvpack, tmp_path: Path) -> None:
    lock = narrow(kvpack)
    kvpack("lock").ok()
    first = lock.read_bytes()
    assert kvpack("--json", "lock").ok().json["recipes"][0]["written"] is False
    kvpack("--offline", "lock", "--check").ok()

    recipe = kvpack.root / "recipes" / "msgpack.toml"
    recipe.write_text(
        recipe.read_text() + '\n[build]\nrequires = ["packaging<26", "setuptools<80"]\n'
    )
    drifted = kvpack("lock", "--check")
    assert drifted.code == 21
    assert "packaging<26" in drifted.err
    kvpack("lock").ok()
    recipe.write_text(
        recipe.read_text().replace('"packaging<26", "setuptools<80"', '"packaging", "setuptools"')
    )
    held = kvpack("--json", "lock").ok().json["recipes"][0]
    assert held["changes"] == []
    moved = kvpack("--json", "lock", "--upgrade", "packaging").ok().json["recipes"][0]["changes"]
    assert {change["name"].split()[-1] for change in moved} == {"packaging"}
    old = tmp_path / "old.toml"
    old.write_bytes(first)
    told = kvpack("--json", "diff", str(old), "msgpack").ok().json
    assert told["changes"]
    assert [row["target"] for row in told["rebuilds"]] == [
        "msgpack 1.2.4 cp311-manylinux_2_36_x86_64-cpu"
    ]
    unknown = kvpack("lock", "--upgrade", "packagin")
    assert unknown.code == 23


def test_a_requirement_that_nothing_satisfies(kvpack: Kvpack) -> None:
    lock = narrow(kvpack)
    recipe = kvpack.root / "recipes" / "msgpack.toml"
    recipe.write_text(recipe.read_text() + '\n[build]\nrequires = ["packaging>9999"]\n')
    failed = kvpack("lock")
    assert failed.code == 23
    assert "packaging>9999" in failed.err
    assert not lock.exists()


def test_a_debian_package_that_does_not_exist(kvpack: Kvpack) -> None:
    lock = narrow(kvpack)
    recipe = kvpack.root / "recipes" / "msgpack.toml"
    recipe.write_text(recipe.read_text() + '\n[build]\ndebian = ["libibverbz-dev"]\n')
    failed = kvpack("lock")
    assert failed.code == 23
    assert "libibverbz-dev" in failed.err
    assert not lock.exists()
