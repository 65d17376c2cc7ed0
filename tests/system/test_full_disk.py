"""A disk without room, and logs that nothing reads: metrics and logs may stop, serving does not."""

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from app.posts import outbox
from local.ports import free_port
from tests.conftest import RUN, do_without
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.system.test_metrics import scrape, value
from tests.tools.processes import Process, Web, start_worker

ROUTE = "/health/live"
REQUESTS = 200


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        do_without(f"needs the right to mount a tmpfs: {done.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no room. Returns the file that takes it."""
    file = folder / "filling"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while True:
            os.write(descriptor, b"x" * 512)
    os.close(descriptor)
    return file


@pytest.fixture
def web(app: Flask, settings, tmp_path: Path, monkeypatch) -> Iterator[Callable[..., Web]]:
    started = []

    def start(temporary: Path, log: str = "web.log") -> Web:
        monkeypatch.setenv("TMPDIR", str(temporary))
        started.append(Web(replace(settings, port=free_port(), web_workers=2), tmp_path / log).wait())
        return started[-1]

    yield start
    for one in started:
        one.stop(signal.SIGKILL)


def ask(web: Web, number: int = REQUESTS) -> None:
    assert [web.get(ROUTE)[0] for _ in range(number)] == [200] * number


def counted(web: Web) -> float:
    return value(scrape(web.port), "lenta_http_requests_total", route=ROUTE)


def stale(port: int) -> float:
    return value(scrape(port), "lenta_scrape_errors", source="snapshots")


def test_the_web_serves_on_and_counts_again_when_there_is_room(disk, web):
    web = web(disk)
    ask(web)
    before = counted(web)
    processes = web.children()
    filling = fill(disk)

    ask(web)
    # A snapshot that was complete by then has replaced another, and has left its room.
    eventually(lambda: fill(disk) and stale(web.port) == 1, "nothing can be written")
    shown = counted(web)
    ask(web)
    assert counted(web) == shown
    assert web.children() == processes

    filling.unlink()
    assert shown >= before
    eventually(lambda: counted(web) >= before + 2 * REQUESTS, "everything is counted")
    assert stale(web.port) == 0


def test_the_web_replaces_its_processes_without_room(disk, web):
    web = web(disk)
    ask(web)
    before = counted(web)
    filling = fill(disk)
    dead, *_ = web.children()

    os.kill(dead, signal.SIGKILL)
    eventually(lambda: dead not in web.children() and len(web.children()) == 2, "another one is there")
    ask(web)
    replaced = set(web.children())
    web.send(signal.SIGHUP)
    eventually(lambda: not replaced & set(web.children()) and len(web.children()) == 2, "all are replaced")
    ask(web)

    assert counted(web) >= before
    filling.unlink()
    eventually(lambda: counted(web) >= before + REQUESTS, "it counts on from there")


@contextmanager
def no_file_grows(process: Process) -> Iterator[None]:
    """As on a full disk, the log included."""
    pids = [process.pid, *process.children()]
    limits = [resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)) for pid in pids]
    yield
    for pid, limit in zip(pids, limits, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


def test_the_web_serves_on_without_a_log(web, tmp_path):
    web = web(tmp_path)
    ask(web)
    before = counted(web)
    processes = web.children()

    with no_file_grows(web):
        ask(web)
        assert stale(web.port) == 1

    assert web.children() == processes
    eventually(lambda: counted(web) >= before + REQUESTS, "everything is counted")


def test_the_web_serves_on_while_nothing_reads_its_log(web, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)  # that never reads
    web = web(tmp_path, "pipe")

    ask(web, 800)

    web.stop(signal.SIGKILL)
    os.close(reader)


def test_a_worker_goes_on_without_a_log_or_metrics(settings, app, rabbitmq_url, tmp_path, monkeypatch):
    settings = replace(
        settings, broker_url=rabbitmq_url, broker_namespace=f"lenta-full-{RUN}", metrics_port=free_port()
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    world = Factory()
    author, reader = world.people(2)
    worker = start_worker(settings, tmp_path / "worker.log")
    eventually(lambda: answers(settings.metrics_port), "it shows metrics")

    with no_file_grows(worker):
        world.follow(reader, author)
        eventually(lambda: outbox.size() == 0, "the event has left the outbox")
        eventually(lambda: stale(settings.metrics_port) == 1, "the metrics stand still")
        eventually(lambda: world.feed(reader) == [0], "the feed is rebuilt")

    eventually(
        lambda: (
            value(scrape(settings.metrics_port), "lenta_messages_total", actor="follows_changed", result="done") > 0
        ),
        "the message is counted",
    )
    assert worker.stop() == 0
    drop_queues(settings.broker_url, settings.broker_namespace)


def answers(port: int) -> bool:
    try:
        return bool(scrape(port))
    except OSError:
        return False
