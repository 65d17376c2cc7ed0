"""gunicorn's parser, which remembers heads: a client sends the same one with each of its reads."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gunicorn.http import message, parser

MAX_HEADS, MAX_HEAD_BYTES = 1000, 2048  # remembered in a process, and the size of one


class Head(NamedTuple):
    """The values that gunicorn parses from the head of a request."""

    method: str
    uri: str
    path: str
    query: str
    fragment: str
    version: tuple[int, int]
    scheme: str
    headers: Sequence[tuple[str, str]]


_heads: dict[bytes, Head] = {}


class Request(message.Request):  # type: ignore[misc]
    """A request, whose head is parsed only if it is not remembered."""

    method: str
    headers: list[tuple[str, str]]
    _expected_100_continue: bool

    def _parse_python(self, unreader: Any, buf: bytearray) -> bytes:
        received = bytes(buf)
        head = _heads.get(received)
        if head is None:
            rest: bytes = super()._parse_python(unreader, buf)
            if self.method == "GET" and not self._expected_100_continue and _is_one_head(received):
                if len(_heads) >= MAX_HEADS:
                    _heads.clear()
                head = Head(*(getattr(self, name) for name in Head._fields))
                _heads[received] = head._replace(headers=tuple(self.headers))
            return rest
        self.method, self.uri, self.path, self.query, self.fragment, self.version, self.scheme, headers = head
        self.headers = list(headers)
        return b""


class RequestParser(parser.Parser):  # type: ignore[misc]
    mesg_class = Request


def _is_one_head(received: bytes) -> bool:
    """Return whether a whole head was received at once, and nothing after it."""
    return len(received) <= MAX_HEAD_BYTES and received.find(b"\r\n\r\n") == len(received) - 4
