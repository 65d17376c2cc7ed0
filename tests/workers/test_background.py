"""Threads beside the workers of a process."""

import threading

from app.feed.cache import owed_checks
from tests.factories import Factory, eventually
from workers.background import run_sweep


def test_a_worker_sweeps(app, monkeypatch):
    monkeypatch.setattr(owed_checks, "OVERDUE_MS", 0)
    world = Factory()
    reader, author = world.people(2)
    world.follow(reader, author)
    owed_checks.push([reader], world.post(author), author)
    stopping = threading.Event()
    thread = threading.Thread(target=run_sweep, args=(app, None, stopping))

    thread.start()

    try:
        eventually(lambda: owed_checks.count() == 0, "the check was made", 10)
    finally:
        stopping.set()
        thread.join()
