"""HTTP route of live events: server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import random

from flask import Blueprint, Response, request

from app.auth.tokens import VerifiedToken, current_token
from app.errors import Unavailable
from app.feed import schemas
from app.feed.live import log
from app.feed.live.hub import Hub, hub
from app.feed.live.subscription import END, SSE, Message
from app.http.request import load_query
from app.settings import settings

HEARTBEAT_SECONDS = 15.0  # proxies close connections that are silent for longer
RETRY_MS = 2_000
SPREAD_MS = 5_000  # over which clients come back when a process stops

HEADERS = {"X-Accel-Buffering": "no"}  # nginx passes events on at once

blueprint = Blueprint("live", __name__)


@blueprint.get("/post/feed/live")
def live() -> Response:
    require_switched_on()
    after = _place()
    events = EventStream(hub(), current_token(), after)
    return Response(events, content_type="text/event-stream; charset=utf-8", headers=HEADERS)


def require_switched_on() -> None:
    if not settings().live_connections:
        raise Unavailable("Live events are switched off here.")


class EventStream:
    """The body of a response: server-sent events until the subscription ends."""

    def __init__(self, hub: Hub, token: VerifiedToken, after: log.Place | None) -> None:
        self._hub, self._is_new = hub, after is None
        self._subscription = hub.subscribe(token, after, SSE)
        self._has_begun = False

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            return b"retry: %d\n" % RETRY_MS + (_id(self._subscription.start) if self._is_new else b"") + b"\n"
        messages = self._subscription.take(HEARTBEAT_SECONDS)
        if not messages and self._subscription.is_ended:
            raise StopIteration
        # An id alone makes no event, but the client goes on from there.
        return b"".join(map(_encode, messages)) or b": still here\n" + _id(self._subscription.place()) + b"\n"

    def close(self) -> None:
        self._hub.remove(self._subscription)


def _place() -> log.Place | None:
    """Return where the client goes on: what EventSource sends, or the parameter."""
    after: log.Place | None = load_query(schemas.live_query)["after"]
    sent = request.headers.get("Last-Event-ID")
    if not sent:
        return after
    try:
        return log.parse_place(sent)
    except ValueError:
        return log.Place("", "")  # of no log, so the client reads its page again


def _encode(message: Message) -> bytes:
    retry = b"retry: %d\n" % random.randint(0, SPREAD_MS) if message.name == END else b""
    return retry + _id(message.place) + b"event: %b\ndata: %b\n\n" % (message.name.encode(), message.data)


def _id(place: log.Place) -> bytes:
    return b"id: %b\n" % str(place).encode()
