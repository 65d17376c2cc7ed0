"""Query plans: the rows that each SELECT read, by EXPLAIN ANALYZE on the same connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from app.db.engine import POSTS, db

Plan = dict[str, Any]


@contextmanager
def explained(bind: str = POSTS) -> Iterator[list[Plan]]:
    """Collect the plan of every SELECT on a database that runs in the block."""
    plans: list[Plan] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters)
            plans.append(cursor.fetchone()[0][0]["Plan"])

    event.listen(db.engines[bind], "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(db.engines[bind], "before_cursor_execute", explain)


def rows_read(plan: Plan) -> dict[str, int]:
    """Return the number of rows read by each scan of a plan."""
    found: dict[str, int] = {}
    if name := plan.get("Index Name") or plan.get("Relation Name"):
        read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        found[name] = int(read * plan["Actual Loops"])
    for child in plan.get("Plans", []):
        for name, rows in rows_read(child).items():
            found[name] = found.get(name, 0) + rows
    return found
