"""A remembered verdict counts only under the rules that gave it."""

import hashlib
import shutil
from importlib import resources
from pathlib import Path

import auditwheel
import pytest

import kvpack.audit
from kvpack.audit import rules

PACKAGE = Path(str(kvpack.audit.__file__)).parent
FILES = sorted(path.name for path in PACKAGE.iterdir() if path.suffix in {".py", ".toml"})
TABLE = "policy/manylinux-policy.json"


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The two packages as they are, to be changed."""
    found = {"kvpack.audit": tmp_path / "audit", "auditwheel": tmp_path / "auditwheel"}
    shutil.copytree(PACKAGE, found["kvpack.audit"])
    (found["auditwheel"] / "policy").mkdir(parents=True)
    shutil.copyfile(Path(auditwheel.__file__).parent / TABLE, found["auditwheel"] / TABLE)
    monkeypatch.setattr(resources, "files", found.__getitem__)
    return found


def test_the_digest_is_that_of_the_files(copies: dict[str, Path]) -> None:
    expected = hashlib.sha256()
    for name in FILES:
        expected.update(name.encode() + b"\0" + (PACKAGE / name).read_bytes())
    expected.update((copies["auditwheel"] / TABLE).read_bytes())
    assert rules.rules_digest() == expected.hexdigest()
    assert any(name.endswith(".toml") for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_it_changes_with_every_file_of_the_audit(copies: dict[str, Path], name: str) -> None:
    before = rules.rules_digest()
    with (copies["kvpack.audit"] / name).open("ab") as stream:
        stream.write(b"\n")
    assert rules.rules_digest() != before


def test_it_changes_with_auditwheels_table(copies: dict[str, Path]) -> None:
    before = rules.rules_digest()
    with (copies["auditwheel"] / TABLE).open("ab") as stream:
        stream.write(b"\n")
    assert rules.rules_digest() != before


def test_it_changes_with_a_file_that_is_new_or_renamed(copies: dict[str, Path]) -> None:
    before = rules.rules_digest()
    (copies["kvpack.audit"] / "smoke.py").rename(copies["kvpack.audit"] / "smoke2.py")
    assert rules.rules_digest() != before
    (copies["kvpack.audit"] / "smoke2.py").rename(copies["kvpack.audit"] / "smoke.py")
    assert rules.rules_digest() == before
    (copies["kvpack.audit"] / "new.py").touch()
    assert rules.rules_digest() != before


def test_what_python_compiled_does_not_count(copies: dict[str, Path]) -> None:
    before = rules.rules_digest()
    (copies["kvpack.audit"] / "__pycache__").mkdir(exist_ok=True)
    (copies["kvpack.audit"] / "__pycache__" / "x.pyc").touch()
    assert rules.rules_digest() == before
