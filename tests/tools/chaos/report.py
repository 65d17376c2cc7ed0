"""The figures of a run, and its failures."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from tests.tools.chaos.certainty import Failover
from tests.tools.chaos.http import LOST, Answer

SHOWN = 30  # problems; the rest is counted
OLDEST_SECONDS = 120.0  # a message is retried so long, and then its feeds are evicted
UNDONE_SECONDS = 60.0  # 34 s were seen: a timeline is noticed in 5 s, but the check that drops feeds may be retried


@dataclass
class Report:
    seed: int
    writes: Counter[str] = field(default_factory=Counter)  # acknowledged, unknown, refused
    reads: Counter[str] = field(default_factory=Counter)  # by source, or "post"
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    live: Counter[str] = field(default_factory=Counter)  # of clients of live events: events, connections, pages
    commands: Counter[str] = field(default_factory=Counter)  # of operators: suspended, restored, unknown
    log_ins: Counter[str] = field(default_factory=Counter)  # by status, of storms
    slowest: float = 0.0
    cached_pages: list[float] = field(default_factory=list)  # seconds each
    ages: list[float] = field(default_factory=list)  # of pages, in seconds: for how long they have lacked a post
    unsafe: list[float] = field(default_factory=list)  # seconds: what was acknowledged in them a failover may lose
    undone: Counter[str] = field(default_factory=Counter)  # acknowledged writes that a failover lost
    shown_undone: list[float] = field(default_factory=list)  # seconds, by round: how long responses had them after it
    until_quiet: list[float] = field(default_factory=list)
    wrong_answers: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # of deleted accounts
    divergent: list[str] = field(default_factory=list)
    dead_letters: int = 0
    broken: list[str] = field(default_factory=list)  # not quiet in time, a fault that could not be made

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read the figures of a run that was interrupted."""
        saved = json.loads(path.read_text())
        return cls(**{name: Counter(value) if isinstance(value, dict) else value for name, value in saved.items()})

    def save(self, path: Path) -> None:
        """Write the figures, whole or not at all."""
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({one.name: getattr(self, one.name) for one in fields(self)}))
        unfinished.replace(path)

    def wrote(self, answer: Answer) -> None:
        outcome = "unknown" if answer.is_unknown else "acknowledged" if answer.status == 200 else "refused"
        self._answered(self.writes, outcome, answer)

    def read(self, answer: Answer) -> None:
        source = answer.headers.get("X-Feed-Source", "post") if answer.status in (200, 404) else "unanswered"
        self._answered(self.reads, source, answer)
        if source == "cache":
            self.cached_pages.append(answer.seconds)

    def aged(self, seconds: float) -> None:
        self.ages.append(round(seconds, 2))

    def failed_over(self, failovers: list[Failover], undone: Counter[str], shown_seconds: float) -> None:
        """Record the failovers of PostgreSQL in a round."""
        self.unsafe += [failover.fenced_at - failover.safe_at for failover in failovers]
        self.undone.update(undone)
        self.shown_undone += [shown_seconds] if failovers else []

    def logged_in(self, answer: Answer) -> None:
        with self._lock:
            self.log_ins[_status(answer)] += 1

    def wrong_answer(self, problem: str) -> None:
        with self._lock:
            self.wrong_answers.append(problem)

    @property
    def problems(self) -> list[str]:
        dead = [f"{self.dead_letters} messages among the dead letters"] if self.dead_letters else []
        oldest = max(self.ages, default=0.0)
        old = [f"a page had lacked a post for {oldest:.0f} s"] if oldest > OLDEST_SECONDS else []
        shown = max(self.shown_undone, default=0.0)
        old += [f"responses had lost writes {shown:.0f} s after a failover"] if shown > UNDONE_SECONDS else []
        return self.broken + dead + old + self.lost + self.left + self.divergent + self.wrong_answers

    def table(self) -> str:
        rows = {
            "seed": str(self.seed),
            "writes": _counts(self.writes),
            "reads": _counts(self.reads),
            "answers": _counts(self.statuses),
            "log-ins": _counts(self.log_ins),
            "operators": _counts(self.commands),
            "live clients": _counts(self.live),
            "slowest answer": f"{self.slowest:.1f} s",
            "cached pages": _times(self.cached_pages),
            "age of pages": _ages(self.ages),
            "failovers": _failovers(self.unsafe, self.shown_undone),
            "lost by these": _counts(self.undone),
            "faults": _counts(self.faults),
            "restarts": _counts(self.restarts),
            "checked": _counts(self.checked),
            "until quiet": "  ".join(f"{seconds:.0f}" for seconds in self.until_quiet) + " s",
            "dead letters": str(self.dead_letters),
            "lost": str(len(self.lost)),
            "left of deleted": str(len(self.left)),
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
            self.statuses[_status(answer)] += 1
            self.slowest = max(self.slowest, answer.seconds)


def _counts(counter: Counter[str]) -> str:
    parts = (f"{name} {number:,}" for name, number in sorted(counter.items(), key=lambda item: -item[1]))
    return f"{counter.total():,}: " + ", ".join(parts)


def _ages(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    median, most, nearly_all = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99, 0.999))
    return (
        f"{len(ordered):,}: median {median:.1f} s, 99 % {most:.1f} s, 99.9 % {nearly_all:.1f} s, "
        f"oldest {ordered[-1]:.1f} s"
    )


def _failovers(unsafe: list[float], shown: list[float]) -> str:
    if not unsafe:
        return "none"
    return f"{len(unsafe)}: unsafe for {max(unsafe):.1f} s at most; lost writes shown for {max(shown):.1f} s at most"


def _status(answer: Answer) -> str:
    return "lost" if answer.status == LOST else str(answer.status)


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    median, late = (ordered[int(share * (len(ordered) - 1))] * 1000 for share in (0.5, 0.99))
    slow = sum(time > 1 for time in ordered)
    return f"{len(ordered):,}: median {median:.0f} ms, 99 % {late:.0f} ms, slowest {ordered[-1]:.2f} s, {slow} over 1 s"
