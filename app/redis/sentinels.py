"""Asks Sentinels for the primary, and believes those that know of the newest failover.

A Sentinel that is cut off from the others goes on naming the old primary. Each failover has a higher number (its
"configuration epoch"), which the majority of Sentinels agrees on.
"""

from typing import Any

import redis
from redis.sentinel import MasterNotFoundError, Sentinel

State = dict[str, Any]


class Sentinels(Sentinel):
    """Remembers the highest epoch: a Sentinel that reports a lower one is not believed."""

    epoch = 0

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the primary that the first Sentinel with the newest epoch names."""
        for sentinel in list(self.sentinels):
            state = self._ask(sentinel, service_name)
            if state and state["config-epoch"] >= self.epoch and _is_up(state):
                self.epoch = state["config-epoch"]
                self.sentinels.sort(key=lambda one: one is not sentinel)  # it is asked first from now on
                return state["ip"], state["port"]
        raise MasterNotFoundError(f"no Sentinel that replies names a primary for {service_name!r}")

    def look_for_failover(self, service_name: str) -> None:
        """Ask all Sentinels for their epoch. It falls only if a majority says so, after they were set up again."""
        states = [self._ask(sentinel, service_name) for sentinel in list(self.sentinels)]
        epochs = [state["config-epoch"] for state in states if state]
        are_most = len(epochs) * 2 > len(self.sentinels)
        self.epoch = max(epochs if are_most else [self.epoch, *epochs])

    def _ask(self, sentinel: Any, service_name: str) -> State | None:
        try:
            found: State | None = sentinel.sentinel_masters().get(service_name)
        except (redis.ConnectionError, redis.TimeoutError):
            return None
        return found


def _is_up(state: State) -> bool:
    return state["is_master"] and not state["is_sdown"] and not state["is_odown"]
