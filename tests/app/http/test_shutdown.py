"""Calls of a process before it stops."""

import gc
from weakref import ref

from app.factory import create_app
from app.http import shutdown
from app.redis.client import close


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
