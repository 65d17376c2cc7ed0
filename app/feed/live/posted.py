"""HTTP route of new posts: a WebSocket, the channel of /asyncapi.json."""

import json
import random
from collections.abc import Iterable, Iterator
from functools import lru_cache
from time import monotonic

from flask import Blueprint, Response, request
from wsproto.frame_protocol import CloseReason

from app.auth.tokens import VerifiedToken, current_token
from app.feed.live import log
from app.feed.live.hub import EXPIRED, REPLACED, RESTART, REVOKED, Hub, hub
from app.feed.live.routes import HEARTBEAT_SECONDS, SPREAD_MS, require_switched_on
from app.feed.live.subscription import END, RESET, WEBSOCKET, Message
from app.http import websocket
from app.http.connection import Connection
from app.http.websocket import WebSocket

# Codes of a close: 4000 to 4999 are free for applications (RFC 6455, 7.4.2), and end in a status of HTTP here.
CODES = {EXPIRED: 4401, REVOKED: 4401, REPLACED: 4429, RESTART: int(CloseReason.SERVICE_RESTART), RESET: 4410}

KEPT_POSTS = 100  # in the form of this channel: all followers get the same

blueprint = Blueprint("posted", __name__)


@blueprint.get("/post/feed/posted")
@blueprint.get("/post/feed/posted", websocket=True)  # Werkzeug matches requests for WebSockets apart
def posted() -> Response:
    connection = websocket.check(request)
    require_switched_on()
    return websocket.accept(request, PostedStream(hub(), current_token(), connection))


class PostedStream:
    """The frames that are sent until the subscription or the client ends."""

    def __init__(self, hub: Hub, token: VerifiedToken, connection: Connection) -> None:
        self._hub, self._connection, self._socket = hub, connection, WebSocket(connection)
        self._subscription = hub.subscribe(token, None, WEBSOCKET)

    def __iter__(self) -> Iterator[bytes]:
        yield b""  # the head of the response
        ping_at = monotonic() + HEARTBEAT_SECONDS
        while self._socket.is_open:
            self._connection.on_data(self._subscription.wake)
            messages = self._subscription.take(ping_at - monotonic())
            frames = self._socket.receive() + self._encode(messages)
            if self._socket.is_open and monotonic() >= ping_at:
                frames += self._socket.ping()
                ping_at = monotonic() + HEARTBEAT_SECONDS
            if frames:
                yield frames

    def close(self) -> None:
        self._hub.remove(self._subscription)

    def _encode(self, messages: Iterable[Message]) -> bytes:
        frames = []
        for message in messages:
            if not self._socket.is_open:
                break
            if message.name == log.POSTED:
                frames.append(self._socket.send(_payload(message.data)))
            elif message.name in (RESET, END):
                reason = json.loads(message.data).get("reason", RESET)
                frames.append(self._socket.close(CODES[reason], _explain(reason)))
        return b"".join(frames)


def _explain(reason: str) -> str:
    """Return the text of a close, at most 123 bytes: with the milliseconds after which all clients come back."""
    retry = {"retry": random.randint(0, SPREAD_MS)} if reason == RESTART else {}
    return json.dumps({"reason": reason, **retry}, separators=(",", ":"))


@lru_cache(KEPT_POSTS)
def _payload(body: bytes) -> str:
    post = json.loads(body)
    payload = {"postId": post["id"], "postText": post["text"], "author_user_id": post["author_user_id"]}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
