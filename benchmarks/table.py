"""The results as a table for a person, or as JSON for a program."""

import json
from collections.abc import Sequence

from benchmarks.comparison import FLOOR, OURS, PEER, Goal, Row

TIMES = " \N{MULTIPLICATION SIGN}"
HEADER = ("#", "what", "ours", "floor", "peer", "ratio", "target", "met")


def render(rows: Sequence[Row]) -> str:
    """One line a row; numbers to the right."""
    lines = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    rule = ["─" * width for width in widths]
    shown = ["  ".join(_aligned(line, widths)) for line in (lines[0], rule, *lines[1:])]
    problems = [f"{row.number} {row.name}: {row.problem}" for row in rows if row.problem]
    return "\n".join([*(line.rstrip() for line in shown), *problems])


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps([_as_dict(row) for row in rows], indent=2, ensure_ascii=False)


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{row.name}, {row.unit}" if row.unit else row.name
    if row.goal is None:
        return (row.number, name, "—", "—", "—", "—", "—", "not run")
    figures = (_number(row.median(side)) for side in (OURS, FLOOR, PEER))
    ratio = _number(row.value) + TIMES if row.goal.against else "—"
    return (row.number, name, *figures, ratio, _target(row.goal), _met(row))


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    left = (1, 6, 7)
    return [
        cell.ljust(w) if column in left else cell.rjust(w)
        for column, (cell, w) in enumerate(zip(line, widths, strict=True))
    ]


def _target(goal: Goal) -> str:
    if not goal.targets:
        return "—"
    unit = TIMES if goal.against else ""
    return f"{goal.bound} {', then '.join(_number(target) for target in goal.targets)}{unit}"


def _met(row: Row) -> str:
    if row.goal is None or row.value is None:
        return "not run"
    if not row.goal.targets:
        return "—"
    reached = row.goal.reached(row.value)
    if len(reached) == len(row.goal.targets):
        return "yes"
    return "the first" if reached else "no"


def _number(value: float | None) -> str:
    """Three digits that count, thousands apart."""
    if value is None:
        return "—"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{1 if abs(value) >= 10 else 2}f}"


def _as_dict(row: Row) -> dict[str, object]:
    goal = row.goal
    return {
        "number": row.number,
        "name": row.name,
        "unit": row.unit,
        "medians": {side: row.median(side) for side in row.rounds or {}},
        "rounds": row.rounds,
        "against": goal and goal.against,
        "value": row.value,
        "bound": goal and goal.bound,
        "targets": goal and goal.targets,
        "met": _met(row),
        "problem": row.problem,
        "seconds": round(row.seconds, 1),
    }
