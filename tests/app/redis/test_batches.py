"""Commands of many greenlets that share a round trip. No reply goes to another caller, no caller waits for ever."""

import gevent
import pytest
import redis

from app.redis.batches import MAX_BATCH, Batches
from app.redis.pool import Pool

DEADLINE = 30  # seconds


class CountingPool(Pool):
    """Counts round trips, and fails when it is told to."""

    def reset(self):
        self.sizes = []
        self.error = None
        super().reset()

    def execute_all(self, commands):
        self.sizes.append(len(commands))
        if self.error:
            raise self.error
        return super().execute_all(commands)


@pytest.fixture
def pool(redis_server_url):
    made = CountingPool.from_url(redis_server_url, socket_timeout=20)
    yield made
    made.disconnect()


@pytest.fixture
def batches(pool):
    return Batches(pool)


def run(batches, commands):
    """Run each command in a greenlet, and return the greenlets once all have ended."""
    greenlets = [gevent.spawn(batches.execute, command) for command in commands]
    gevent.joinall(greenlets, timeout=DEADLINE)
    assert all(greenlet.ready() for greenlet in greenlets), "a caller waits for ever"
    return greenlets


def test_what_is_asked_in_one_turn_goes_in_one_round_trip(batches, pool):
    replies = [greenlet.get() for greenlet in run(batches, [["ECHO", str(n)] for n in range(10)])]

    assert replies == [str(n).encode() for n in range(10)]
    assert pool.sizes == [10]


def test_a_batch_is_bounded(batches, pool):
    number = 2 * MAX_BATCH + 1

    replies = [greenlet.get() for greenlet in run(batches, [["ECHO", str(n)] for n in range(number)])]

    assert replies == [str(n).encode() for n in range(number)]
    assert sorted(pool.sizes) == [1, MAX_BATCH, MAX_BATCH]


def test_a_command_that_cannot_be_sent_fails_alone(batches, pool):
    first, wrong, last = run(batches, [["ECHO", "first"], ["ECHO", None], ["ECHO", "last"]])

    assert (first.get(), last.get()) == (b"first", b"last")
    assert isinstance(wrong.exception, redis.DataError)


def test_what_is_asked_later_goes_later(batches, pool):
    assert [batches.execute(["ECHO", str(n)]) for n in range(3)] == [b"0", b"1", b"2"]
    assert pool.sizes == [1, 1, 1]


def test_a_command_that_redis_refuses_fails_alone(batches):
    first, refused, last = run(batches, [["ECHO", "first"], ["NONESUCH"], ["ECHO", "last"]])

    assert (first.get(), last.get()) == (b"first", b"last")
    with pytest.raises(redis.ResponseError):
        refused.get()


def test_without_redis_every_caller_is_told(batches, pool):
    pool.error = redis.ConnectionError("gone")

    errors = [greenlet.exception for greenlet in run(batches, [["PING"]] * 3)]

    assert [(type(error), str(error)) for error in errors] == [(redis.ConnectionError, "gone")] * 3
    assert len(set(map(id, errors))) == 3  # one for each, as each takes a traceback
    pool.error = None
    assert batches.execute(["ECHO", "back"]) == b"back"


def test_a_lost_connection_is_opened_again(batches, pool):
    batches.execute(["PING"])
    other = redis.Redis.from_url(f"redis://{pool.connection_kwargs['host']}:{pool.connection_kwargs['port']}")
    other.client_kill_filter(_id=batches.execute(["CLIENT", "ID"]))
    other.close()

    replies = [greenlet.get() for greenlet in run(batches, [["ECHO", str(n)] for n in range(5)])]

    assert replies == [str(n).encode() for n in range(5)]


def test_a_first_caller_that_is_interrupted_leaves_no_other_waiting(batches):
    first = gevent.spawn(batches.execute, ["ECHO", "first"])
    others = [gevent.spawn(batches.execute, ["ECHO", "other"]) for _ in range(3)]
    gevent.spawn(first.throw, gevent.GreenletExit)
    gevent.joinall([first, *others], timeout=DEADLINE)

    assert [greenlet.get(block=False) for greenlet in others] == [b"other"] * 3
    assert isinstance(first.value, gevent.GreenletExit)
    assert batches.execute(["ECHO", "next"]) == b"next"


def test_a_first_caller_that_is_interrupted_while_it_reads_fails_the_others(batches, pool):
    pool.error = gevent.GreenletExit()

    _, *others = run(batches, [["PING"]] * 3)

    for greenlet in others:
        with pytest.raises(redis.ConnectionError):
            greenlet.get()
