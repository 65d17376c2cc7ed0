"""Capacities as a table for a person, or as plain values for JSON."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from benchmarks.capacity.limits import LIMITS, first
from benchmarks.capacity.model import DEFAULTS, Capacity, Inputs

Figure = Callable[[Capacity], float]

# Section → rows: name, unit, figure.
SECTIONS: dict[str, list[tuple[str, str, Figure]]] = {
    "at the peak, a second": [
        ("pages read", "", lambda c: c.rates["read"]),
        ("posts written", "", lambda c: c.rates["post"]),
        ("deliveries", "", lambda c: c.rates["delivery"]),
        ("of them by the bulk queue", "%", lambda c: 100 * c.bulk_share),
        ("RabbitMQ messages", "", lambda c: c.messages_s),
        ("PostgreSQL WAL", "MB", lambda c: c.wal_mb_s),
    ],
    "cores": [
        ("web", "", lambda c: c.cores["web"]),
        ("workers", "", lambda c: c.cores["worker"]),
        ("Redis", "", lambda c: c.cores["redis"]),
        ("PostgreSQL", "", lambda c: c.cores["postgresql"]),
        ("of them a replica's", "", lambda c: c.replica_cores),
        ("RabbitMQ", "", lambda c: c.cores["rabbitmq"]),
    ],
    "processes": [
        ("gunicorn's, one a core", "", lambda c: c.web_processes),
        ("workers", "", lambda c: c.worker_processes),
        ("Redis servers", "", lambda c: c.redis_nodes),
        ("connections to PostgreSQL", "", lambda c: c.connections),
    ],
    "kept": [
        ("posts in a feed", "", lambda c: c.entries),
        ("feeds in Redis", "GB", lambda c: c.feeds_gb),
        ("bodies in Redis", "GB", lambda c: c.bodies_gb),
        ("PostgreSQL, with indexes", "GB", lambda c: c.database_gb),
    ],
    "takes": [
        ("followers of the most followed", "", lambda c: c.top_followers),
        ("a post of theirs to the last", "s", lambda c: c.top_post_s),
        ("to warm all feeds", "min", lambda c: c.warm_min),
    ],
}


def render(capacities: Sequence[Capacity]) -> str:
    """Build a column per capacity, with its first limit and the remedy below."""
    lines = [["users", "", *(number(c.inputs.users) for c in capacities)]]
    for section, rows in SECTIONS.items():
        lines.append([section, "", *("" for _ in capacities)])
        lines += [[f"  {name}", unit, *(number(figure(c)) for c in capacities)] for name, unit, figure in rows]
    lines.append(["limits, reached by", "", *("" for _ in capacities)])
    lines += [[f"  {limit.name}", "%", *(number(100 * limit.reached(c)) for c in capacities)] for limit in LIMITS]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [_aligned(line, widths) for line in lines]
    return "\n".join([_changed(capacities[0].inputs), *shown, "", *map(_advice, capacities)])


def as_dict(capacity: Capacity) -> dict[str, object]:
    """Inputs, figures and limits of one capacity."""
    limit = first(capacity)
    return {
        "inputs": asdict(capacity.inputs),
        "figures": {
            section: [{"name": name, "unit": unit, "value": figure(capacity)} for name, unit, figure in rows]
            for section, rows in SECTIONS.items()
        },
        "limits": {
            limit.name: {
                "load": limit.load(capacity),
                "bearable": limit.bearable(capacity),
                "unit": limit.unit,
                "change": limit.change,
            }
            for limit in LIMITS
        },
        "first_limit": limit and limit.name,
    }


def number(value: float) -> str:
    """Two or three digits that count, thousands apart."""
    if isinstance(value, int) and value < 100:
        return str(value)
    if 0 < value < 0.01:
        return "<0.01"
    if value < 1:
        return f"{value:.2g}" if value else "0"
    if value < 10:
        return f"{value:.1f}"
    digits = max(0, len(str(int(value))) - 3)
    return f"{round(value, -digits):,.0f}".replace(",", " ")


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    name, unit, *figures = line
    cells = [name.ljust(widths[0]), unit.ljust(widths[1])]
    return "  ".join([*cells, *(cell.rjust(w) for cell, w in zip(figures, widths[2:], strict=True))]).rstrip()


def _changed(inputs: Inputs) -> str:
    """The inputs that are not the defaults."""
    changed = {name: value for name, value in asdict(inputs).items() if name != "users" and value != DEFAULTS[name]}
    return ", ".join(f"{name} {value:g}" for name, value in changed.items()) or "all inputs as by default"


def _advice(capacity: Capacity) -> str:
    limit = first(capacity)
    users = f"{number(capacity.inputs.users)} users: "
    if limit is None:
        return f"{users}one server of each kind does"
    beyond = [each.name for each in LIMITS if each is not limit and each.reached(capacity) > 1]
    also = f" (then {', '.join(beyond)})" if beyond else ""
    return f"{users}first {limit.name}{also}\n    {limit.change}"
