"""The application of tests in which threads wait for each other: for locks, and for connections."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """Provide an application context that gives threads time, and a connection each."""
    app = make_app(database_lock_timeout_ms=30_000, database_pool_size=8)
    with app.app_context():
        yield app
