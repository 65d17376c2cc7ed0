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
