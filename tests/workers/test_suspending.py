"""A suspended account on real brokers: its posts leave all feeds, and come back."""

import pytest

from app.db.engine import commit
from app.feed import suspend
from app.feed.maintenance import verify
from app.feed.read import read_page
from app.feed.rebuild import rebuild
from app.posts import outbox as posts_outbox
from app.users import accounts
from app.users import outbox as users_outbox
from tests.factories import Factory, eventually, ids_of


@pytest.fixture
def world(actors, monkeypatch):
    monkeypatch.setattr(suspend, "BATCH", 2)
    return Factory()


def is_quiet():
    sizes = posts_outbox.size() + users_outbox.OUTBOX.size()
    commit()
    return sizes == 0


def test_posts_of_a_suspended_user_leave_all_feeds_and_come_back(world, make_worker):
    author, other, *readers = world.people(7)
    for reader in readers:
        world.follow(reader, author, other)
    own, others = world.posts(author, 3), world.posts(other, 2)
    world.events()
    for reader in readers:
        rebuild(reader)
    make_worker()

    def show(posts):
        wanted = sorted(posts, reverse=True)
        return all(ids_of(read_page(reader, 0, 10)) == wanted for reader in readers)

    before = show([*own, *others])
    accounts.suspend(author)
    eventually(lambda: show(others) and is_quiet(), "the posts have left all feeds")
    accounts.restore(author)
    eventually(lambda: show([*own, *others]) and is_quiet(), "the posts have come back")

    *_, report = verify.verify(readers, recheck_seconds=5)
    assert (before, report.divergent) == (True, {})
