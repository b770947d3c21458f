"""A store and a port to the web, for tests of one module that needs both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvpack.tools.http import Http
from kvpack.tools.store import Store
from kvpack.tools.web import HttpSettings


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def web() -> Iterator[Http]:
    port = Http(HttpSettings(), environment={})
    yield port
    port.close()
