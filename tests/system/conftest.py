"""Databases of a test's own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from uuid import uuid4

import psycopg2
from flask import Flask

from app.db.engine import POSTS, USERS, db
from app.factory import create_app
from app.redis.client import close
from app.settings import Settings


@contextmanager
def fresh_app(postgres_url: str, settings: Settings, options: str = "") -> Iterator[Flask]:
    """An application on two new, empty databases, in its context. `options` are those of CREATE DATABASE."""
    names = {bind: f"lenta_test_fresh_{bind}_{uuid4().hex[:8]}" for bind in (USERS, POSTS)}
    urls = {f"{bind}_database_url": postgres_url.format(name) for bind, name in names.items()}
    with closing(psycopg2.connect(postgres_url.format("postgres"))) as server:
        server.autocommit = True
        try:
            for name in names.values():
                server.cursor().execute(f"CREATE DATABASE {name} {options}")
            app = create_app(replace(settings, **urls))
            app.testing = True
            with app.app_context():
                yield app
                db.session.remove()
                for engine in db.engines.values():
                    engine.dispose()
            close(app)
        finally:
            for name in names.values():
                server.cursor().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
