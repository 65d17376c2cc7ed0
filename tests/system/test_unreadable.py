"""Malformed HTTP, over a real connection. Bodies: test_bodies.py."""

import json
import re
import socket
from dataclasses import replace

import pytest

from local.ports import free_port
from tests.factories import eventually
from tests.tools import documented
from tests.tools.processes import Web

GET = b"GET /health/live HTTP/1.1\r\nHost: lenta\r\nConnection: close\r\n"

UNREADABLE = {
    "no HTTP": (b"rubbish\r\n\r\n", 400, 1001),
    "a method in small letters": (b"get /health/live HTTP/1.1\r\nHost: lenta\r\n\r\n", 400, 1001),
    "bytes in the address that are not ASCII": (b"GET /user/search?first_name=\xff HTTP/1.1\r\n\r\n", 400, 1001),
    "a length below zero": (GET + b"Content-Length: -1\r\n\r\n", 400, 1001),
    "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, 1001),
    "an unknown version of HTTP": (b"GET / HTTP/9.9\r\nHost: lenta\r\n\r\n", 400, 1001),
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

    documented.check_error(answered, headers, body)
    error = json.loads(body)
    assert (answered, error["code"]) == (status, code)
    assert set(error) == {"message", "code", "request_id"}
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == error["request_id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize(
    "headers",
    [b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n", b"SCRIPT_NAME: /health\r\nPATH_INFO: /docs\r\n"],
    ids=["schemes that contradict each other", "names of WSGI"],
)
def test_headers_that_only_a_proxy_of_gunicorn_may_send_change_nothing(port, headers):
    status, _, body = send(port, GET + headers + b"\r\n")

    assert (status, json.loads(body)) == (200, {"status": "live"})


@pytest.mark.parametrize("data", [b"rubbish\r\n\r\n", GET + b"\r\n"], ids=["unreadable", "readable"])
def test_the_log_knows_the_id_of_what_was_answered(web, data):
    _, headers, _ = send(web.port, data)

    def is_logged():
        lines = [json.loads(line) for line in web.log.read_text().splitlines() if line.startswith("{")]
        return headers["x-request-id"] in [line["request_id"] for line in lines]

    eventually(is_logged, "a line of the log has the id in its field")


REFUSED_HEADS = {
    "a host that cannot be": (b"Host: " + b"x" * 300, 400),
    "an unknown expectation": (b"Expect: miracles", 417),
    "a header of 9000 bytes": (b"X-Auth: " + b"a" * 9000, 431),
    "an unknown transfer coding": (b"Transfer-Encoding: br", 501),
}


@pytest.mark.parametrize(("header", "status"), REFUSED_HEADS.values(), ids=REFUSED_HEADS)
def test_every_call_refuses_a_bad_head_as_its_documentation_says(port, header, status):
    for method, path in documented.operations():
        address = re.sub(r"{\w+}", "1", path)
        head = f"{method} {address} HTTP/1.1\r\n".encode() + header + b"\r\nConnection: close\r\n\r\n"

        answered, headers, body = send(port, head)

        assert answered == status
        documented.check(method, address, answered, headers, body)


def test_an_address_of_8000_bytes_is_read(port):
    query = b"first_name=" + b"a" * 8000

    status, _, _ = send(port, b"GET /user/search?" + query + b" HTTP/1.1\r\nHost: lenta\r\nConnection: close\r\n\r\n")

    assert status == 401
