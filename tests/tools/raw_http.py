"""Raw HTTP on a connection, for requests that no library would send."""

import json
import socket
from typing import Any, NamedTuple

from tests.tools import documented


class Response(NamedTuple):
    status: int
    headers: dict[str, str]  # by name in small letters
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def exchange(port: int, data: bytes, *, half_close: bool = False) -> list[Response]:
    """Send `data`, all of it, and return all responses until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65_536):
            received += part
    return parse(received)


def parse(received: bytes) -> list[Response]:
    """Split received data into responses; each needs a Content-Length, except 100 Continue."""
    responses = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        status = int(first.split()[1])
        if status >= 400:
            documented.check_error(status, headers, rest[:length])
        responses.append(Response(status, headers, rest[:length]))
        received = rest[length:]
    return responses
