"""Possible states of one thing in SQL: of a post, a relation, an account."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class Failover:
    """A standby of PostgreSQL was promoted.

    Of what was sent before `fenced_at` it has all that was acknowledged by `safe_at`. It takes writes from `served_at`.
    """

    safe_at: float
    fenced_at: float
    served_at: float = float("inf")


@dataclass
class Uncertain(Generic[T]):
    """`possible` by the responses; `undone` if a failover lost some of the writes."""

    possible: set[T]
    undone: set[T] = field(default_factory=set)
    _past: list[tuple[float, set[T]]] = field(default_factory=list)  # acknowledged when; what was possible before

    @property
    def states(self) -> set[T]:
        return self.possible | self.undone

    def becomes(self, possible: set[T], *, is_lossy: bool) -> None:
        """Record a write that was acknowledged now. `is_lossy`: by a primary whose successor may lack it."""
        before = self.states
        self._past.append((monotonic(), before))
        self.possible, self.undone = possible, before if is_lossy else set()

    def failed_over(self, safe_at: float) -> None:
        for acknowledged, before in self._past:
            if acknowledged > safe_at:
                self.undone |= before

    def is_lost(self, state: T) -> bool:
        """Return whether only a failover explains this state."""
        return state in self.undone - self.possible
