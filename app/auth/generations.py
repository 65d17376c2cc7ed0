"""Generations of a user's tokens, in the users database: a token of a generation before the present one is refused.

A token carries the generation in which it was issued. Generations come from `next_id()`, so each is above all before
it, of all users. A row is needed only while a token from before it may live. It stays that long, also when its user
is gone.
"""

from typing import NamedTuple

from sqlalchemy import text

from app.db.engine import USERS, execute, fetch_one
from app.ids import MAX_ID
from app.settings import settings

FIRST = 0  # of users without a row, and of tokens that the version before issued
GONE = MAX_ID  # above all: every token of a user that is gone is refused

LEAST_KEPT_SECONDS = 30 * 86_400  # JWT_TTL may have been longer when a token was issued
DAY_SECONDS = 86_400
READ_SECONDS = 1.0  # requests wait for it

_ROW = "generation, CAST(extract(epoch FROM changed_at) AS bigint) AS changed_at"
_ALL = f"""
    SELECT string_agg(concat_ws(':', user_id, generation, changed_at), ',')
    FROM (SELECT user_id, {_ROW} FROM token_generations) generations
"""


class Generation(NamedTuple):
    """The present generation of a user's tokens. All tokens before it have expired at `expires`, seconds since 1970."""

    number: int
    expires: int


def present(user_id: int) -> Generation | None:
    """Return the present generation of a user's tokens. None if it is the first."""
    query = text(f"SELECT {_ROW} FROM token_generations WHERE user_id = :user_id")
    row = execute(USERS, query, {"user_id": user_id}).one_or_none()
    return row and Generation(row.generation, row.changed_at + kept_seconds())


def begin(user_id: int, number: int | None = None) -> Generation:
    """Begin the next generation, or GONE. Tokens of those before are refused once it is committed and announced."""
    begin = text(f"""
        INSERT INTO token_generations AS known (user_id, generation) VALUES (:user_id, coalesce(:number, next_id()))
        ON CONFLICT (user_id) DO UPDATE
            SET generation = greatest(known.generation, coalesce(:number, next_id())), changed_at = now()
        RETURNING {_ROW}
    """)
    row = execute(USERS, begin, {"user_id": user_id, "number": number}).one()
    return Generation(row.generation, row.changed_at + kept_seconds())


def load() -> dict[int, Generation]:
    """Return the generations of all users that are not in their first. Raises psycopg2.Error."""
    row = fetch_one(USERS, _ALL, READ_SECONDS)
    rows = [each.split(":") for each in row[0].split(",")] if row and row[0] else []
    kept = kept_seconds()
    return {int(user_id): Generation(int(number), int(changed_at) + kept) for user_id, number, changed_at in rows}


def gone() -> list[int]:
    """Return the users who were deleted, as long as that is known."""
    query = text("SELECT user_id FROM token_generations WHERE generation = :gone")
    return list(execute(USERS, query, {"gone": GONE}).scalars())


def forget_old() -> int:
    """Delete the rows that no token is left for. Returns how many.

    A day late: where clocks differ, no process may refuse the tokens of the first generation that come after.
    """
    delete = text("DELETE FROM token_generations WHERE changed_at < now() - make_interval(secs => :kept)")
    return execute(USERS, delete, {"kept": kept_seconds() + DAY_SECONDS}).rowcount


def kept_seconds() -> int:
    """Return for how long a row counts: longer than any token lives."""
    return max(LEAST_KEPT_SECONDS, settings().jwt_ttl + DAY_SECONDS)
