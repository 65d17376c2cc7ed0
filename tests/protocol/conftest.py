"""The stage of the machine: one application for all examples, cut into round trips."""

import importlib
import sys
from collections.abc import Callable, Iterator

import dramatiq
import pytest
from flask import Flask

from app.db import POSTS, db
from app.settings import Settings
from tests.protocol.machine import CAP, USERS, Bag, Stage
from tests.protocol.runs import cut
from tests.world import World

WITHOUT_SYNC = "options=-csynchronous_commit%3Doff"  # nothing here survives a crash of PostgreSQL


@pytest.fixture
def stage(make_app: Callable[..., Flask], settings: Settings) -> Iterator[Stage]:
    url = settings.posts_database_url
    app = make_app(
        posts_database_url=url + ("&" if "?" in url else "?") + WITHOUT_SYNC,
        feed_cap=CAP,
        feed_fanout_batch=2,
        feed_bulk_followers=2,
        database_pool_size=20,
    )
    bag, before = Bag(), dramatiq.broker.global_broker
    dramatiq.set_broker(bag)
    if "workers.actors" in sys.modules:
        importlib.reload(sys.modules["workers.actors"])
    else:
        importlib.import_module("workers.actors")
    with app.app_context():
        users = World().people(USERS)
        with cut(app, db.engines[POSTS], db.session):
            yield Stage(app, bag, users)
    dramatiq.broker.global_broker = before
