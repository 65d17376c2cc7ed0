"""Adds up the metrics of a service's processes, so that one scrape shows all.

Each process counts in memory. Every second, and before each scrape, it writes a snapshot to the folder of its service;
a scrape returns the sum of all snapshots. If a snapshot cannot be written, metrics are stale but serving continues.
Files are not memory-mapped: the kernel kills a process that writes to a mapped page of a full disk.

    $TMPDIR/lenta-metrics-<parent>/     the parent of all processes of the service
        <process>.json                  a snapshot
        ended.json                      the sum of the snapshots of ended processes, and the names of the last ones

Counters never decrease, because only written snapshots are exposed, and each process counts exactly once: a snapshot is
removed after `ended.json` includes it, and `ended.json`, with the names it includes, is read last.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.registry import Collector

from app.native import run_natively
from app.observability.processes import is_process_name, is_running

ENDED = "ended"
KEPT_NAMES = 100  # in ended.json; if more processes end during a scrape, it may count one twice

log = logging.getLogger(__name__)


class Snapshots(Collector):
    """The snapshots of a service in `folder`. This process, called `name`, writes the metrics of `registry`."""

    def __init__(self, folder: Path, name: str, registry: Collector) -> None:
        self.folder, self.name, self._registry = folder, name, registry
        self.is_failing = False  # the last snapshot could not be written
        self._lock = threading.Lock()
        self._written = ""
        self._known: dict[str, Any] = {}  # last content by name: the folder may be emptied from outside

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not write

    def collect(self) -> Iterable[Metric]:
        """Add up all processes, including ended ones. Raises OSError if a snapshot cannot be read."""
        self.write()
        with self._lock:
            return _total(run_natively(self._read_all))

    def write(self) -> None:
        """Write the metrics of this process, unless they are unchanged."""
        with self._lock:
            text = json.dumps({"families": [_to_json(metric) for metric in self._registry.collect()]})
            try:
                run_natively(partial(self._update, text))
            except OSError as error:
                if not self.is_failing:
                    log.warning("metrics are stale until they can be written: %s", error)
                self.is_failing = True
            else:
                self._written, self.is_failing = text, False

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _update(self, text: str) -> None:
        if text != self._written or not self._path(self.name).exists():
            self._replace(self.name, text)

    def _replace(self, name: str, text: str) -> None:
        """Write a file atomically."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.is_symlink() or self.folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{self.folder} belongs to another user")
        unfinished = self.folder / f"{name}.tmp"
        try:
            unfinished.write_text(text)
            unfinished.replace(self._path(name))
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def _read(self, name: str) -> Any:
        """Read a file. If it was removed from outside, return its last content."""
        try:
            return json.loads(self._path(name).read_text())
        except (FileNotFoundError, ValueError):  # ValueError: empty after a crash of the machine
            return self._known.get(name, {}) if name == ENDED or is_running(name) else {}

    def _read_all(self) -> list[Any]:
        """Read all files, each process once."""
        with suppress(OSError):
            self._merge_ended()
        names = {path.stem for path in self.folder.glob("*.json")} | self._known.keys()
        found = {name: self._read(name) for name in names - {ENDED}}
        ended = self._read(ENDED)
        counted = {name: content for name, content in found.items() if content and name not in _names(ended)}
        self._known = counted | {ENDED: ended}
        return list(self._known.values())

    def _merge_ended(self) -> None:
        """Move the snapshots of ended processes into `ended.json`. Raises OSError if that fails."""
        with self._exclusively():
            ended = self._read(ENDED)
            left = [path for path in self.folder.iterdir() if is_process_name(path.stem) and not is_running(path.stem)]
            new = {path.stem: self._read(path.stem) for path in left if path.suffix == ".json"}
            new = {name: content for name, content in new.items() if name not in _names(ended)}
            if new or (ended and not self._path(ENDED).exists()):
                totals = _total([ended, *new.values()])
                families = [_to_json(metric) for metric in totals if metric.type != "gauge"]  # what ended has none
                names = [*_names(ended), *new][-KEPT_NAMES:]
                self._replace(ENDED, json.dumps({"families": families, "names": names}))
            for path in left:
                path.unlink()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Lock the folder against other merges. Raises BlockingIOError if it is locked."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(folder)


def _names(ended: Any) -> list[str]:
    names: list[str] = ended.get("names", [])
    return names


def _to_json(metric: Metric) -> list[Any]:
    samples = [[sample.name, sample.labels, sample.value] for sample in metric.samples]
    return [metric.name, metric.type, metric.documentation, samples]


def _total(contents: Iterable[Any]) -> list[Metric]:
    """Add up samples with the same name and labels."""
    totals: dict[tuple[str, str], tuple[str, dict[Any, float]]] = {}
    for name, type_, help_, samples in (family for content in contents for family in content.get("families", ())):
        _, values = totals.setdefault((name, type_), (help_, {}))
        for sample, labels, value in samples:
            key = (sample, tuple(labels.items()))
            values[key] = values.get(key, 0.0) + value
    families = []
    for (name, type_), (help_, values) in totals.items():
        families.append(Metric(name, help_, type_))
        for (sample, labels), value in values.items():
            families[-1].add_sample(sample, dict(labels), value)
    return families
