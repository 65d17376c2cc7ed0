"""The stage of the machine: one application for all examples, cut into round trips."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from app.db.engine import POSTS, READS, db
from app.feed import erase, suspend
from app.feed.cache import claims, owed_checks
from app.feed.hybrid import policy
from app.feed.maintenance import trust
from app.settings import Settings
from tests.factories import Factory
from tests.tools.protocol.in_memory_broker import InMemoryBroker, actors_in
from tests.tools.protocol.machine import CAP, USERS, Stage
from tests.tools.protocol.runs import cut

WITHOUT_SYNC = "options=-csynchronous_commit%3Doff"  # nothing here survives a crash of PostgreSQL


@pytest.fixture
def stage(make_app: Callable[..., Flask], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(policy, "BATCH", 2)
    monkeypatch.setattr(erase, "BATCH", 2)
    monkeypatch.setattr(erase, "POSTS_BATCH", 2)
    monkeypatch.setattr(suspend, "BATCH", 2)
    monkeypatch.setattr(claims, "UNPAUSED", 1_000_000)  # a pause would depend on the clock
    monkeypatch.setattr(owed_checks, "OVERDUE_MS", 0)
    monkeypatch.setattr(trust, "DISTRUST_SECONDS", 0)
    url = settings.posts_database_url
    app = make_app(
        posts_database_url=url + ("&" if "?" in url else "?") + WITHOUT_SYNC,
        feed_cap=CAP,
        feed_fanout_batch=2,
        feed_bulk_followers=2,
        database_pool_size=20,
    )
    bag = InMemoryBroker()
    with actors_in(bag), app.app_context():
        users = Factory().people(USERS)
        with cut(app, [db.engines[POSTS], db.engines[READS]], db.session):
            yield Stage(app, bag, users)
