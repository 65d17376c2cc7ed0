"""Crowds: see crowd.py."""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from app.feed import pulling
from tests.app.feed.crowd import Crowd
from tests.protocol.bag import Bag, actors_in
from tests.world import World


@pytest.fixture
def bag() -> Bag:
    return Bag()


@pytest.fixture
def actors(bag: Bag) -> Iterator[ModuleType]:
    with actors_in(bag) as actors:
        yield actors


@pytest.fixture
def make_crowd(actors: ModuleType, bag: Bag) -> Callable[[], Crowd]:
    return lambda: Crowd(World(), bag)


@pytest.fixture
def crowd(app, make_crowd: Callable[[], Crowd]) -> Crowd:
    return make_crowd()


@pytest.fixture
def pulled(crowd: Crowd) -> Crowd:
    """The author is pulled, and has written one post before and one since."""
    crowd.post()
    crowd.settle()
    crowd.post()
    crowd.settle()
    assert crowd.state == pulling.PULLED
    return crowd
