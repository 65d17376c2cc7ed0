"""Writes that share a transaction. Each has its own result, a failure reaches all, and no request waits for ever."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from dramatiq.threading import raise_thread_exception
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db import group_commit
from app.db.engine import is_unavailable
from app.db.group_commit import MAX_BATCH, GroupCommit
from tests.factories import eventually

DEADLINE = 30  # seconds
MANY = 10 * MAX_BATCH


class Interrupted(BaseException):
    """As a time limit of a thread or a greenlet."""


class Database:
    """Writes once it is let go on, and notes each transaction."""

    def __init__(self):
        self.transactions, self.failures = [], []
        self.is_free = threading.Event()

    def write(self, items):
        self.transactions.append(list(items))
        assert self.is_free.wait(DEADLINE)
        if self.failures:
            raise self.failures.pop()
        return [str(item) for item in items]


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Let no write be refused because this machine is slow."""
    monkeypatch.setattr(group_commit, "POOL_SECONDS", DEADLINE)


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def group(database):
    return GroupCommit(database.write, MANY)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(MANY) as pool:
        yield pool


def run_behind(group, database, threads, items):
    """Run the first item, and the others while it is under way. Returns the futures."""
    first, *others = items
    futures = [threads.submit(group.run, first)]
    eventually(lambda: database.transactions == [[first]], "the first is under way")
    for number, item in enumerate(others, 1):
        futures.append(threads.submit(group.run, item))
        eventually(lambda number=number: len(group._waiting) == number, "it waits")
    return futures


def test_writes_that_come_during_a_transaction_share_the_next(group, database, threads):
    futures = run_behind(group, database, threads, range(6))
    database.is_free.set()

    assert [future.result(DEADLINE) for future in futures] == ["0", "1", "2", "3", "4", "5"]
    assert database.transactions == [[0], [1, 2, 3, 4, 5]]


def test_a_transaction_is_bounded(group, database, threads):
    futures = run_behind(group, database, threads, range(2 * MAX_BATCH + 2))
    database.is_free.set()

    assert [future.result(DEADLINE) for future in futures] == [str(n) for n in range(2 * MAX_BATCH + 2)]
    assert [len(each) for each in database.transactions] == [1, MAX_BATCH, MAX_BATCH, 1]


def test_a_write_begins_at_once_where_none_is_under_way(group, database):
    database.is_free.set()

    assert [group.run(1), group.run(2)] == ["1", "2"]
    assert database.transactions == [[1], [2]]


def test_a_failure_reaches_all_of_its_transaction_and_no_other(group, database, threads):
    first, *shared = run_behind(group, database, threads, range(3))
    late = OperationalError("INSERT", {}, Exception("gone"), connection_invalidated=True)
    database.failures = [late, OperationalError("INSERT", {}, Exception("refused"))]
    database.is_free.set()

    failures = [future.exception(DEADLINE) for future in (first, *shared)]
    assert ["refused" in str(failures[0]), *("gone" in str(failure) for failure in failures[1:])] == [True] * 3
    assert all(is_unavailable(failure) for failure in failures)
    assert failures[1] is not failures[2]
    assert failures[2].__cause__ is late  # with the place in the code
    assert group.run(4) == "4"


def test_where_too_many_wait_one_more_is_refused(database, threads):
    group = GroupCommit(database.write, max_waiting=2)
    futures = run_behind(group, database, threads, range(3))

    with pytest.raises(PoolTimeout, match="2 writes are waiting"):
        group.run(3)

    database.is_free.set()
    assert [future.result(DEADLINE) for future in futures] == ["0", "1", "2"]


def test_a_write_that_waits_too_long_is_refused_and_not_written(group, database, threads, monkeypatch):
    [first] = run_behind(group, database, threads, [0])
    monkeypatch.setattr(group_commit, "POOL_SECONDS", 0.01)

    with pytest.raises(PoolTimeout, match="took more than"):
        group.run(1)

    database.is_free.set()
    assert first.result(DEADLINE) == "0"
    assert group.run(2) == "2"
    assert database.transactions == [[0], [2]]


def test_a_write_under_way_is_waited_for_however_long_it_takes(group):
    class Late(threading.Event):
        """Is set only after the first wait has become too long."""

        def wait(self, timeout=None):
            if timeout is None:
                self.set()
            return super().wait(0)

    under_way = group_commit._Write(1)
    under_way.woken = Late()

    group._wait(under_way)

    assert under_way.woken.is_set()


def test_an_interrupted_leader_fails_its_transaction_and_hands_the_lead_over(group, database, threads):
    futures = run_behind(group, database, threads, range(2))
    database.failures = [Interrupted()]
    database.is_free.set()

    assert isinstance(futures[0].exception(DEADLINE), Interrupted)
    assert futures[1].result(DEADLINE) == "1"


def test_all_others_of_an_interrupted_transaction_fail(group, database, threads):
    futures = run_behind(group, database, threads, range(3))
    database.failures = [Interrupted(), OperationalError("INSERT", {}, Exception("first"))]
    database.is_free.set()

    failures = [future.exception(DEADLINE) for future in futures]
    assert [type(failure) for failure in failures] == [OperationalError, Interrupted, PoolTimeout]


def test_a_leader_interrupted_before_its_transaction_takes_its_write_back(group, database, threads):
    idents = []

    def run():
        idents.append(threading.get_ident())
        return group.run("interrupted")

    [first] = run_behind(group, database, threads, [0])
    interrupted = threads.submit(run)
    eventually(lambda: len(group._waiting) == 1, "it waits")
    last = threads.submit(group.run, 2)
    eventually(lambda: len(group._waiting) == 2, "both wait")
    raise_thread_exception(idents[0], Interrupted)  # takes effect when the wait ends
    database.is_free.set()

    assert first.result(DEADLINE) == "0"
    assert isinstance(interrupted.exception(DEADLINE), Interrupted)
    assert last.result(DEADLINE) == "2"
    assert database.transactions == [[0], [2]]
