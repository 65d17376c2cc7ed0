"""Dramatiq middleware: metrics, application contexts, and retries."""

import logging
import threading
from time import perf_counter, sleep, time
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware, Retries
from flask import Flask, g, has_app_context

from app.observability import metrics
from workers.errors import BROKER_UNAVAILABLE

log = logging.getLogger(__name__)

RETRY_ENQUEUE_SECONDS = 1.0

# Message options that are copied to all messages it causes: the original request and the time of its write.
REQUEST_ID = "request_id"
WRITTEN_AT = "written_at"  # seconds since 1970
PROPAGATED_OPTIONS = (REQUEST_ID, WRITTEN_AT)

DONE, RETRIED, GIVEN_UP = "done", "retried", "given_up"
# Actors after which a write is visible; others set `g.delivered`.
DELIVERING_ACTORS = {"deliver", "deliver_bulk"}


class MessageMetrics(Middleware):
    """Counts and times messages. Precedes the retries, so that it runs after them and sees the outcome."""

    def __init__(self) -> None:
        self._local = threading.local()

    def after_declare_actor(self, broker: dramatiq.Broker, actor: dramatiq.Actor[Any, Any]) -> None:
        """Initialize the series at 0, or `increase()` misses the first message."""
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
        if outcome == DONE and (actor in DELIVERING_ACTORS or "delivered" in g) and g.written_at:
            metrics.DELIVERY_LAG.observe(max(0.0, time() - g.written_at))


class AppContext(Middleware):
    """Runs each message in its own application context, and so with its own database session.

    Copies PROPAGATED_OPTIONS from the current message to the messages it sends.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._local = threading.local()

    def before_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None) -> None:
        if has_app_context():
            for option in PROPAGATED_OPTIONS:
                if g.get(option):
                    message.options.setdefault(option, g.get(option))

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._local.context = self._app.app_context()
        self._local.context.push()
        g.message = message
        for option in PROPAGATED_OPTIONS:
            setattr(g, option, message.options.get(option))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self._local.context.pop()

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._local.context.pop()


class BlockingRetries(Retries):
    """Retries that wait until the broker is available.

    A failed message is retried by enqueueing a copy and acknowledging the original. Dramatiq acknowledges it even if
    enqueueing failed, because it only logs errors of a middleware: the message would be lost while the broker is
    unavailable. So this waits. If the process dies first, the unacknowledged message is delivered again.
    """

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        options = dict(message.options)
        while True:
            try:
                super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]
                return
            except BROKER_UNAVAILABLE as error:
                log.warning("cannot retry message %s, broker unavailable: %s", message.message_id, error)
                message.options.clear()
                message.options.update(options)
                sleep(RETRY_ENQUEUE_SECONDS)
