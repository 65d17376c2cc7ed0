"""Fixtures of maintenance."""

import pytest

from app.feed.rebuild import rebuild


@pytest.fixture
def reader(world):
    """Create a reader and build the feed of five posts."""
    reader, author, stranger = world.people(3)
    world.follow(reader, author)
    world.posts(author, 5)
    world.posts(stranger, 1)
    rebuild(reader)
    return reader
