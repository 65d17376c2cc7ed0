"""A contest: ours and others doing the same in turns, and the goals that ours has to reach."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

OURS, FLOOR, PEER = "ours", "floor", "peer"

Measure = Callable[[], float]
Progress = Callable[[str], None]


class Unavailable(Exception):
    """Raised if a benchmark's requirement is missing on this machine."""


@dataclass(frozen=True)
class Goal:
    """A goal, absolute or relative to another side; the last of `targets` is final. Without any, it only compares."""

    name: str
    bound: Literal["≥", "≤"]
    targets: tuple[float, ...]
    against: str | None

    def reached(self, value: float) -> list[float]:
        return [target for target in self.targets if (value >= target if self.bound == "≥" else value <= target)]


@dataclass(frozen=True)
class Contest:
    """`sides` measure one round each, in `unit`: ours, and a floor or a peer or both."""

    unit: str
    sides: Mapping[str, Measure]
    goals: Sequence[Goal]


@dataclass(frozen=True)
class Row:
    """A line of the table: one goal of one contest. `problem` stands where nothing could be measured."""

    number: str
    name: str
    unit: str = ""
    rounds: Mapping[str, Sequence[float]] | None = None
    goal: Goal | None = None
    problem: str = ""
    seconds: float = 0.0

    def median(self, side: str) -> float | None:
        measured = (self.rounds or {}).get(side)
        return median(measured) if measured else None

    @property
    def value(self) -> float | None:
        """The compared value: the median of ours, or of the ratios of rounds run together."""
        if self.goal is None or not self.rounds:
            return None
        if self.goal.against is None:
            return self.median(OURS)
        return median(
            ours / other for ours, other in zip(self.rounds[OURS], self.rounds[self.goal.against], strict=True)
        )


def run(number: str, contest: Contest, rounds: int, progress: Progress) -> Iterator[Row]:
    """Measure `rounds` rounds of each side, interleaved, after an uncounted one."""
    started = time.monotonic()
    measured: dict[str, list[float]] = {side: [] for side in contest.sides}
    for round_ in range(rounds + 1):
        for side, measure in contest.sides.items():
            progress(f"round {round_} of {rounds}, {side}" if round_ else f"warming up, {side}")
            figure = measure()
            if round_:
                measured[side].append(figure)
    seconds = time.monotonic() - started
    for goal in contest.goals:
        shown = {side: measured[side] for side in (OURS, FLOOR, PEER) if side in measured}
        yield Row(number, goal.name, contest.unit, shown, goal, seconds=seconds)
