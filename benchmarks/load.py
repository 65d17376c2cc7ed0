"""HTTP load: how many requests a second a server answers over connections that stay open.

wrk where it is installed, because it leaves most of the processor to the server; else a small client in Python.
The same client, connections and headers for every side of a contest.
"""

import re
import selectors
import shutil
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

CONNECTIONS = 16
PROCESSES = 2  # of the Python client

WRK_SCRIPT = """
local requests, next_one = {{}}, 0
function init()
  for _, token in ipairs({{{tokens}}}) do
    local headers = {{["X-Auth"] = token{more}}}
    requests[#requests + 1] = wrk.format({method}, nil, headers, {body})
  end
end
function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
"""


class BadAnswer(Exception):
    """The server answered something else than 200."""


def rate(
    url: str, tokens: Sequence[str], seconds: float, folder: Path, connections: int = CONNECTIONS, body: str = ""
) -> float:
    """Requests a second of `url` by these tokens in turns. POST with a body, else GET. Raises BadAnswer."""
    if shutil.which("wrk"):
        return _by_wrk(url, tokens, seconds, folder, connections, body)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        arguments = url, tokens, seconds, connections // PROCESSES, body
        futures = [pool.submit(_by_python, *arguments) for _ in range(PROCESSES)]
        return sum(future.result() for future in futures)


def processor_micros(url: str, tokens: Sequence[str], seconds: float, folder: Path, pid: int) -> float:
    """Processor time of a server and its children, in microseconds a request. Raises BadAnswer."""
    before = _spent(pid)
    requests = rate(url, tokens, seconds, folder) * seconds
    return (_spent(pid) - before) / requests * 1e6


def _spent(pid: int) -> float:
    server = psutil.Process(pid)
    times = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return float(sum(time_.user + time_.system for time_ in times))


def latencies(url: str, tokens: Sequence[str], requests_a_second: float, seconds: float) -> list[float]:
    """Send GET requests at fixed times, by CONNECTIONS connections. Returns their latencies in seconds.

    A latency counts from when its request was due, so waiting for a connection is part of it.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_at_fixed_times, url, tokens, requests_a_second, seconds).result()


def _at_fixed_times(url: str, tokens: Sequence[str], requests_a_second: float, seconds: float) -> list[float]:
    requests, idle, due = _requests(url, tokens), deque[socket.socket](), deque[float]()
    taken, begun = [], {}
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            connection = _connect(url)
            selector.register(connection, selectors.EVENT_READ, bytearray())
            idle.append(connection)
        started = time.perf_counter()
        number, last = 0, int(requests_a_second * seconds)
        while len(taken) < last:
            now = time.perf_counter()
            while number < last and (moment := started + number / requests_a_second) <= now:
                due.append(moment)
                number += 1
            while due and idle:
                connection = idle.popleft()
                begun[connection] = due.popleft()
                connection.sendall(requests[len(taken) % len(requests)])
            for key, _ in selector.select(max(0.0, moment - now) if number < last else 1):
                key.data.extend(_receive(key.fileobj))
                if _is_complete(key.data):
                    key.data.clear()
                    taken.append(time.perf_counter() - begun[key.fileobj])  # type: ignore[index]
                    idle.append(key.fileobj)  # type: ignore[arg-type]
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return taken


def _requests(url: str, tokens: Sequence[str], body: str = "") -> list[bytes]:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    head = f"{'POST' if body else 'GET'} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    return [f"{head}X-Auth: {token}\r\n\r\n{body}".encode() for token in tokens]


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80))


def _by_wrk(url: str, tokens: Sequence[str], seconds: float, folder: Path, connections: int, body: str) -> float:
    script = folder / "wrk.lua"
    named = ", ".join(f'"{token}"' for token in tokens)
    post = {"method": '"POST"', "body": f"[[{body}]]", "more": ', ["Content-Type"] = "application/json"'}
    get = {"method": '"GET"', "body": "nil", "more": ""}
    script.write_text(WRK_SCRIPT.format(tokens=named, **(post if body else get)))
    options = ["-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "--timeout", "10s"]
    command = ["wrk", *options, "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise BadAnswer(output)
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None:
        raise BadAnswer(output)
    return float(found[1])


def _by_python(url: str, tokens: Sequence[str], seconds: float, connections: int, body: str) -> float:
    requests = _requests(url, tokens, body)
    with selectors.DefaultSelector() as selector:
        for number in range(connections):
            connection = _connect(url)
            connection.sendall(requests[number % len(requests)])
            selector.register(connection, selectors.EVENT_READ, bytearray())
        started = time.perf_counter()
        answered = connections
        while time.perf_counter() - started < seconds:
            for key, _ in selector.select(1):
                received = key.data
                received += _receive(key.fileobj)
                if _is_complete(received):
                    received.clear()
                    key.fileobj.sendall(requests[answered % len(requests)])  # type: ignore[union-attr]
                    answered += 1
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return (answered - connections) / seconds


def _receive(connection: Any) -> bytes:
    data: bytes = connection.recv(65536)
    if not data:
        raise BadAnswer("the server closed a connection")
    return data


def _is_complete(received: bytearray) -> bool:
    """Whether a whole answer is there. Raises BadAnswer."""
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise BadAnswer(bytes(received[:500]))
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    if found is None:
        raise BadAnswer(bytes(head))
    return len(body) >= int(found[1])
