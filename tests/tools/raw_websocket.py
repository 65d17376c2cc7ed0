"""A raw WebSocket, for frames that no library would send."""

import socket
import struct
from typing import NamedTuple

from tests.tools.posted import PATH

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

HANDSHAKE = {
    "Host": "lenta",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
MASK = b"abcd"


class Received(NamedTuple):
    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close."""
        return int(struct.unpack("!H", self.payload[:2])[0])


def request(headers: dict[str, str], first_line: str = f"GET {PATH} HTTP/1.1") -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(opcode: int, payload: bytes = b"", *, length: int | None = None, is_last: bool = True) -> bytes:
    """Make a frame of a client. `length` is what it says about its payload, if that is a lie."""
    size = len(payload) if length is None else length
    head = bytes([opcode | (0x80 if is_last else 0)])
    head += bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return head + MASK + bytes(byte ^ MASK[n % 4] for n, byte in enumerate(payload))


class RawSocket:
    """A connection after its handshake."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(request(HANDSHAKE | {"X-Auth": token}))
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._data += self._socket.recv(4096)
        self.head, _, self._data = self._data.partition(b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Received | None:
        """Wait for a frame; None at the end."""
        while len(self._data) < 2 or len(self._data) < 2 + self._data[1]:  # none here has more than 125 bytes
            data = self._socket.recv(4096)
            if not data:
                return None
            self._data += data
        end = 2 + self._data[1]
        found, self._data = Received(self._data[0] & 0x0F, self._data[2:end]), self._data[end:]
        return found

    def close(self) -> None:
        self._socket.close()
