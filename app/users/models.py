"""The users database."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Index, Text, func, text

from app.db import USERS, db

users = db.Table(
    "users",
    Column("id", BigInteger, primary_key=True, autoincrement=False, server_default=text("next_id()")),
    Column("first_name", Text, nullable=False),
    Column("second_name", Text, nullable=False),
    Column("birthdate", Date, nullable=False),
    Column("biography", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=USERS,
)

# Search by prefix, without regard to case, in the order of ids.
Index(
    "ix_users_names",
    func.lower(users.c.first_name).label("first_name"),
    func.lower(users.c.second_name).label("second_name"),
    postgresql_ops={"first_name": "text_pattern_ops", "second_name": "text_pattern_ops"},
)
