"""The service with a worker, and clients of live events."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from signal import SIGKILL
from typing import Any
from urllib.request import urlopen

import pytest

from app.auth.tokens import issue_token
from local.ports import free_port
from tests.conftest import RUN
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.tools.live import LiveReader
from tests.tools.processes import Web, start_worker


@pytest.fixture
def service(settings, app, folder, rabbitmq_url) -> Iterator[Callable[..., Web]]:
    """Starts gunicorn and a worker; keyword arguments replace settings."""
    namespace = f"lenta-live-{RUN}"
    with ExitStack() as at_end:

        def make(**changes: object) -> Web:
            Factory().events()  # of follows: a client would read its page again
            defaults = {"port": free_port(), "web_workers": 1, "broker_url": rabbitmq_url, "metrics_port": 0}
            changed = replace(settings, broker_namespace=namespace, **defaults | changes)
            at_end.callback(drop_queues, rabbitmq_url, namespace)
            at_end.callback(start_worker(changed, folder / f"live-worker-{RUN}.log").stop, SIGKILL)
            web = Web(changed, folder / f"live-{RUN}.log")
            at_end.callback(web.stop, SIGKILL)  # at once: that it stops in order is another test
            return web.wait()

        yield make


@pytest.fixture
def live() -> Iterator[Callable[..., LiveReader]]:
    """Connects a client, and waits until it is."""
    with ExitStack() as at_end:

        def connect(web: Web, user_id: int, **options: Any) -> LiveReader:
            reader = LiveReader(f"http://127.0.0.1:{web.port}", issue_token(user_id), **options)
            at_end.callback(reader.close)
            eventually(lambda: reader.is_connected, "the client is connected")
            return reader

        yield connect


def connections(web: Web) -> dict[str, int]:
    """The live connections of a web, by doors that have any."""
    found = re.findall(r'^lenta_live_connections\{door="(\w+)"\} (\S+)$', metrics_of(web), re.MULTILINE)
    return {door: int(float(number)) for door, number in found if float(number)}


def metrics_of(web: Web) -> str:
    """The page for Prometheus."""
    with urlopen(f"http://127.0.0.1:{web.port}/metrics", timeout=10) as response:
        return str(response.read().decode())
