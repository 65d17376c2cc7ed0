"""Bodies that are refused before they are read, over real connections: the client gets the one response, whole.

A server that closes a connection on which data is still arriving resets it, and the reset destroys the response at the
client (RFC 9112, 9.6).
"""

import http.client
import socket
from dataclasses import replace
from time import monotonic

import pytest

from app.factory import MAX_BODY_BYTES
from local.ports import free_port
from tests.factories import eventually
from tests.system.test_bodies import CHUNKS, assert_refused, chunked, request
from tests.tools.processes import Web
from tests.tools.raw_http import exchange, parse

MIB = 2**20
EARLY = {
    "a body over the limit": ("POST", "/login", "application/json", 413, 1007),
    "no token": ("POST", "/post/create", "application/json", 401, 1002),
    "an address that leads nowhere": ("POST", "/nowhere", "application/json", 404, 1005),
    "a method that is not taken": ("PUT", "/login", "application/json", 405, 1006),
    "a body of another type": ("POST", "/login", "text/plain", 415, 1008),
}


@pytest.fixture(scope="module")
def web(_migrated, tmp_path_factory):
    web = Web(replace(_migrated, port=free_port(), log_level="info"), tmp_path_factory.mktemp("web") / "web.log").wait()
    yield web
    web.stop()


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length told", "in chunks"])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, MIB, 6 * MIB])
@pytest.mark.parametrize(("method", "path", "type_", "status", "code"), EARLY.values(), ids=EARLY)
def test_a_client_that_sends_all_first_gets_the_error(web, method, path, type_, status, code, size, in_chunks):
    """As most libraries do: they read no response before the whole request is sent."""
    headers = {"Content-Type": type_} | ({} if in_chunks else {"Content-Length": str(size)})
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)

    connection.request(method, path, iter([b"x" * 65_536] * (size // 65_536) + [b"x" * (size % 65_536)]), headers)
    response = connection.getresponse()
    body = response.read()

    assert (response.status, f'"code":{code},'.encode() in body) == (status, True)
    connection.close()


def test_a_client_with_a_slow_line_gets_the_error(web):
    """It takes longer than a client that sends nothing is waited for."""
    head = request(b"Content-Length: %d" % MIB)
    started = monotonic()

    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as client:
        client.sendall(head)
        for number in range(8):
            eventually(lambda number=number: monotonic() - started > number, "a second has passed")
            client.sendall(b"x" * (MIB // 8))
        received = b"".join(iter(lambda: client.recv(65_536), b""))

    assert_refused(parse(received), 413, 1007)


def test_a_connection_goes_on_behind_a_body_that_was_refused(web):
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    statuses = []

    for path in ("/nowhere", "/login", "/post/create", "/health/live"):
        connection.request("GET" if "live" in path else "POST", path, b"x" * (MAX_BODY_BYTES + 1))
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)

    assert statuses == [404, 415, 401, 200]
    connection.close()


def test_a_client_that_never_ends_its_body_is_not_read_for_ever(web):
    started = monotonic()
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
        client.sendall(chunked(b"", line=b"POST /nowhere"))

        with pytest.raises(OSError):  # noqa: PT011 - a reset, or a broken pipe
            _send_without_end(client)

    assert monotonic() - started < 60


def _send_without_end(client):
    while True:
        client.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


def test_a_client_that_stops_within_its_body_gets_the_error_and_is_let_go(web):
    started = monotonic()

    assert_refused(exchange(web.port, chunked(b"5\r\nab", line=b"POST /nowhere")), 404, 1005)

    assert monotonic() - started < 15


@pytest.mark.parametrize("line", [b"GET /health/live", b"GET /nowhere", b"PUT /friend/set/1", b"DELETE /login"])
@pytest.mark.parametrize("body", [b"xyz\r\n", b"3\r\nabcdef", CHUNKS + b"0\r\nrubbish\r\n\r\n"])
def test_a_malformed_body_that_is_not_read_causes_no_second_response(web, line, body):
    data = chunked(body, line=line).replace(b"Connection: close\r\n", b"")

    responses = exchange(web.port, data + request(line=b"GET /health/live"))

    assert len(responses) == 1
