"""Snapshots of metrics: their sum, also while processes end and the folder is full or gone."""

import os
import resource
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from app.observability.processes import identify
from app.observability.snapshots import ENDED, Snapshots
from tests.factories import eventually


class Sibling:
    """A process of the service, as long as it sleeps; its counters are here."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(["sleep", "600"])
        registry = CollectorRegistry()
        self.reads = Counter("reads", "Reads", ["source"], registry=registry)
        self.seconds = Histogram("seconds", "Seconds", buckets=(1, 2), registry=registry)
        self.snapshots = Snapshots(folder, identify(self._process.pid), registry)
        self.file = folder / f"{self.snapshots.name}.json"

    def read(self, number: int = 1) -> None:
        self.reads.labels("cache").inc(number)
        self.snapshots.write()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def shown(self) -> dict[str, float]:
        """The values that this process shows, by name and labels."""
        samples = [sample for metric in self.snapshots.collect() for sample in metric.samples]
        return {" ".join([sample.name, *sample.labels.values()]): sample.value for sample in samples}

    def total(self) -> float:
        return self.shown()["reads_total cache"]


@pytest.fixture
def service(tmp_path):
    """Makes processes of one service."""
    siblings = []

    def make(number=1):
        siblings.extend(Sibling(tmp_path / "folder") for _ in range(number))
        return siblings[-number:]

    yield make
    for sibling in siblings:
        sibling.end()


@contextmanager
def no_room():
    """No file can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- the sum -----------------------------------------------------------------------------------------------


def test_every_process_shows_the_sum_of_all(service):
    first, second = service(2)
    first.read(2)
    second.read(3)
    first.seconds.observe(0.5)
    second.seconds.observe(1.5)
    first.snapshots.write()
    second.snapshots.write()

    assert first.shown() == second.shown()
    assert first.shown() == {
        "reads_total cache": 5,
        "seconds_bucket 1.0": 1,
        "seconds_bucket 2.0": 2,
        "seconds_bucket +Inf": 2,
        "seconds_count": 2,
        "seconds_sum": 2,
    }


def test_what_one_process_has_shown_the_others_show_at_once(service):
    first, second = service(2)

    for number in range(1, 10):
        first.reads.labels("cache").inc()
        assert first.total() == second.total() == number


# --- processes that end ------------------------------------------------------------------------------------


def test_what_an_ended_process_counted_is_kept_and_its_file_removed(service, tmp_path):
    first, *others = service(4)
    for sibling in others:
        sibling.read()
    first.read()

    for sibling in others:
        sibling.end()

    assert first.total() == 4
    assert {file.stem for file in (tmp_path / "folder").iterdir()} == {first.snapshots.name, ENDED}
    assert first.total() == 4


def test_a_merge_that_was_interrupted_counts_nothing_twice(service):
    first, second = service(2)
    first.read()
    second.read(2)
    before = second.file.read_text()
    second.end()
    first.snapshots.collect()

    second.file.write_text(before)  # as if the first had died before removing it

    assert first.total() == 3
    assert not second.file.exists()


def test_a_file_that_was_left_half_written_is_removed(service):
    first, second = service(2)
    first.read()
    second.read()
    second.end()
    left = second.file.with_suffix(".tmp")
    left.write_text("{")

    assert first.total() == 2
    assert not left.exists()


def test_the_sum_stays_the_same_while_processes_end_and_others_look(service):
    first, second, *others = service(40)
    for sibling in (first, second, *others):
        sibling.read()
    wrong, done = [], threading.Event()

    def look(sibling):
        while not done.is_set():
            if sibling.total() != 40:
                wrong.append(sibling.shown())

    threads = [threading.Thread(target=look, args=(sibling,)) for sibling in (first, second)]
    for thread in threads:
        thread.start()
    for sibling in others:
        sibling.end()
    eventually(lambda: not any(sibling.file.exists() for sibling in others), "all are merged")
    done.set()
    for thread in threads:
        thread.join()

    assert wrong == []


# --- a folder that is full, gone, or not ours ----------------------------------------------------------------


def test_without_room_the_metrics_stand_still_and_go_on_when_there_is_some(service, caplog):
    first, second = service(2)
    first.read()
    second.read()

    with no_room():
        for _ in range(3):
            first.read()
        stale = first.total(), second.total()

    assert stale == (2, 2)
    assert first.snapshots.is_failing
    assert len(caplog.records) == 1
    assert first.total() == second.total() == 5
    assert not first.snapshots.is_failing


def test_without_room_nothing_of_an_ended_process_is_lost(service):
    first, second = service(2)
    first.read()
    second.read(2)
    second.end()

    with no_room():
        stale = first.total()

    assert stale == 3
    assert second.file.exists()
    assert first.total() == 3
    assert not second.file.exists()


def test_a_folder_that_was_removed_costs_nothing_that_was_counted(service, tmp_path):
    first, second, third = service(3)
    first.read()
    second.read(2)
    third.read(4)
    third.end()
    assert first.total() == 7

    shutil.rmtree(tmp_path / "folder")

    assert first.total() == 7
    second.read()
    assert first.total() == second.total() == 8


def test_a_file_that_cannot_be_parsed_counts_as_none(service):
    first, second = service(2)
    first.read()
    second.read()
    second.file.write_text("")
    second.end()

    assert first.total() == 1
    assert not second.file.exists()


def test_nothing_is_written_through_a_link(service, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    [sibling] = service()

    sibling.read()

    assert sibling.snapshots.is_failing
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_folder_is_closed_to_other_users(service, tmp_path):
    [sibling] = service()

    sibling.read()

    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def test_nothing_is_mapped_into_memory_whatever_the_environment_says(tmp_path):
    code = "from app.observability.metrics import REBUILDS; REBUILDS.labels('done').inc()"

    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    )

    assert list(tmp_path.iterdir()) == []
