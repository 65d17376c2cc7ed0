"""The end of a process: what is called before it, and signals that come early."""

import gc
import signal
from dataclasses import replace
from queue import SimpleQueue
from weakref import ref

import pytest
from gunicorn.workers.ggevent import GeventWorker

from app.factory import create_app
from app.http import shutdown
from app.http.server import Worker
from app.redis.client import close
from local.ports import free_port
from tests.factories import eventually
from tests.tools.processes import Web


class Part:
    def __init__(self) -> None:
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


def test_a_part_is_told_that_its_process_stops():
    part = Part()
    shutdown.on_stop(part.stop)

    shutdown.stop()

    assert part.is_stopped


def test_a_part_that_is_not_used_any_more_is_not_kept():
    part = Part()
    shutdown.on_stop(part.stop)
    kept = ref(part)

    del part
    gc.collect()

    assert kept() is None


def test_an_application_that_is_not_used_any_more_is_not_kept(settings):
    application = create_app(settings)
    kept = ref(application)

    close(application)
    del application
    gc.collect()

    assert kept() is None


@pytest.mark.parametrize(
    ("queued", "goes_on"),
    [([], True), ([signal.SIGCHLD], True), ([signal.SIGTERM], False), ([signal.SIGCHLD, signal.SIGINT], False)],
)
def test_a_process_that_is_stopped_before_it_has_handlers_stops(monkeypatch, queued, goes_on):
    monkeypatch.setattr(GeventWorker, "init_signals", lambda _: None)
    worker = Worker.__new__(Worker)
    worker.alive, worker.queued_signals = True, SimpleQueue()
    for each in queued:
        worker.queued_signals.put(each)

    worker.init_signals()

    assert worker.alive == goes_on


def test_a_service_that_is_stopped_while_its_processes_start_ends_soon(make_app, tmp_path):
    settings = replace(make_app().extensions["settings"], port=free_port(), log_level="info", web_workers=4)
    for number in range(5):
        web = Web(settings, tmp_path / f"web-{number}.log")
        eventually(lambda web=web: "Booting worker" in web.log.read_text(), "the first process starts")

        assert web.stop(seconds=20) == 0  # far less than graceful_timeout
