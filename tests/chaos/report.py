"""The figures of a run, and what was wrong."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.http import LOST, Answer

SHOWN = 30  # problems; the rest is counted


@dataclass
class Report:
    seed: int
    writes: Counter[str] = field(default_factory=Counter)  # acknowledged, unknown, refused
    reads: Counter[str] = field(default_factory=Counter)  # by source, or "post"
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    until_quiet: list[float] = field(default_factory=list)
    wrong_answers: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    divergent: list[str] = field(default_factory=list)
    dead_letters: int = 0
    broken: list[str] = field(default_factory=list)  # not quiet in time, a fault that could not be made
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wrote(self, answer: Answer) -> None:
        outcome = "unknown" if answer.is_unknown else "acknowledged" if answer.status == 200 else "refused"
        self._answered(self.writes, outcome, answer)

    def read(self, answer: Answer) -> None:
        source = answer.headers.get("X-Feed-Source", "post") if answer.status in (200, 404) else "unanswered"
        self._answered(self.reads, source, answer)

    def wrong_answer(self, problem: str) -> None:
        with self._lock:
            self.wrong_answers.append(problem)

    @property
    def problems(self) -> list[str]:
        dead = [f"{self.dead_letters} messages among the dead letters"] if self.dead_letters else []
        return self.broken + dead + self.lost + self.divergent + self.wrong_answers

    def table(self) -> str:
        rows = {
            "seed": str(self.seed),
            "writes": _counts(self.writes),
            "reads": _counts(self.reads),
            "answers": _counts(self.statuses),
            "slowest answer": f"{self.slowest:.1f} s",
            "faults": _counts(self.faults),
            "restarts": _counts(self.restarts),
            "checked": _counts(self.checked),
            "until quiet": "  ".join(f"{seconds:.0f}" for seconds in self.until_quiet) + " s",
            "dead letters": str(self.dead_letters),
            "lost": str(len(self.lost)),
            "divergent": str(len(self.divergent)),
            "wrong answers": str(len(self.wrong_answers)),
        }
        return "\n".join(f"{name:16}{value}" for name, value in rows.items())

    def details(self) -> str:
        hidden = len(self.problems) - SHOWN
        return "\n".join(self.problems[:SHOWN] + ([f"… and {hidden} more"] if hidden > 0 else []))

    def _answered(self, counter: Counter[str], name: str, answer: Answer) -> None:
        with self._lock:
            counter[name] += 1
            self.statuses["lost" if answer.status == LOST else str(answer.status)] += 1
            self.slowest = max(self.slowest, answer.seconds)


def _counts(counter: Counter[str]) -> str:
    parts = (f"{name} {number:,}" for name, number in sorted(counter.items(), key=lambda item: -item[1]))
    return f"{counter.total():,}: " + ", ".join(parts)
