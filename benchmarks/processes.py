"""The service's processes as in production: gunicorn, and one dramatiq worker."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from app.settings import Settings
from local.managed_process import Process
from local.ports import answers, free_port

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
WORKER_THREADS = 4  # as in docker-compose.yml


@contextmanager
def web(settings: Settings, folder: Path, app: str = "wsgi:app") -> Iterator[str]:
    """gunicorn with gunicorn.conf.py, serving `app`. Yields its URL."""
    with web_process(settings, folder, app) as (url, _):
        yield url


@contextmanager
def web_process(settings: Settings, folder: Path, app: str = "wsgi:app") -> Iterator[tuple[str, Process]]:
    """Start the same. Yields its URL and its process."""
    settings = replace(settings, port=free_port())
    process = _start("web", ["gunicorn", app], settings, folder)
    try:
        process.wait_ready(lambda: answers(settings.port), START_SECONDS)
        yield f"http://127.0.0.1:{settings.port}", process
    finally:
        process.stop()


@contextmanager
def fastapi_process(settings: Settings, folder: Path) -> Iterator[tuple[str, Process]]:
    """Start benchmarks.fastapi_peer with as many processes as gunicorn. Yields its URL and its process."""
    settings = replace(settings, port=free_port())
    command = ["uvicorn", "benchmarks.fastapi_peer:app", "--port", str(settings.port), "--loop", "uvloop"]
    command += ["--no-proxy-headers", "--http", "httptools", "--workers", str(settings.web_workers)]
    command += [] if settings.log_level == "info" else ["--no-access-log"]
    process = _start("fastapi", command, settings, folder)
    try:
        process.wait_ready(lambda: answers(settings.port), START_SECONDS)
        yield f"http://127.0.0.1:{settings.port}", process
    finally:
        process.stop()


@contextmanager
def worker(settings: Settings, folder: Path, module: str = "benchmarks.worker") -> Iterator[Process]:
    """One worker process."""
    options = ["--processes", "1", "--threads", str(WORKER_THREADS)]
    settings = replace(settings, log_level="info")  # at which it says that it is ready
    process = _start("worker", ["dramatiq", module, *options], settings, folder)
    try:
        process.wait_ready(lambda: "ready for action" in process.output(), START_SECONDS)
        yield process
    finally:
        process.stop()


@contextmanager
def paused(process: Process) -> Iterator[None]:
    """Pause a worker and its forks within the block."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def _start(name: str, command: list[str], settings: Settings, folder: Path) -> Process:
    environ = {field.name.upper(): str(getattr(settings, field.name)) for field in fields(Settings)}
    log = folder / f"{name}-{settings.port}.log"
    return Process(name, [sys.executable, "-m", *command], log, folder=ROOT, environ=os.environ | environ)
