"""Faults that break nothing: crowds of clients, silent ones, locked tables. All others are served as always."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import repeat, takewhile
from random import Random

import psycopg2

from app.db.engine import POSTS
from tests.tools.chaos.clients import Client
from tests.tools.chaos.http import LOST, Connection
from tests.tools.chaos.scene import Scene

LOGGING_IN = 32  # people at once
LOGIN_STATUSES = {401, 503, LOST}  # 503: too many at once; lost: a web process was killed
SILENT = 200  # connections of each kind
TRICKLE_SECONDS = 0.2  # between two bytes
TABLES = ("posts", "follows", "outbox")
LOCKS = ("SHARE", "ACCESS EXCLUSIVE")  # of CREATE INDEX, and of most ALTER TABLE


def lock_table(scene: Scene) -> None:
    """Hold a table lock, like a careless migration."""
    table, lock = scene.random.choice(TABLES), scene.random.choice(LOCKS)
    with closing(psycopg2.connect(scene.service.url(POSTS))) as connection:
        connection.cursor().execute(f"LOCK TABLE {table} IN {lock} MODE")
        scene.wait()


def log_in(scene: Scene) -> None:
    """Try passwords, each of which costs a hash, from many connections at once."""

    def try_passwords(random: Random) -> None:
        user_ids = list(scene.world.tokens)
        with closing(Connection(scene.service.settings.port)) as connection:
            while not scene.is_over:
                body = {"id": str(random.choice(user_ids)), "password": "not the password"}
                answer = connection.call("POST", "/login", "", body)
                scene.world.report.logged_in(answer)
                if answer.status not in LOGIN_STATUSES:
                    scene.world.report.wrong_answer(f"POST /login: {answer.status}, {answer.body}")

    with ThreadPoolExecutor(LOGGING_IN) as pool:
        list(pool.map(try_passwords, [Random(scene.random.random()) for _ in range(LOGGING_IN)]))


def toggle_follows(scene: Scene) -> None:
    """Follow and unfollow as fast as the service takes it."""
    mix = ({"follow": 1, "unfollow": 1},)
    clients = []
    for user_id in scene.world.togglers:
        random, until_the_end = Random(scene.random.random()), takewhile(lambda _: not scene.is_over, repeat(0.0))
        clients.append(Client(scene.world, scene.service.settings.port, [user_id], random, until_the_end, mix))
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(Client.run, clients))
    if failures := [client.failure for client in clients if client.failure]:
        raise RuntimeError(failures[0])


def keep_silent(scene: Scene) -> None:
    """Open silent, slow and half-finished connections, and some that never read."""
    token = scene.world.tokens[scene.random.choice(list(scene.world.tokens))]
    request = f"GET /post/feed?limit=50 HTTP/1.1\r\nHost: lenta\r\nX-Auth: {token}\r\n\r\n".encode()
    with ExitStack() as at_end:

        def connect(sent: bytes) -> socket.socket:
            connection = at_end.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(2)
            with suppress(OSError):
                connection.connect(("127.0.0.1", scene.service.settings.port))
                connection.sendall(sent)
            return connection

        for sent in (b"", request[:40], request):
            for _ in range(SILENT):
                connect(sent)
        slow = [connect(b"") for _ in range(SILENT)]
        for byte in request[:-1]:
            if scene.is_over:
                break
            for connection in slow:
                with suppress(OSError):
                    connection.send(bytes([byte]))
            scene.wait(TRICKLE_SECONDS)
        scene.wait()
