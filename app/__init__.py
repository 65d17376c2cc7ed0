"""Lenta: a social feed that is always ready."""

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask_migrate import Migrate
from sqlalchemy import make_url

from app import auth, errors, graph, headers, health, limiting, measuring, redis
from app import db as database
from app.db import POSTS, REPLICA, USERS, db
from app.docs import routes as docs
from app.feed import commands as feed_commands
from app.feed import routes as feed
from app.posts import friends
from app.posts import models as posts_models
from app.posts import routes as posts
from app.settings import Settings
from app.users import models as users_models
from app.users import routes as users

__all__ = ["create_app", "posts_models", "users_models"]  # the tables, so that migrations see them

MAX_BODY_BYTES = 256 * 1024  # a post of 10,000 characters, each escaped, with room


def create_app(settings: Settings | None = None) -> Flask:
    """The application, from `settings` or from the environment.

    Raises SettingsError naming each variable that is missing or cannot be used.
    """
    settings = settings or Settings.from_env()
    app = Lenta(__name__, static_folder=None)
    app.extensions["settings"] = settings
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SQLALCHEMY_BINDS={
            USERS: _database(settings, settings.users_database_url),
            POSTS: _database(settings, settings.posts_database_url),
        },
    )
    if settings.posts_replica_url:
        app.config["SQLALCHEMY_BINDS"][REPLICA] = _database(settings, settings.posts_replica_url)
    app.json = CompactJSON(app)
    logging.getLogger("app").setLevel(settings.log_level.upper())

    database.init_app(app)
    Migrate(app, db)
    redis.init_app(app, settings.redis_url, settings.redis_timeout_ms / 1000)
    errors.init_app(app)
    auth.init_app(app, settings.keys(), settings.jwt_ttl)

    app.register_blueprint(health.blueprint)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(users.blueprint)
    app.register_blueprint(posts.blueprint)
    app.register_blueprint(friends.blueprint)
    app.register_blueprint(feed.blueprint)
    limiting.init_app(app, settings)
    headers.init_app(app, settings.cors_origins)
    measuring.init_app(app)

    feed_commands.init_app(app)
    graph.init_app(app)
    return app


class Lenta(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view or hook is a coroutine, and to ask each at every request takes 1 µs a time."""
        return func


class CompactJSON(DefaultJSONProvider):
    """JSON as cached bodies have it: UTF-8, no spaces, fields in the schemas' order."""

    ensure_ascii = False
    compact = True
    sort_keys = False


def _database(settings: Settings, url: str) -> dict[str, object]:
    return {
        "url": make_url(url).set(drivername="postgresql+psycopg2"),
        # Deliver's check must see what was committed before it, whatever the server's default is.
        "isolation_level": "READ COMMITTED",
        "pool_size": settings.database_pool_size,
        "pool_timeout": 5,
        "hide_parameters": True,  # texts and password hashes are not for logs
        "connect_args": {
            "connect_timeout": 3,
            "application_name": "lenta",
            # A server that vanished without a word is noticed in seconds, not hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        },
    }
