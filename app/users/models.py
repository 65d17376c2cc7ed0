"""Tables of the users database."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Index, Text, func, text

from app.db.engine import USERS, db
from app.db.outbox import table
from app.users.indexes import FULL_NAME, REVERSED_NAME

users = db.Table(
    "users",
    Column("id", BigInteger, primary_key=True, autoincrement=False, server_default=text("next_id()")),
    Column("username", Text(collation="C")),  # in lower case; NULL: none. By "C" its index finds prefixes too
    Column("first_name", Text, nullable=False),
    Column("second_name", Text, nullable=False),
    Column("birthdate", Date, nullable=False),
    Column("biography", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    # Case-folded (app/users/folding.py). NULL if an older version registered the user.
    Column("first_name_folded", Text),
    Column("second_name_folded", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("suspended_at", DateTime(timezone=True)),  # NULL: not suspended
    bind_key=USERS,
)

Index("ix_users_username", users.c.username, unique=True)

# Case-insensitive prefix search.
Index(
    "ix_users_folded_names",
    func.coalesce(users.c.first_name_folded, func.lower(users.c.first_name)).label("first_name"),
    func.coalesce(users.c.second_name_folded, func.lower(users.c.second_name)).label("second_name"),
    postgresql_ops={"first_name": "text_pattern_ops", "second_name": "text_pattern_ops"},
)

# Search in one box; app/users/indexes.py has the expressions.
for name, expression in (("ix_users_full_name", FULL_NAME), ("ix_users_reversed_name", REVERSED_NAME)):
    Index(name, text(expression), users.c.id)

# For processes of the previous version during an upgrade; the next version drops it.
Index(
    "ix_users_names",
    func.lower(users.c.first_name).label("first_name"),
    func.lower(users.c.second_name).label("second_name"),
    postgresql_ops={"first_name": "text_pattern_ops", "second_name": "text_pattern_ops"},
)

# Users some of whose tokens are refused (app/auth/generations.py).
token_generations = db.Table(
    "token_generations",
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    bind_key=USERS,
)

outbox = table(USERS)
