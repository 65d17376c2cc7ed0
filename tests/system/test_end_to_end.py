"""The whole service, as processes, on a real social graph: HTTP responses equal SQL."""

import gzip
import http.client
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from flask import Flask
from sqlalchemy import Row, text

from app.auth.tokens import issue_token
from app.db.engine import POSTS, USERS, commit, db, execute
from app.factory import create_app
from app.redis.client import close
from app.settings import Settings
from local.ports import free_port
from tests.conftest import RUN, clean, empty
from tests.factories import eventually
from tests.tools.processes import ROOT, Process, Web, start_worker
from tests.tools.proxy import Proxy
from workers.cli.import_graph import import_graph

PEOPLE = 1000
GRAPH = ROOT.parent / "shared/data/ego-facebook.txt.gz"  # SNAP ego-Facebook: 4,039 people, 88,234 friendships
POSTS_PER_USER = 20
PAGE = 300


@dataclass
class Service:
    """gunicorn and a worker on one graph; Redis and RabbitMQ are behind proxies."""

    app: Flask
    settings: Settings
    web: Web
    worker: Process
    redis: Proxy
    rabbitmq: Proxy
    folder: Path

    def token(self, user_id: int) -> str:
        return issue_token(user_id)

    def feed(self, user_id: int, query: str = "limit=1") -> list[dict[str, Any]]:
        status, posts, _ = self.web.get(f"/post/feed?{query}", self.token(user_id))
        assert status == 200
        return posts

    def heads(self, user_ids: list[int]) -> list[dict[str, Any] | None]:
        """The newest post of each of these feeds, over HTTP."""
        with ThreadPoolExecutor(4) as pool:
            return [posts[0] if posts else None for posts in pool.map(self._head, user_ids)]

    def _head(self, user_id: int) -> list[dict[str, Any]]:
        with self.app.app_context():
            return self.feed(user_id)

    def restart_web(self) -> None:
        self.web.stop()
        self.web = Web(self.settings, self.folder / "web.log").wait()

    def events_so_far(self) -> int:
        """How many events were ever put into the outbox."""
        return int(fetch(POSTS, "SELECT last_value FROM outbox_id_seq")[0].last_value)


@pytest.fixture(scope="module")
def service(
    _migrated: Settings, redis_url: str, rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    behind = {url: Proxy(urlsplit(url).hostname or "", urlsplit(url).port or 5672) for url in (redis_url, rabbitmq_url)}
    settings = replace(
        _migrated,
        redis_url=_through(redis_url, behind[redis_url]),
        broker_url=_through(rabbitmq_url, behind[rabbitmq_url]),
        broker_namespace=f"lenta-e2e-{RUN}",
        port=free_port(),
        redis_timeout_ms=500,
    )
    app = create_app(replace(settings, redis_url=redis_url))
    clean(app)
    with app.app_context():
        _import_graph(app, folder)
        worker = start_worker(settings, folder / "worker.log")
        warmed = app.test_cli_runner().invoke(args=["warm-cache", "--wait"])
        assert warmed.exit_code == 0, warmed.output
        web = Web(settings, folder / "web.log").wait()
        made = Service(app, settings, web, worker, behind[redis_url], behind[rabbitmq_url], folder)
        yield made
        made.web.stop()
        worker.stop()
        for engine in db.engines.values():
            engine.dispose()
    close(app)
    drop_queues(rabbitmq_url, settings.broker_namespace)
    for proxy in behind.values():
        proxy.close()


@pytest.fixture(scope="module")
def best_connected(service: Service) -> tuple[int, list[int]]:
    """The author with the most followers, and the followers."""
    [(author,)] = fetch(POSTS, "SELECT followee_id FROM follows GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1")
    return author, [
        row.follower_id for row in fetch(POSTS, "SELECT follower_id FROM follows WHERE followee_id = :a", a=author)
    ]


def test_every_feed_read_page_by_page_is_what_sql_says(service):
    expected = _truth()

    with ThreadPoolExecutor(4) as pool:
        read = dict(zip(expected, pool.map(_reader(service), expected), strict=True))

    assert [user_id for user_id in expected if read[user_id] != expected[user_id]] == []
    assert sum(map(len, expected.values())) > 0


def test_a_post_reaches_every_follower_and_so_do_its_edit_and_deletion(service, best_connected):
    author, followers = best_connected
    web, token = service.web, service.token(author)
    before = service.heads(followers)

    status, post_id, _ = web.call("POST", "/post/create", token, {"text": "first words"})
    assert status == 200
    eventually(lambda: _ids(service.heads(followers)) == {post_id}, "all followers have it at the head")

    assert web.call("PUT", "/post/update", token, {"id": post_id, "text": "second thoughts"})[0] == 200
    eventually(
        lambda: {head["text"] for head in service.heads(followers)} == {"second thoughts"}, "all see the new text"
    )

    assert web.call("PUT", f"/post/delete/{post_id}", token)[0] == 200
    eventually(lambda: service.heads(followers) == before, "no feed has it")


def test_unfollowing_removes_posts_and_following_restores_them(service, best_connected):
    author, followers = best_connected
    reader = max(followers, key=lambda user_id: len(service.feed(user_id, "limit=1000")))
    before = service.feed(reader, "limit=1000")
    token = service.token(reader)

    assert service.web.call("PUT", f"/friend/delete/{author}", token)[0] == 200
    eventually(lambda: str(author) not in _authors(service.feed(reader, "limit=1000")), "the author's posts are gone")
    expected = _truth()[reader]  # older posts of others have moved up; a page from SQL had them first
    eventually(lambda: _reader(service)(reader) == expected, "the list is what SQL says")

    assert service.web.call("PUT", f"/friend/set/{author}", token)[0] == 200
    eventually(lambda: service.feed(reader, "limit=1000") == before, "they are back")


def test_a_start_with_feeds_there_sends_nothing(service):
    before = service.events_so_far()

    service.restart_web()

    assert service.events_so_far() == before


def test_an_emptied_redis_is_warmed_when_two_webs_start_at_once(service, redis_url):
    before, expected = service.events_so_far(), _truth()
    client = redis.Redis.from_url(redis_url)
    empty(client)
    second = replace(service.settings, port=free_port())

    other = Web(second, service.folder / "other.log")
    service.restart_web()
    other.wait().stop()

    assert service.events_so_far() == before + 1
    readers = sum(1 for ids in expected.values() if ids)
    eventually(lambda: _feeds(client) == readers, "every feed is warm", 120)
    client.close()


def test_with_rabbitmq_away_a_post_is_accepted_and_delivered_later(service, best_connected):
    author, followers = best_connected
    service.rabbitmq.refuse()

    status, post_id, _ = service.web.call("POST", "/post/create", service.token(author), {"text": "while it is away"})
    assert status == 200
    assert post_id not in _ids(service.heads(followers[:20]))
    service.rabbitmq.restore()

    eventually(lambda: _ids(service.heads(followers)) == {post_id}, "delivered when RabbitMQ was back", 60)


@pytest.mark.parametrize("failure", ["refuse", "freeze"])
def test_with_redis_away_a_page_comes_from_sql(service, best_connected, failure):
    reader = best_connected[1][0]
    token = service.token(reader)
    expected = service.feed(reader, "limit=50")

    getattr(service.redis, failure)()
    try:
        answers = [service.web.get("/post/feed?limit=50", token) for _ in range(20)]
    finally:
        service.redis.restore()

    assert [(status, posts == expected) for status, posts, _ in answers] == [(200, True)] * 20
    assert {headers["X-Feed-Source"] for _, _, headers in answers} == {"database"}
    eventually(
        lambda: service.web.get("/post/feed", token)[2]["X-Feed-Source"] == "cache", "it comes from the cache again"
    )


def _truth() -> dict[int, list[int]]:
    """Each user's feed, from the rows of SQL and nothing else."""
    posts: dict[int, list[int]] = {}
    for author, post in fetch(POSTS, "SELECT author_id, id FROM posts"):
        posts.setdefault(author, []).append(post)
    feeds: dict[int, list[int]] = {user: [] for (user,) in fetch(USERS, "SELECT id FROM users")}
    for follower, followee in fetch(POSTS, "SELECT follower_id, followee_id FROM follows"):
        feeds[follower] += posts.get(followee, [])
    return {user: sorted(ids, reverse=True)[:1000] for user, ids in feeds.items()}


def fetch(bind: str, query: str, **parameters: int) -> Sequence[Row[Any]]:
    """Rows, in a transaction that has ended: an idle one is cut off while a test waits."""
    rows = execute(bind, text(query), parameters).all()
    commit()
    return rows


def _reader(service: Service) -> Callable[[int], list[int]]:
    """Reads a whole feed over HTTP, PAGE posts at a time."""

    def read(user_id: int) -> list[int]:
        with service.app.app_context():
            headers = {"X-Auth": service.token(user_id)}
        connection = http.client.HTTPConnection("127.0.0.1", service.web.port, timeout=30)
        ids: list[int] = []
        for offset in range(0, 1000, PAGE):
            connection.request("GET", f"/post/feed?offset={offset}&limit={PAGE}", headers=headers)
            response = connection.getresponse()
            page = json.loads(response.read())
            assert response.status == 200, page
            ids += [int(post["id"]) for post in page]
        connection.close()
        return ids

    return read


def _ids(heads: list[dict[str, Any] | None]) -> set[str | None]:
    return {head and head["id"] for head in heads}


def _authors(posts: list[dict[str, Any]]) -> set[str]:
    return {post["author_user_id"] for post in posts}


def _feeds(client: redis.Redis) -> int:
    return sum(1 for _ in client.scan_iter("feed:*", count=10_000, _type="list"))


def _import_graph(app: Flask, folder: Path) -> None:
    path = folder / "graph.txt"
    path.write_text(_part(GRAPH) if GRAPH.exists() else _scale_free(people=400, friends=12))
    options = ["--mutual", "--posts-per-user", str(POSTS_PER_USER)]
    app.cli.add_command(import_graph)
    result = app.test_cli_runner().invoke(args=["import-graph", str(path), *options])
    assert result.exit_code == 0, result.output


def _part(graph: Path) -> str:
    """Return the friendships among the first PEOPLE."""
    with gzip.open(graph, "rt") as lines:
        return "".join(line for line in lines if all(int(person) < PEOPLE for person in line.split()))


def _scale_free(people: int, friends: int) -> str:
    """Preferential attachment (Barabási and Albert 1999), as an edge list."""
    chance = random.Random(1)
    ends = list(range(friends))
    edges = set()
    for person in range(friends, people):
        for friend in {chance.choice(ends) for _ in range(friends)}:
            edges.add((person, friend))
            ends += [person, friend]
    return "\n".join(f"{a} {b}" for a, b in sorted(edges))


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}").geturl()


def drop_queues(rabbitmq_url: str, namespace: str) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    for queue in ("feed", "rebuild", "bulk", "warm"):
        for suffix in ("", ".DQ", ".XQ"):
            connection.channel().queue_delete(f"{namespace}.{queue}{suffix}")
    connection.close()
