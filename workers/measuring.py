"""Messages are counted and timed, and so is how long a write took to reach the feeds."""

import threading
from time import perf_counter, time
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware
from flask import g

from app import metrics

DONE, RETRIED, GIVEN_UP = "done", "retried", "given_up"
INTO_FEEDS = {"deliver", "deliver_bulk", "follows_changed"}  # after these a write is in its feeds; others say so in `g`


class Measured(Middleware):
    """Stands before the retries, so that it sees afterwards what became of a message."""

    def __init__(self) -> None:
        self._local = threading.local()

    def after_declare_actor(self, broker: dramatiq.Broker, actor: dramatiq.Actor[Any, Any]) -> None:
        """A series that begins with its first message would hide that one from `increase`."""
        for result in (DONE, RETRIED, GIVEN_UP):
            metrics.MESSAGES.labels(actor.actor_name, result)
        metrics.MESSAGE_SECONDS.labels(actor.actor_name)

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._local.started = perf_counter()

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        actor = message.actor_name
        outcome = DONE if exception is None else GIVEN_UP if message.failed else RETRIED
        metrics.MESSAGES.labels(actor, outcome).inc()
        metrics.MESSAGE_SECONDS.labels(actor).observe(perf_counter() - self._local.started)
        if outcome == DONE and (actor in INTO_FEEDS or "is_in_feeds" in g) and g.written_at:
            metrics.DELIVERY_LAG.observe(max(0.0, time() - g.written_at))
