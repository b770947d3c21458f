from pathlib import Path

import pytest

from tests.unit.cli.face import Place


@pytest.fixture
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Place:
    found = Place(tmp_path, capsys)
    monkeypatch.chdir(found.root)
    return found
