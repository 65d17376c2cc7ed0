"""Scripts on one server: many calls and a question in one round trip, also where the server lacks the script."""

import pytest
import redis

from app.redis import scripts
from app.redis.client import client

LIST = "test:scripts"
APPEND = "if ARGV[1] == 'bad' then return redis.error_reply('refused') end return redis.call('RPUSH', KEYS[1], ARGV[1])"
QUESTION = "LLEN", LIST


@pytest.fixture
def append(app):
    client().script_flush()
    yield client().register_script(APPEND)
    client().delete(LIST)


def calls(*values):
    return [([LIST], [value]) for value in values]


def test_a_server_without_the_script_gets_it(append):
    assert scripts.run(append, calls("a", "b", "c")) == [1, 2, 3]
    assert scripts.run(append, calls("d", "e")) == [4, 5]


def test_a_question_is_asked_after_the_calls(append):
    scripts.run(append, calls("a", "b"))

    assert scripts.run_and_ask(append, calls("c", "d"), QUESTION) == ([3, 4], 4)


def test_a_question_is_asked_after_the_calls_that_are_repeated(append):
    assert scripts.run_and_ask(append, calls("a", "b"), QUESTION) == ([1, 2], 2)


def test_an_error_of_one_call_is_raised_after_the_others_are_made(append):
    scripts.run(append, calls("a", "b"))

    with pytest.raises(redis.ResponseError, match="refused"):
        scripts.run_and_ask(append, calls("c", "bad", "d"), QUESTION)

    assert client().lrange(LIST, 0, -1) == [b"a", b"b", b"c", b"d"]
