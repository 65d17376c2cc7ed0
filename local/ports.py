"""Ports of servers that are started for a test or a benchmark."""

import random
import socket
from contextlib import ExitStack

# Below those of clients, one of which may take a port before the server does.
PORTS = range(10_000, 32_000)


def free_port(*further: int) -> int:
    """Find a port without a server. The ports that are higher by the numbers in `further` are free too."""
    draw = random.SystemRandom()  # Hypothesis seeds the other generator
    candidates = PORTS[: len(PORTS) - max(further, default=0)]  # the further ones are below those of clients, too
    while True:
        port = draw.choice(candidates)
        if _are_free([port, *(port + distance for distance in further)]):
            return port


def answers(port: int) -> bool:
    """Whether a server listens on this machine's port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _are_free(ports: list[int]) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
