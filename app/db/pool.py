"""Connection pools on which only a limited number of requests wait."""

import threading
from typing import Any

from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool


class BoundedPool(QueuePool):
    """Refuses a request while `max_waiting` others wait, beyond those that may be connecting.

    Without a bound, requests that wait for a slow database take all of the web's client connections.
    """

    max_waiting: int

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._room = threading.BoundedSemaphore(self.max_waiting + self.size())

    def connect(self) -> PoolProxiedConnection:
        if not self._room.acquire(blocking=False):
            raise PoolTimeout(f"{self.max_waiting} requests are waiting for a connection already")
        try:
            return super().connect()
        finally:
            self._room.release()


def bounded(max_waiting: int) -> type[BoundedPool]:
    """Return the class of a pool. SQLAlchemy makes the pool itself, and another one after `dispose`."""
    as_sqlalchemys = {"__module__": QueuePool.__module__}  # names its logger, which reports warnings only
    return type("Pool", (BoundedPool,), {"max_waiting": max_waiting} | as_sqlalchemys)
