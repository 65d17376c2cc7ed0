"""Threads beside the workers of a process."""

import threading

from app.feed.cache import owed_checks
from tests.factories import Factory, eventually
from workers.background import BackgroundTasks, run_sweep


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


def test_no_thread_outlives_the_workers_of_its_process(app, monkeypatch):
    slowest, threads = threading.Lock(), []

    def run(_app, _broker, stopping):
        threads.append(threading.current_thread())
        is_slow = slowest.acquire(blocking=False)
        stopping.wait()
        threading.Event().wait(0.3 if is_slow else 0)

    monkeypatch.setattr(BackgroundTasks, "tasks", (run,))
    background = BackgroundTasks(app)
    background.after_worker_boot(None, None)
    eventually(slowest.locked, "the first has begun")
    background.after_worker_boot(None, None)
    eventually(lambda: len(threads) == 2, "the second has begun")

    background.before_worker_shutdown(None, None)

    assert [thread for thread in threads if thread.is_alive()] == []
