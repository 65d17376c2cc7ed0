"""The stage of the machine: one application for all examples, cut into round trips."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from app.db import POSTS, db
from app.feed import pulling
from app.settings import Settings
from tests.protocol.bag import Bag, actors_in
from tests.protocol.machine import CAP, USERS, Stage
from tests.protocol.runs import cut
from tests.world import World

WITHOUT_SYNC = "options=-csynchronous_commit%3Doff"  # nothing here survives a crash of PostgreSQL


@pytest.fixture
def stage(make_app: Callable[..., Flask], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(pulling, "BATCH", 2)
    url = settings.posts_database_url
    app = make_app(
        posts_database_url=url + ("&" if "?" in url else "?") + WITHOUT_SYNC,
        feed_cap=CAP,
        feed_fanout_batch=2,
        feed_bulk_followers=2,
        database_pool_size=20,
    )
    bag = Bag()
    with actors_in(bag), app.app_context():
        users = World().people(USERS)
        with cut(app, db.engines[POSTS], db.session):
            yield Stage(app, bag, users)
