"""The live connections of this process. One thread reads the log for all of them."""

import logging
import threading
from collections.abc import Iterable
from time import monotonic, sleep, time
from typing import cast

import redis
from flask import Flask, current_app

from app.auth import tokens
from app.auth.tokens import VerifiedToken
from app.errors import Unavailable
from app.feed.live import events, log
from app.feed.live.log import Place
from app.feed.live.subscription import CONNECTIONS, GAP, MAX_PENDING, RESET, RESETS, SERVER, Message, Subscription
from app.http import shutdown
from app.observability import metrics
from app.settings import settings

BATCH = 100  # entries
USER_CONNECTIONS = 20  # per user and process; beyond them the oldest ends
RENEW_SECONDS = 5.0  # far below log.LISTEN_SECONDS
CHECK_SECONDS = 1.0  # of tokens
RETRY_SECONDS = 1.0  # after a failure

EXPIRED, REVOKED, REPLACED, RESTART = "token_expired", "token_revoked", "too_many_connections", "restart"

_EVENTS = {name: metrics.LIVE_EVENTS.labels(name) for name in (log.POSTED, log.EDITED, log.DELETED, log.CHANGED)}

_log = logging.getLogger(__name__)


class Hub:
    """All subscriptions of a process, up to date with the log down to `place`."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._by_user: dict[int, list[Subscription]] = {}
        self._renew_at = self._check_at = 0.0
        self.place: Place | None = None  # None without connections
        self._is_stopped = False
        shutdown.on_stop(self._stop)

    def subscribe(self, token: VerifiedToken, after: Place | None, door: str) -> Subscription:
        """Connect a client, which knows everything up to `after`. Raises Unavailable."""
        try:
            subscription = self._add(token, door)
        except redis.RedisError as error:
            raise Unavailable("Live events are not available at the moment. Try again.") from error
        if after is not None:
            try:
                self._replay(subscription, after)
            except BaseException:
                self.remove(subscription)
                raise
        return subscription

    def remove(self, subscription: Subscription) -> None:
        with self._lock:
            self._forget(subscription)

    def _add(self, token: VerifiedToken, door: str) -> Subscription:
        with self._lock:
            if sum(map(len, self._by_user.values())) >= settings().live_connections:
                raise Unavailable("Too many live connections at the moment. Try again.")
            if self.place is None:
                self.place = log.listen()
                self._renew_at = monotonic() + RENEW_SECONDS
                threading.Thread(target=self._run, name="live", daemon=True).start()
            subscription = Subscription(token, door, self.place, lambda: self.place)
            mine = self._by_user.setdefault(token.user_id, [])
            mine.append(subscription)
            CONNECTIONS[door].inc()
            if len(mine) > USER_CONNECTIONS:
                self._end(mine[0], REPLACED)
            if self._is_stopped:
                self._end(subscription, RESTART)
            return subscription

    def _replay(self, subscription: Subscription, after: Place) -> None:
        """Put what happened between `after` and the start of the subscription, or a reset."""
        missed: list[Message] = []
        user_ids, end = {subscription.token.user_id}, subscription.start
        place = after
        while place != end:
            entries = log.read(place, BATCH) if place.token == end.token else None
            if entries is None or len(missed) > MAX_PENDING:
                RESETS[GAP].inc()
                missed = [Message(end, RESET, b"{}")]
                break
            entries = [entry for entry in entries if log.order(entry.id) <= log.order(end.entry_id)]
            if not entries:
                break
            missed += _messages(events.of(entries, user_ids), end.token)
            place = Place(end.token, entries[-1].id)
        with self._lock:
            subscription.put_first(missed)

    # The thread.

    def _run(self) -> None:
        with self._app.app_context():
            while True:
                try:
                    if not self._step():
                        return
                except Exception as error:
                    _log.warning("live events are late, trying again: %s", error)
                    sleep(RETRY_SECONDS)

    def _step(self) -> bool:
        """Pass on new entries. Returns whether there is a connection."""
        place = cast(Place, self.place)
        if monotonic() >= self._check_at:
            self._end_invalid()
        if monotonic() >= self._renew_at:
            place = self._renew(place)
        entries = log.wait(place, settings().redis_timeout_ms // 2, BATCH)
        with self._lock:
            if entries:
                self._pass_on(events.of(entries, self._by_user.keys()), place.token)
                self.place = Place(place.token, entries[-1].id)
            if not self._by_user:
                self.place = None
            return self.place is not None

    def _renew(self, place: Place) -> Place:
        """Renew the log. If it was not kept, all clients are reset."""
        end = log.listen()
        self._renew_at = monotonic() + RENEW_SECONDS
        if end.token == place.token:
            return place
        with self._lock:
            self.place = end
            for subscription in self._all():
                subscription.reset(end, SERVER)
        return end

    def _pass_on(self, found: Iterable[events.Event], token: str) -> None:
        for event in found:
            message = Message(Place(token, event.entry_id), event.name, event.data)
            _EVENTS[event.name].inc()
            metrics.LIVE_LAG.observe(time() - log.order(event.entry_id)[0] / 1000)
            for user_id in event.reader_ids:
                for subscription in self._by_user[user_id]:
                    subscription.put(message)

    def _end_invalid(self) -> None:
        self._check_at = monotonic() + CHECK_SECONDS
        with self._lock:
            for subscription in self._all():
                if not tokens.is_valid(subscription.token):
                    self._end(subscription, EXPIRED if tokens.is_expired(subscription.token) else REVOKED)

    def _end(self, subscription: Subscription, reason: str) -> None:
        subscription.end(reason)
        self._forget(subscription)

    def _forget(self, subscription: Subscription) -> None:
        """Drop a subscription, once."""
        mine = self._by_user.get(subscription.token.user_id, [])
        if subscription in mine:
            mine.remove(subscription)
            CONNECTIONS[subscription.door].dec()
            if not mine:
                del self._by_user[subscription.token.user_id]

    def _stop(self) -> None:
        """Send all clients to another process."""
        with self._lock:
            self._is_stopped = True
            for subscription in self._all():
                self._end(subscription, RESTART)

    def _all(self) -> list[Subscription]:
        return [subscription for mine in self._by_user.values() for subscription in mine]


def init_app(app: Flask) -> None:
    app.extensions["live"] = Hub(app)


def hub() -> Hub:
    return cast(Hub, current_app.extensions["live"])


def _messages(found: Iterable[events.Event], token: str) -> list[Message]:
    return [Message(Place(token, event.entry_id), event.name, event.data) for event in found]
