"""The posts database fails over to a replica that lacks the last commits: every page is exact, without any help."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from app.auth.tokens import issue_token
from app.db.engine import db
from app.factory import create_app
from app.feed.read import CACHE, DATABASE
from app.posts.outbox import oldest_age
from app.redis.client import close
from app.settings import Settings
from local.ports import free_port
from local.services import DATABASES, PostgreSQL, start_postgresql
from tests.conftest import RUN
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.tools.postgres_replica import copy_of, cut_off, promote, wait_until_current
from tests.tools.processes import Web, start_worker
from tests.tools.proxy import Proxy
from tests.tools.redis_server import RedisServer

USERS_DATABASE, POSTS_DATABASE = DATABASES

Page = tuple[str, list[tuple[int, str]]]  # source; ids and texts


@dataclass
class Scene:
    app: Flask
    settings: Settings
    folder: Path
    primary: PostgreSQL
    replica: PostgreSQL
    address: Proxy
    web: Web

    def page(self, reader: int) -> Page:
        status, posts, headers = self.web.get("/post/feed", issue_token(reader))
        assert status == 200
        return headers["X-Feed-Source"], [(int(post["id"]), post["text"]) for post in posts]

    def fail_over(self) -> None:
        """The primary is gone, and its address leads to the replica."""
        self.primary.stop()
        promote(self.replica)
        self.address.lead_to(socket_of(self.replica), 5432)


@pytest.fixture
def scene(
    settings: Settings, databases: dict[str, str], rabbitmq_url: str, folder: Path, tmp_path: Path
) -> Iterator[Scene]:
    with ExitStack() as at_end:
        at_end.callback(shutil.rmtree, folder / "failover", ignore_errors=True)
        (folder / "failover").mkdir()
        primary = start_postgresql(folder / "failover" / "primary")
        at_end.callback(primary.stop)
        replica = copy_of(primary, folder / "failover" / "replica")
        at_end.callback(replica.stop)
        address = Proxy(socket_of(primary), 5432)
        at_end.callback(address.close)
        redis = RedisServer(tmp_path / "redis")
        at_end.callback(redis.close)
        changed = replace(
            settings,
            posts_database_url=f"postgresql://postgres@127.0.0.1:{address.port}/{POSTS_DATABASE}",
            redis_url=f"redis://127.0.0.1:{redis.port}/0",
            broker_url=rabbitmq_url,
            broker_namespace=f"lenta-posts-failover-{RUN}",
            port=free_port(),
        )
        at_end.callback(drop_queues, rabbitmq_url, changed.broker_namespace)
        app = create_app(changed)
        at_end.callback(close, app)
        with app.app_context():
            assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
            web = Web(changed, tmp_path / "web.log")
            at_end.callback(web.stop)
            web.wait()
            yield Scene(app, changed, tmp_path, primary, replica, address, web)
            for engine in db.engines.values():
                engine.dispose()


def socket_of(server: PostgreSQL) -> str:
    return parse_qs(urlsplit(server.url(POSTS_DATABASE)).query)["host"][0]


def test_posts_follows_and_edits_that_the_replica_lacks_are_on_no_page(scene):
    world = Factory()
    reader, author, stranger = world.people(3)
    world.follow(reader, author)
    kept, hidden = world.post(author, "kept"), world.post(stranger, "of a stranger")
    worker = start_worker(scene.settings, scene.folder / "worker.log")
    try:
        eventually(lambda: oldest_age() is None and scene.page(reader) == (CACHE, [(kept, "kept")]), "it is delivered")
        wait_until_current(scene.primary, scene.replica)
        cut_off(scene.replica)
        lost = world.post(author, "lost")
        world.follow(reader, stranger)
        token = issue_token(author)
        assert scene.web.call("PUT", "/post/update", token, {"id": str(kept), "text": "never was"})[0] == 200
        ahead = [(lost, "lost"), (hidden, "of a stranger"), (kept, "never was")]
        eventually(lambda: scene.page(reader) == (CACHE, ahead), "the caches are ahead of the replica")
    finally:
        worker.stop()

    scene.fail_over()
    eventually(lambda: scene.page(reader) == (DATABASE, [(kept, "kept")]), "the web notices without a worker")
    worker = start_worker(scene.settings, scene.folder / "worker.log")
    try:
        eventually(lambda: scene.page(reader) == (CACHE, [(kept, "kept")]), "the worker has dropped the feeds")
        eventually(lambda: oldest_age() is None, "warming was asked for")
        verified = scene.app.test_cli_runner().invoke(args=["verify-feeds"])
    finally:
        worker.stop()

    assert verified.exit_code == 0, verified.output
    assert verified.output.rstrip().endswith(":00000002")
