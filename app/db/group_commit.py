"""Lets the writes of many requests share a transaction.

A commit waits for the disk, and costs more than the rows it is for. While one is under way, the writes that come wait,
and the next commit is for all of them. Where none is, a write begins at once.
Source: group commit, DeWitt et al., "Implementation Techniques for Main Memory Database Systems" (1984), 5.2.
"""

import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import Generic, TypeVar

from flask import current_app
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db.engine import POOL_SECONDS, WAITING_SHARE
from app.settings import settings

MAX_BATCH = 64  # writes in a transaction

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Write(Generic[Item, Result]):
    """A write, and its result or failure to come. `woken` is set when it is over, or its request is to lead."""

    result: Result
    failure: Exception | None = None
    is_over = False

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = threading.Event()


class GroupCommit(Generic[Item, Result]):
    """Writes items with `write`, which commits and returns a result for each. One call at a time is under way.

    The request that has waited longest leads: it writes for all. `max_waiting` bounds those who wait. Without it, they
    would take all of the web's client connections where the database is slow.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Result]], max_waiting: int) -> None:
        self._write, self._max_waiting = write, max_waiting
        self._waiting: list[_Write[Item, Result]] = []  # the first leads next
        self._is_led = False
        self._lock = threading.Lock()

    def run(self, item: Item) -> Result:
        """Write an item, and return its result.

        Raises what `write` raises for the transaction of this item; PoolTimeout if too many wait, or for too long.
        """
        own: _Write[Item, Result] = _Write(item)
        self._join(own)
        try:
            self._wait(own)
            if not own.is_over:
                self._lead()
        finally:
            if not own.is_over:
                self._leave(own)
        if own.failure:
            raise copy(own.failure) from own.failure  # each request adds its own traceback
        return own.result

    def _join(self, own: _Write[Item, Result]) -> None:
        with self._lock:
            if len(self._waiting) >= self._max_waiting:
                raise PoolTimeout(f"{self._max_waiting} writes are waiting already")
            self._waiting.append(own)
            if not self._is_led:
                self._choose_leader()

    def _wait(self, own: _Write[Item, Result]) -> None:
        if own.woken.wait(POOL_SECONDS):
            return
        with self._lock:
            if own in self._waiting and not own.woken.is_set():
                self._waiting.remove(own)
                raise PoolTimeout(f"the writes before this one took more than {POOL_SECONDS:g} s")
        own.woken.wait()  # for the transaction that is under way

    def _lead(self) -> None:
        time.sleep(0)  # the requests of this turn of the event loop come along
        with self._lock:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        try:
            for write, result in zip(batch, self._write([each.item for each in batch]), strict=True):
                write.result = result
        except BaseException as error:  # also if this request is interrupted: the others wait for it
            failure = error if isinstance(error, Exception) else PoolTimeout("the transaction was interrupted")
            for write in batch:
                write.failure = failure
            if failure is not error:
                raise
        finally:
            with self._lock:
                self._choose_leader()
            for write in batch:
                write.is_over = True
                write.woken.set()

    def _leave(self, own: _Write[Item, Result]) -> None:
        """Take back a write whose request waits no longer, and with it the lead."""
        with self._lock:
            if own in self._waiting:
                self._waiting.remove(own)
                if own.woken.is_set():
                    self._choose_leader()

    def _choose_leader(self) -> None:
        self._is_led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].woken.set()


def write_together(write: Callable[[Sequence[Item]], Sequence[Result]], item: Item) -> Result:
    """Write an item with those of other requests of this process. `write` commits. Raises as `GroupCommit.run`."""
    groups = current_app.extensions.setdefault("group_commits", {})
    if write not in groups:
        groups[write] = GroupCommit(write, max(1, settings().web_connections // WAITING_SHARE))
    group: GroupCommit[Item, Result] = groups[write]
    return group.run(item)
