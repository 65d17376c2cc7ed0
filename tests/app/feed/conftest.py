"""Crowds of followers: see celebrity.py."""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from app.feed.hybrid import policy
from app.feed.rebuild import rebuild
from tests.app.feed.celebrity import Celebrity
from tests.factories import Factory
from tests.tools.protocol.in_memory_broker import InMemoryBroker, actors_in


@pytest.fixture
def bag() -> InMemoryBroker:
    return InMemoryBroker()


@pytest.fixture
def actors(bag: InMemoryBroker) -> Iterator[ModuleType]:
    with actors_in(bag) as actors:
        yield actors


@pytest.fixture
def make_crowd(actors: ModuleType, bag: InMemoryBroker) -> Callable[[], Celebrity]:
    return lambda: Celebrity(Factory(), bag)


@pytest.fixture
def crowd(app, make_crowd: Callable[[], Celebrity]) -> Celebrity:
    return make_crowd()


@pytest.fixture
def pulled(crowd: Celebrity) -> Celebrity:
    """The author is pulled, and has written one post before and one since."""
    crowd.post()
    crowd.settle()
    crowd.post()
    crowd.settle()
    assert crowd.state == policy.PULLED
    return crowd


@pytest.fixture
def pair(world):
    """Create a reader and an author, and build the reader's feed."""
    reader, author = world.people(2)
    world.follow(reader, author)
    rebuild(reader)
    return reader, author


@pytest.fixture
def round_trips(app, redis_server_url):
    """Count the round trips to one Redis; a pipeline is one."""
    sent: list[bytes] = []

    class Counting(app.extensions["redis"].connection_pool.connection_class):
        def send_packed_command(self, command, check_health=True):
            sent.append(b"".join(command))
            super().send_packed_command(command, check_health)

    pool = app.extensions["redis"].connection_pool
    pool.connection_class = Counting
    pool.reset()  # connections are reopened

    def count(work: Callable[[], object]) -> int:
        work()  # connections are made, and scripts known
        sent.clear()
        work()
        return len(sent)

    return count
