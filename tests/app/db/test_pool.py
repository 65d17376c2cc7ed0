"""Pools of connections on which few requests may wait."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg2

from app.db.pool import bounded

SIZE = 4


def test_all_connections_of_a_pool_may_be_opened_at_once(postgres_url):
    opening = Barrier(SIZE, timeout=10)

    def connect():
        opening.wait()
        return psycopg2.connect(postgres_url.format("postgres"))

    pool = bounded(1)(connect, pool_size=SIZE, max_overflow=0)
    with ThreadPoolExecutor(SIZE) as threads:
        connections = list(threads.map(lambda _: pool.connect(), range(SIZE)))
    for connection in connections:
        connection.close()
    pool.dispose()
