"""The messages that wait for one live client."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from app.auth.tokens import VerifiedToken
from app.feed.live.log import Place
from app.observability import metrics

MAX_PENDING = 1000  # messages that a client has not taken yet; more are replaced by one `reset`

RESET, END = "reset", "end"  # beside the operations of the log

SSE, WEBSOCKET = "sse", "websocket"  # doors, as in the metric
CONNECTIONS = {door: metrics.LIVE_CONNECTIONS.labels(door) for door in (SSE, WEBSOCKET)}

# Causes of a reset, as in the metric.
GAP, SERVER, SLOW = "gap", "server", "slow"
RESETS = {cause: metrics.LIVE_RESETS.labels(cause) for cause in (GAP, SERVER, SLOW)}


class Message(NamedTuple):
    """An event for one client. `place` is where the client goes on after it."""

    place: Place
    name: str
    data: bytes


class Subscription:
    """The messages for one client."""

    def __init__(self, token: VerifiedToken, door: str, start: Place, read_up_to: Callable[[], Place | None]) -> None:
        self.token, self.door, self.start, self._read_up_to = token, door, start, read_up_to
        self._pending: deque[Message] = deque()
        self._wake = threading.Event()
        self.is_ended = False

    def take(self, seconds: float) -> list[Message]:
        """Wait up to `seconds` for messages or `wake`, and take all. Empty after the end."""
        if not self._pending and not self.is_ended:
            self._wake.wait(seconds)
        self._wake.clear()
        taken: list[Message] = []
        with suppress(IndexError):
            while True:
                taken.append(self._pending.popleft())
        return taken

    def wake(self) -> None:
        """End the wait of `take`."""
        self._wake.set()

    def place(self) -> Place:
        """Return the place that the client has reached once all messages are taken."""
        place = self._read_up_to() or self.start  # before looking at what is pending
        return self._pending[-1].place if self._pending else place

    def put(self, message: Message) -> None:
        self._pending.append(message)
        if len(self._pending) > MAX_PENDING:
            self.reset(message.place, SLOW)
        self._wake.set()

    def put_first(self, messages: Iterable[Message]) -> None:
        """Put messages before those that have arrived since."""
        self._pending.extendleft(reversed(list(messages)))

    def reset(self, place: Place, cause: str) -> None:
        """Replace all messages by the one that what was missed is not known."""
        RESETS[cause].inc()
        self._pending.clear()
        self._pending.append(Message(place, RESET, b"{}"))
        self._wake.set()

    def end(self, reason: str) -> None:
        """Send a last message, and end."""
        self._pending.append(Message(self.place(), END, b'{"reason":"%b"}' % reason.encode()))
        self.is_ended = True
        self._wake.set()
