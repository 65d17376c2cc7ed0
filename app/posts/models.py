"""Tables of the posts database."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, Text, func, text

from app.db.engine import POSTS, db
from app.db.outbox import table

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
# Lists by time, newest first (app/posts/follow_indexes.py).
Index("ix_follows_follower_id_created_at", follows.c.follower_id, follows.c.created_at, follows.c.followee_id)
Index("ix_follows_followee_id_created_at", follows.c.followee_id, follows.c.created_at, follows.c.follower_id)

blocks = db.Table(
    "blocks",
    Column("blocker_id", BigInteger, primary_key=True, autoincrement=False),
    Column("blocked_id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=POSTS,
)
Index("ix_blocks_blocked_id", blocks.c.blocked_id)
Index("ix_blocks_blocker_id_created_at", blocks.c.blocker_id, blocks.c.created_at, blocks.c.blocked_id)

# Kept by triggers, which change no other table (app/posts/counts.py).
user_counts = db.Table(
    "user_counts",
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", BigInteger, nullable=False, index=True),
    Column("followers", Integer, nullable=False),
    Column("following", Integer, nullable=False),
    Column("posts", Integer, nullable=False),
    bind_key=POSTS,
)
# How far what was there before the triggers is counted. One row.
counted_users = db.Table("counted_users", Column("up_to", BigInteger, nullable=False), bind_key=POSTS)

outbox = table(POSTS)

# Users who are gone, and posts whose deletion has not been fanned out (app/posts/gone.py).
gone_users = db.Table(
    "gone_users",
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("gone_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=POSTS,
)
deleted_posts = db.Table(
    "deleted_posts",
    Column("post_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False, index=True),
    bind_key=POSTS,
)

# Read marks: the posts up to which users have read their feeds (app/posts/seen.py).
feed_seen = db.Table(
    "feed_seen",
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("post_id", BigInteger, nullable=False),
    bind_key=POSTS,
)

# Users whose posts are in no feed (app/posts/suspensions.py). The view `effective_follows` leaves them out.
suspended_users = db.Table(
    "suspended_users",
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    bind_key=POSTS,
)

# Pulled authors, and those in transition (app/feed/hybrid/policy.py).
PROMOTING, PULLED, DEMOTING = "promoting", "pulled", "demoting"
pulled_authors = db.Table(
    "pulled_authors",
    Column("author_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("turn", BigInteger, nullable=False, server_default=text("CAST(random() * 9007199254740991 AS bigint)")),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=POSTS,
)
