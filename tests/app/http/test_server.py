"""The web server under slow, silent and numerous clients, on a real gunicorn."""

import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from app.auth.tokens import issue_token
from app.feed.read import read_page
from app.http.connection import RECEIVING, SENDING, WAITING, Connection
from app.http.server import Worker
from app.users.passwords import hash_password
from local.ports import free_port
from tests.conftest import RUN
from tests.factories import eventually
from tests.tools.processes import ROOT, Web
from tests.tools.proxy import Proxy

CONNECTIONS = 50
LONG_TEXT = "ж" * 10_000
SILENT, HALF_SENT = b"", b"GET /post/feed HTTP/1.1\r\nHost: le"
WITHOUT_ITS_BODY = (
    b"POST /login HTTP/1.1\r\nHost: lenta\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
)


@pytest.fixture
def make_web(settings, app, folder) -> Iterator[type[Web]]:
    """Starts gunicorn; keyword arguments replace settings."""
    with ExitStack() as at_end:

        def make(**changes: object) -> Web:
            web = Web(replace(settings, **{"port": free_port()} | changes), folder / f"server-{RUN}.log")
            at_end.callback(web.stop)
            return web.wait()

        yield make


@pytest.fixture
def reader(world) -> int:
    """A reader of twenty long posts, in a warm feed."""
    reader, author = world.people(2)
    world.follow(reader, author)
    for _ in range(20):
        world.post(author, LONG_TEXT)
    read_page(reader, 0, 20)
    return reader


def connect(web: Web, sent: bytes) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that it takes little of a response
    client.settimeout(20)
    client.connect(("127.0.0.1", web.port))
    client.sendall(sent)
    return client


def request(reader: int, limit: int = 1000) -> bytes:
    head = f"GET /post/feed?limit={limit} HTTP/1.1\r\nHost: lenta\r\nX-Auth: {issue_token(reader)}\r\n\r\n"
    return head.encode()


def peak_memory(web: Web) -> int:
    """The most bytes that all processes of a web have taken, each by itself."""
    status = "".join(Path(f"/proc/{pid}/status").read_text() for pid in (web.pid, *web.children()))
    return sum(int(kilobytes) * 1024 for kilobytes in re.findall(r"VmHWM:\s+(\d+) kB", status))


def memory_limit() -> int:
    """The memory that the web has in deploy/kubernetes, bytes."""
    manifest = (ROOT / "deploy/kubernetes/service/web.yaml").read_text()
    [mebibytes] = re.findall(r"limits: {.*memory: (\d+)Mi}", manifest)
    return int(mebibytes) * 2**20


@pytest.mark.parametrize("sent", [SILENT, HALF_SENT, WITHOUT_ITS_BODY], ids=["silent", "half sent", "without its body"])
def test_clients_that_stop_sending_delay_no_other(make_web, reader, sent):
    web = make_web(web_workers=1)
    with ExitStack() as open_:
        for _ in range(300):
            open_.enter_context(closing(connect(web, sent)))

        status, posts, _ = web.get("/post/feed", issue_token(reader))

    assert status == 200
    assert len(posts) == 10


def test_clients_that_do_not_read_delay_no_other_and_take_bounded_memory(make_web, reader):
    web = make_web(web_workers=1)
    with ExitStack() as open_:
        for _ in range(300):
            open_.enter_context(closing(connect(web, request(reader) * 3)))

        status, _, _ = web.get("/post/feed", issue_token(reader))

        assert status == 200
        assert peak_memory(web) < memory_limit()


def test_near_the_bound_the_connection_that_waited_longest_is_closed(make_web, reader):
    web = make_web(web_workers=1, web_connections=50)
    with ExitStack() as open_:
        clients = [open_.enter_context(closing(connect(web, SILENT))) for _ in range(200)]

        status, _, _ = web.get("/post/feed", issue_token(reader))

        assert status == 200
        assert clients[0].recv(1) == b""
        clients[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            clients[-1].recv(1)


# Without room for it, the last client waits until others end: 5 s after a refusal, 30 s after a response.
@pytest.mark.parametrize(("phase", "seconds"), [("refused", 4), ("not reading", 20)])
def test_near_the_bound_clients_that_were_answered_and_stay_make_room(make_web, reader, phase, seconds):
    web = make_web(web_workers=1, web_connections=50)
    sent = b"GET /post/feed HTTP/9.9\r\n\r\n" if phase == "refused" else request(reader) * 3
    with ExitStack() as open_:
        for _ in range(200):
            client = open_.enter_context(closing(connect(web, sent)))
            if phase == "refused":
                client.recv(16)  # it does not close its half

        with closing(connect(web, request(reader, 1))) as last:
            last.settimeout(seconds)
            assert last.recv(15) == b"HTTP/1.1 200 OK"


def test_many_logins_stay_within_the_memory_limit_and_delay_no_reader(make_web, world, app):
    password = "correct horse"
    user = world.person(password_hash=hash_password(password))
    web = make_web(web_workers=2)
    token = issue_token(user)
    web.get("/post/feed", token)
    done = threading.Event()

    def log_in(_: int) -> int:
        return web.call("POST", "/login", body={"id": str(user), "password": password})[0]

    def read() -> int:
        pages = 0
        while not done.is_set():
            assert web.get("/post/feed", token)[0] == 200
            pages += 1
        return pages

    with ThreadPoolExecutor(60) as threads:
        pages = threads.submit(read)
        statuses = list(threads.map(log_in, range(58)))
        done.set()

    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 2
    assert pages.result() > statuses.count(200) / 4  # without a bound a page waits for all of them
    assert peak_memory(web) < memory_limit()


def assert_a_crowd_leaves_room(web: Web, reader: int, sent: bytes) -> None:
    """A reader is served beside a crowd of these requests, eight for each connection.

    Each has to be read first, which takes milliseconds. If they took all connections, a reader would wait for seven
    rounds of them, each of seconds.
    """
    assert web.get("/post/feed", issue_token(reader))[0] == 200
    with ExitStack() as open_:
        for _ in range(8 * CONNECTIONS):
            open_.enter_context(closing(connect(web, sent)))

        with closing(connect(web, request(reader, 1))) as last:
            last.settimeout(18)
            assert last.recv(15) == b"HTTP/1.1 200 OK"


def with_body(target: str, body: bytes, headers: str = "") -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: lenta\r\n{headers}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_crowd_that_waits_to_hash_leaves_room_for_readers(make_web, reader):
    log_in = with_body("/login", b'{"id": "1", "password": "correct horse"}')

    assert_a_crowd_leaves_room(make_web(web_workers=1, web_connections=CONNECTIONS), reader, log_in)


def test_crowds_that_wait_for_a_database_leave_room_for_readers(make_web, reader, settings):
    web = make_web(web_workers=1, web_connections=CONNECTIONS, database_pool_size=2)
    with_token = f"X-Auth: {issue_token(reader)}\r\n"
    write = with_body("/post/create", b'{"text": "hello"}', with_token)
    read = f"GET /post/feed?before=9 HTTP/1.1\r\nHost: lenta\r\n{with_token}\r\n".encode()
    with closing(psycopg2.connect(settings.posts_database_url)) as locking:
        locking.cursor().execute("LOCK TABLE posts, follows")

        assert_a_crowd_leaves_room(web, reader, write)
        assert_a_crowd_leaves_room(web, reader, read)


def test_a_locked_table_costs_writes_503_and_cached_reads_nothing(make_web, reader, settings):
    web = make_web(web_workers=1, database_lock_timeout_ms=6_000)  # so that all pages are read before
    token = issue_token(reader)
    with closing(psycopg2.connect(settings.posts_database_url)) as locking, ThreadPoolExecutor(24) as threads:
        locking.cursor().execute("LOCK TABLE posts IN SHARE MODE")
        writes = [threads.submit(web.call, "POST", "/post/create", token, {"text": "hello"}) for _ in range(24)]
        eventually(lambda: _blocked(settings) >= 1, "a write waits for the lock")

        pages = [web.get("/post/feed", token) for _ in range(20)]
        live, ready = web.get("/health/live")[0], web.get("/health/ready")[0]
        not_yet_answered = sum(not write.done() for write in writes)
        answers = [write.result() for write in writes]

    assert {(status, headers["X-Feed-Source"]) for status, _, headers in pages} == {(200, "cache")}
    assert (live, ready) == (200, 200)
    assert not_yet_answered > 0
    assert {status for status, _, _ in answers} == {503}
    assert all(headers["Retry-After"] for _, _, headers in answers)


def test_a_frozen_database_causes_503_but_cached_reads_continue(make_web, reader, settings):
    parts = urlsplit(settings.posts_database_url)
    with closing(Proxy(parts.hostname, parts.port or 5432)) as proxy, ThreadPoolExecutor(8) as threads:
        frozen = parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}").geturl()
        web = make_web(web_workers=1, posts_database_url=frozen, database_statement_timeout_ms=2_000)
        token = issue_token(reader)
        assert web.call("POST", "/post/create", token, {"text": "hello"})[0] == 200
        proxy.freeze()
        writes = [threads.submit(web.call, "POST", "/post/create", token, {"text": "hello"}) for _ in range(8)]

        pages = [web.get("/post/feed", token) for _ in range(20)]
        answers = [write.result() for write in writes]

    assert {(status, headers["X-Feed-Source"]) for status, _, headers in pages} == {(200, "cache")}
    assert {status for status, _, _ in answers} == {503}


def _blocked(settings) -> int:
    with closing(psycopg2.connect(settings.posts_database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("""
            SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
        """)
        return int(cursor.fetchone()[0])


# --- deadlines ---------------------------------------------------------------------------------------------


class AtItsDeadline:
    """Provide a connection past its deadline, and the client's end of the socket."""

    def __init__(self, phase: str) -> None:
        ours, self.client = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.client.settimeout(0.2)
        self.connection = Connection(ours, lambda: None, lambda: None)
        self.connection.begin(phase, -1)

    def enforce(self) -> bytes:
        """Enforce deadlines, and return the data that the client receives until the end."""
        worker = Worker.__new__(Worker)
        worker.connections = {self.connection: None}
        worker._enforce_deadlines()
        received = b""
        while data := self.client.recv(65536):
            received += data
            self.connection.close()
        return received


@pytest.fixture
def at_deadline():
    with ExitStack() as open_:

        def make(phase: str) -> AtItsDeadline:
            made = AtItsDeadline(phase)
            open_.enter_context(closing(made.client))
            open_.enter_context(closing(made.connection))
            return made

        yield make


def test_a_request_that_does_not_arrive_in_time_is_answered_408(at_deadline):
    response = at_deadline(RECEIVING).enforce()

    assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"code":1014' in response


def test_a_connection_that_says_nothing_is_closed_without_a_response(at_deadline):
    assert at_deadline(WAITING).enforce() == b""


def test_a_client_that_does_not_take_its_response_is_cut_off(at_deadline):
    stalled = at_deadline(SENDING)
    stalled.connection._socket.setblocking(False)
    with suppress(BlockingIOError):
        while stalled.connection._socket.send(b"x" * 4096):
            pass

    assert set(stalled.enforce()) == {ord("x")}


def test_a_client_that_acted_before_the_deadline_was_noticed_is_served(at_deadline):
    late = at_deadline(WAITING)
    late.client.sendall(b"GET / HTTP/1.1\r\n")

    with pytest.raises(TimeoutError):
        late.enforce()
