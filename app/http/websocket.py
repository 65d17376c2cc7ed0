"""The server's end of a WebSocket (RFC 6455), on a connection of http/server.py."""

import base64
import binascii
from typing import Any

from flask import Request, Response
from werkzeug.wsgi import ClosingIterator
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token

from app.errors import InvalidInput, Unavailable, UpgradeRequired
from app.http.connection import Connection

VERSION = "13"
SUBPROTOCOL = "lenta"
KEY, OFFERED = "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"
KEY_BYTES = 16

READ_BYTES = 4096  # at a time, so that a client that sends much delays no other
MAX_MESSAGE = 4096  # bytes or characters of a message from a client


class Upgrade(Response):
    """A response of 101. `response` yields what is sent from then on."""

    default_mimetype = None

    def get_app_iter(self, environ: Any) -> ClosingIterator:
        return ClosingIterator(self.iter_encoded(), self.close)  # Werkzeug would send nothing after a 1xx


def check(request: Request) -> Connection:
    """Return the connection of a request for a WebSocket. Raises UpgradeRequired; InvalidInput; Unavailable."""
    headers = request.headers
    asked = headers.get("Upgrade", "").strip().lower() == "websocket" and request.method == "GET"
    options = [option.strip() for option in headers.get("Connection", "").lower().split(",")]
    is_http_1_1 = request.environ["SERVER_PROTOCOL"] >= "HTTP/1.1"
    if not asked or "upgrade" not in options or not is_http_1_1 or headers.get("Sec-WebSocket-Version") != VERSION:
        raise UpgradeRequired
    if request.content_length or request.headers.get("Transfer-Encoding"):
        raise InvalidInput("A request for a WebSocket has no body.")
    if not _is_key(headers.get(KEY, "")):
        raise InvalidInput(errors={KEY: [f"Must be {KEY_BYTES} bytes in base64."]})
    connection: Connection | None = request.environ.get("gunicorn.socket")
    if connection is None:
        raise Unavailable("This server has no WebSockets: they need gunicorn.")
    return connection


def accept(request: Request, frames: Any) -> Response:
    """Respond to a request that was checked. `frames` yields what is sent then."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": generate_accept_token(request.headers[KEY].encode()).decode(),
    }
    if SUBPROTOCOL in [offered.strip() for offered in request.headers.get(OFFERED, "").split(",")]:
        headers[OFFERED] = SUBPROTOCOL
    return Upgrade(frames, status=101, headers=headers)


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


class WebSocket:
    """Makes frames, and answers those of the client. Nothing that a client sends has a meaning."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._frames = connection, Frames(ConnectionType.SERVER)
        self._message = 0  # bytes or characters of the message that is arriving
        self.is_open = True
        self.has_heard = True  # from the client since the last ping

    def send(self, text: str) -> bytes:
        """Make the frame of a message."""
        return self._frames.send(TextMessage(text))

    def ping(self) -> bytes:
        """Make a ping. A client that has sent nothing since the one before is gone."""
        self.is_open, self.has_heard = self.has_heard, False
        return self._frames.send(Ping()) if self.is_open else b""

    def close(self, code: int, reason: str) -> bytes:
        """Make the last frame. The connection ends after it."""
        self.is_open = False
        return self._frames.send(CloseConnection(code, reason))

    def receive(self) -> bytes:
        """Read what has arrived. Returns the frames that answer it."""
        if not self._connection.has_data():
            return b""
        data = self._connection.recv(READ_BYTES)
        if not data:
            self.is_open = False
            return b""
        self.has_heard = True
        self._frames.receive_data(data)
        answers = b""
        for event in self._frames.events():
            answers += self._answer(event)
            if not self.is_open:
                break
        return answers

    def _answer(self, event: Event) -> bytes:
        if isinstance(event, Ping):
            return self._frames.send(event.response())
        if isinstance(event, CloseConnection):  # or a frame that breaks the protocol, with the code that says so
            return self.close(event.code, "")
        if isinstance(event, Message):
            self._message += len(event.data)
            if self._message > MAX_MESSAGE:
                return self.close(CloseReason.MESSAGE_TOO_BIG, f"More than {MAX_MESSAGE}.")
            if event.message_finished:
                self._message = 0
        return b""
