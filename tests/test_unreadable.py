"""What is no HTTP that gunicorn could read: refused in the one error shape too, over a real connection."""

import json
import socket
from dataclasses import replace

import pytest

from tests.processes import Web, free_port

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
def port(_migrated, tmp_path_factory):
    web = Web(replace(_migrated, port=free_port()), tmp_path_factory.mktemp("web") / "web.log").wait()
    yield web.port
    web.stop()


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


def test_an_address_of_8000_bytes_is_read(port):
    query = b"first_name=" + b"a" * 8000

    status, _, _ = send(port, b"GET /user/search?" + query + b" HTTP/1.1\r\nHost: lenta\r\nConnection: close\r\n\r\n")

    assert status == 401
