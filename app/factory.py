"""The application factory."""

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask_migrate import Migrate

from app import errors, health
from app.auth import tokens
from app.db import engine, identity
from app.db.engine import db
from app.docs import routes as docs
from app.feed import routes as feed
from app.feed import warm_pages
from app.feed.live import hub as live
from app.feed.live import posted
from app.feed.live import routes as live_routes
from app.feed.maintenance import account_commands, trust
from app.feed.maintenance import commands as feed_commands
from app.http import headers, metrics, rate_limits
from app.posts import blocks, check_counts, friends, profiles
from app.posts import models as posts_models
from app.posts import routes as posts
from app.redis import client
from app.settings import Settings
from app.users import models as users_models
from app.users import passwords
from app.users import routes as users
from app.web import routes as web

__all__ = ["create_app", "posts_models", "users_models"]  # tables, for migrations

MAX_BODY_BYTES = 256 * 1024  # fits a 10,000-character post with every character JSON-escaped


def create_app(settings: Settings | None = None) -> Flask:
    """Create the application from `settings` or from the environment.

    Raises SettingsError, which names each missing or invalid variable.
    """
    settings = settings or Settings.from_env()
    app = Lenta(__name__, static_folder=None)
    app.extensions["settings"] = settings
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SQLALCHEMY_BINDS=engine.binds(settings),
    )
    app.json = CompactJSON(app)
    logging.getLogger("app").setLevel(settings.log_level.upper())

    engine.init_app(app, settings)
    identity.init_app(app)
    Migrate(app, db)
    client.init_app(app, settings.redis_url, settings.redis_timeout_ms / 1000)
    errors.init_app(app)
    tokens.init_app(app, settings.keys(), settings.jwt_ttl)
    passwords.init_app(app, settings.hash_concurrency, settings.web_connections)

    app.register_blueprint(health.blueprint)
    app.register_blueprint(web.blueprint)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(users.blueprint)
    app.register_blueprint(posts.blueprint)
    app.register_blueprint(friends.blueprint)
    app.register_blueprint(blocks.blueprint)
    app.register_blueprint(profiles.blueprint)
    app.register_blueprint(feed.blueprint)
    app.register_blueprint(live_routes.blueprint)
    app.register_blueprint(posted.blueprint)
    warm_pages.init_app(app)
    rate_limits.init_app(app, settings)
    headers.init_app(app, settings.cors_origins)
    metrics.init_app(app)

    trust.init_app(app)
    live.init_app(app)
    feed_commands.init_app(app)
    account_commands.init_app(app)
    check_counts.init_app(app)
    return app


class Lenta(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Skip Flask's coroutine check on each call: no view or hook is async."""
        return func


class CompactJSON(DefaultJSONProvider):
    """Serializes like cached bodies: UTF-8, no spaces, fields in the schemas' order."""

    ensure_ascii = False
    compact = True
    sort_keys = False
