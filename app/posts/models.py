"""The posts database: posts, follows, outbox."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from app.db import POSTS, db

posts = db.Table(
    "posts",
    Column("id", BigInteger, primary_key=True, autoincrement=False, server_default=text("next_id()")),
    Column("author_id", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default="1"),
    bind_key=POSTS,
)
Index("ix_posts_author_id_id", posts.c.author_id, posts.c.id.desc())

follows = db.Table(
    "follows",
    Column("follower_id", BigInteger, primary_key=True, autoincrement=False),
    Column("followee_id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=POSTS,
)
Index("ix_follows_followee_id_follower_id", follows.c.followee_id, follows.c.follower_id)

# An insert notifies the channel `outbox` (a trigger of the migration), which wakes the relay.
outbox = db.Table(
    "outbox",
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("request_id", Text),
    bind_key=POSTS,
)

# Authors who are pulled, or on their way to it or back (app/feed/pulling.py). A change of direction is a new turn.
pulled_authors = db.Table(
    "pulled_authors",
    Column("author_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("turn", BigInteger, Identity(always=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=POSTS,
)
