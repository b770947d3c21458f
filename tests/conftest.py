"""Integration tests are opt-in; kvpack is tested as it is installed, not as it lies here."""

import os
from pathlib import Path

import pytest

import kvpack

CHECKOUT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-integration", action="store_true", help="real containers, real registries"
    )


def pytest_configure() -> None:
    """``ci/test`` sets the variable: there, the checkout's own files must not be what is tested."""
    if os.environ.get("KVPACK_TEST_INSTALLED") and Path(kvpack.__file__).is_relative_to(
        CHECKOUT / "kvpack"
    ):
        pytest.exit(f"kvpack comes from the checkout, not from its wheel: {kvpack.__file__}", 2)


def pytest_report_header() -> str:
    return f"kvpack under test: {Path(kvpack.__file__).parent}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave integration tests out unless they were asked for: deselected, not skipped."""
    if config.getoption("--run-integration"):
        return
    wanted = [item for item in items if item.get_closest_marker("integration") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
