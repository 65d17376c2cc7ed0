"""Metrics of the service that this process belongs to: gunicorn's workers, or those of one `dramatiq`.

Commands and tests do not join a service, and expose only their own metrics.
"""

import logging
import os
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import sleep

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from app.observability import metrics
from app.observability.processes import identify, is_process_name, is_running
from app.observability.snapshots import Snapshots

PREFIX = "lenta-metrics-"  # of a service's folder, followed by its parent process
WRITE_SECONDS = 1.0

log = logging.getLogger(__name__)

_snapshots: Snapshots | None = None


def join() -> None:
    """Join the service of the parent process, and write a snapshot every second."""
    global _snapshots
    temporary = Path(os.environ.get("TMPDIR") or "/tmp")  # tempfile picks another folder when it is full
    _remove_left(temporary)
    folder = temporary / f"{PREFIX}{identify(os.getppid())}"
    _snapshots = Snapshots(folder, identify(os.getpid()), metrics.OwnMetrics())
    threading.Thread(target=_write_forever, name="metrics", daemon=True).start()


def write() -> None:
    """Write a last snapshot before this process ends."""
    if _snapshots:
        _snapshots.write()


def registry(*more: Collector) -> CollectorRegistry:
    """Return the registry to expose to Prometheus."""
    whole = CollectorRegistry()
    for collector in (_snapshots or metrics.OwnMetrics(), *more):
        whole.register(collector)
    return whole


def errors() -> dict[tuple[str, ...], float]:
    """Return values of SCRAPE_ERRORS: 1 while this process cannot write snapshots and metrics are stale."""
    return {("snapshots",): float(_snapshots is not None and _snapshots.is_failing)}


class SnapshotErrors(Collector):
    """Exposes `errors` in services without other shared gauges."""

    def collect(self) -> Iterable[Metric]:
        return [metrics.SCRAPE_ERRORS.family(errors())]


def _write_forever() -> None:
    while True:
        sleep(WRITE_SECONDS)
        try:
            write()
        except Exception:
            log.exception("cannot write a snapshot of the metrics")


def _remove_left(temporary: Path) -> None:
    """Remove the folders of services that have ended."""
    with suppress(OSError):
        for folder in temporary.glob(f"{PREFIX}*"):
            name = folder.name.removeprefix(PREFIX)
            if is_process_name(name) and not is_running(name) and folder.lstat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
