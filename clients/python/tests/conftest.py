from collections.abc import Iterator

import pytest

from ground import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server whose time stands still until a test moves it."""
    with Server("--test-clock") as running:
        yield running


@pytest.fixture(scope="session")
def real_time() -> Iterator[Server]:
    """A server on real time, shared by tests that only add to it."""
    with Server() as running:
        yield running
