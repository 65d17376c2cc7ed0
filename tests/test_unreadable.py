"""What is no HTTP that gunicorn could read, and bodies in chunks: over a real connection."""

import json
import socket
from dataclasses import replace

import pytest

from app import MAX_BODY_BYTES
from tests.processes import Web, free_port
from tests.world import eventually

GET = b"GET /health/live HTTP/1.1\r\nHost: lenta\r\nConnection: close\r\n"

UNREADABLE = {
    "no HTTP": (b"rubbish\r\n\r\n", 400, 1001),
    "a method in small letters": (b"get /health/live HTTP/1.1\r\nHost: lenta\r\n\r\n", 400, 1001),
    "bytes in the address that are not ASCII": (b"GET /user/search?first_name=\xff HTTP/1.1\r\n\r\n", 400, 1001),
    "a length below zero": (GET + b"Content-Length: -1\r\n\r\n", 400, 1001),
    "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, 1001),
    "a header without a name": (GET + b": nameless\r\n\r\n", 400, 1001),
    "an address of 9000 bytes": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: lenta\r\n\r\n", 414, 1012),
    "a header of 9000 bytes": (GET + b"X-Auth: " + b"a" * 9000 + b"\r\n\r\n", 431, 1013),
}


@pytest.fixture(scope="module")
def web(_migrated, tmp_path_factory):
    settings = replace(_migrated, port=free_port(), log_level="info", log_format="json")
    web = Web(settings, tmp_path_factory.mktemp("web") / "web.log").wait()
    yield web
    web.stop()


@pytest.fixture
def port(web):
    return web.port


def send(port, data):
    """(status, headers by small letters, body)"""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


@pytest.mark.parametrize(("data", "status", "code"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_refused_before_flask_sees_it_has_the_one_shape(port, data, status, code):
    answered, headers, body = send(port, data)

    error = json.loads(body)
    assert (answered, error["code"]) == (status, code)
    assert set(error) == {"message", "code", "request_id"}
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == error["request_id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize("data", [b"rubbish\r\n\r\n", GET + b"\r\n"], ids=["unreadable", "readable"])
def test_the_log_knows_the_id_of_what_was_answered(web, data):
    _, headers, _ = send(web.port, data)

    def is_logged():
        lines = [json.loads(line) for line in web.log.read_text().splitlines() if line.startswith("{")]
        return headers["x-request-id"] in [line["request_id"] for line in lines]

    eventually(is_logged, "a line of the log has the id in its field")


SHORT = b'{"id":"1","password":"wrong horse"}'
CHUNKED = {
    "short": (SHORT, 401, 1003),
    "as large as may be": (SHORT.ljust(MAX_BODY_BYTES), 401, 1003),
    "a byte too large": (SHORT.ljust(MAX_BODY_BYTES + 1), 413, 1007),
    "good up to the limit, and rubbish behind it": (SHORT.ljust(MAX_BODY_BYTES) + b"rubbish" * 1000, 413, 1007),
    "too large, and cut off no JSON": (b'{"id":"' + b"1" * 2 * MAX_BODY_BYTES + b'"}', 413, 1007),
    "empty": (b"", 400, 1001),
}


@pytest.mark.parametrize(("body", "status", "code"), CHUNKED.values(), ids=CHUNKED)
def test_a_body_in_chunks_is_read_as_one_whose_length_was_told(port, body, status, code):
    head = b"POST /login HTTP/1.1\r\nHost: lenta\r\nConnection: close\r\nContent-Type: application/json\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in _parts(body)) + b"0\r\n\r\n"

    chunked = send(port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    told = send(port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    for answered, _, answer in (chunked, told):
        assert (answered, json.loads(answer)["code"]) == (status, code)


def _parts(body):
    return (body[start : start + 10_000] for start in range(0, len(body), 10_000))


def test_an_address_of_8000_bytes_is_read(port):
    query = b"first_name=" + b"a" * 8000

    status, _, _ = send(port, b"GET /user/search?" + query + b" HTTP/1.1\r\nHost: lenta\r\nConnection: close\r\n\r\n")

    assert status == 401
