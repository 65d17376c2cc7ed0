"""Bodies that gunicorn or Werkzeug cannot read, over real connections: one error each, in the one shape."""

from dataclasses import replace

import pytest
from gunicorn.http import errors

from app.auth.tokens import issue_token
from app.factory import MAX_BODY_BYTES
from local.ports import free_port
from tests.tools.processes import Web
from tests.tools.raw_http import exchange

LOGIN = b'{"id":"1","password":"wrong horse"}'
CHUNKS = b"%x\r\n%b\r\n" % (len(LOGIN), LOGIN)
BODY_ROUTES = {
    "POST /user/register": b"POST /user/register",
    "POST /login": b"POST /login",
    "POST /post/create": b"POST /post/create",
    "PUT /post/update": b"PUT /post/update",
}


def request(
    *fields: bytes, body: bytes = b"", line: bytes = b"POST /login", version: bytes = b"1.1", token: str = ""
) -> bytes:
    head = [line + b" HTTP/" + version, b"Host: lenta", b"Connection: close", b"Content-Type: application/json"]
    return b"\r\n".join([*head, *([b"X-Auth: " + token.encode()] if token else []), *fields, b"", body])


def chunked(body: bytes, *fields: bytes, **options) -> bytes:
    return request(b"Transfer-Encoding: chunked", *fields, body=body, **options)


MALFORMED_CHUNKS = {
    "a size that is no number": (b"xyz\r\n", 400, 1001),
    "a size below zero": (b"-1\r\n", 400, 1001),
    "a size with a sign": (b"+5\r\nabcde\r\n0\r\n\r\n", 400, 1001),
    "a size in C's hexadecimal": (b"0x5\r\nabcde\r\n0\r\n\r\n", 400, 1001),
    "no size": (b"\r\n" + LOGIN + b"\r\n0\r\n\r\n", 400, 1001),
    "a line of 10,000 bytes for a size": (b"0" * 10_000, 400, 1001),
    "a chunk longer than its size": (b"3\r\n" + LOGIN + b"\r\n0\r\n\r\n", 400, 1001),
    "a chunk that ends with a line feed only": (CHUNKS[:-2] + b"\n0\r\n\r\n", 400, 1001),
    "an extension with a control character": (b"5;a=\x01\r\nabcde\r\n0\r\n\r\n", 400, 1001),
    "an extension whose quote does not end": (b'5;a="b\r\nabcde\r\n0\r\n\r\n', 400, 1001),
    "an extension with a carriage return": (b"5;a\rb\r\nabcde\r\n0\r\n\r\n", 400, 1001),
    "rubbish behind the last chunk": (CHUNKS + b"0\r\nrubbish\r\n\r\n", 400, 1001),
    "a trailer that tells a length": (CHUNKS + b"0\r\nContent-Length: 5\r\n\r\n", 400, 1001),
    "a trailer that is folded": (CHUNKS + b"0\r\nA: b\r\n c\r\n\r\n", 400, 1001),
    "a trailer with a control character": (CHUNKS + b"0\r\nA: \x01\r\n\r\n", 400, 1001),
    "a trailer whose line ends with a line feed": (CHUNKS + b"0\r\nA: b\nC: d\r\n", 400, 1001),
    "a trailer of 200 fields": (CHUNKS + b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431, 1013),
    "a trailer with a field of 9,000 bytes": (CHUNKS + b"0\r\nA: " + b"b" * 9000 + b"\r\n\r\n", 431, 1013),
}

# Data sent by the client before it closes its half of the connection.
CUT_SHORT = {
    "before the first chunk": chunked(b""),
    "in the size of a chunk": chunked(b"2"),
    "in a chunk": chunked(CHUNKS[:10]),
    "behind a chunk": chunked(CHUNKS),
    "before the end of the last chunk": chunked(CHUNKS + b"0\r\n"),
    "in a trailer": chunked(CHUNKS + b"0\r\nA: b\r\n"),
    "in a body whose length was told": request(b"Content-Length: 100", body=LOGIN[:10]),
    "behind JSON that is whole, in a body told to be longer": request(b"Content-Length: 100", body=LOGIN),
    "before a body whose length was told": request(b"Content-Length: 100"),
}

REFUSED_HEADS = {
    "an unknown transfer coding": (chunked(CHUNKS).replace(b"chunked", b"br, chunked"), 501, 1016),
    "a transfer coding that is not undone": (chunked(CHUNKS).replace(b"chunked", b"gzip, chunked"), 501, 1016),
    "a transfer coding that does not end the body": (request(b"Transfer-Encoding: gzip", body=LOGIN), 400, 1001),
    "chunks that were compressed afterwards": (request(b"Transfer-Encoding: chunked, gzip"), 400, 1001),
    "chunks in chunks": (request(b"Transfer-Encoding: chunked, chunked"), 400, 1001),
    "chunks in HTTP/1.0": (chunked(CHUNKS + b"0\r\n\r\n", version=b"1.0"), 400, 1001),
    "chunks and a length": (chunked(CHUNKS + b"0\r\n\r\n", b"Content-Length: 5"), 400, 1001),
    "a length that is no number": (request(b"Content-Length: five", body=LOGIN), 400, 1001),
    "a length below zero": (request(b"Content-Length: -1", body=LOGIN), 400, 1001),
    "a length with a sign": (request(b"Content-Length: +35", body=LOGIN), 400, 1001),
    "a length with an underscore": (request(b"Content-Length: 3_5", body=LOGIN), 400, 1001),
    "a length in other digits": (request(b"Content-Length: \xb2", body=LOGIN), 400, 1001),
    "a length of 5,000 digits": (request(b"Content-Length: " + b"1" * 5000, body=LOGIN), 400, 1001),
    "a length of 30 digits": (request(b"Content-Length: " + b"1" * 30, body=LOGIN), 413, 1007),
    "two lengths": (request(b"Content-Length: 35", b"Content-Length: 35", body=LOGIN), 400, 1001),
    "two types": (request(b"Content-Length: 35", b"Content-Type: text/plain", body=LOGIN), 400, 1001),
    "an unknown expectation": (request(b"Expect: miracles", b"Content-Length: 35", body=LOGIN), 417, 1015),
    "a compressed body": (request(b"Content-Encoding: gzip", b"Content-Length: 35", body=LOGIN), 415, 1008),
    "a body compressed twice": (request(b"Content-Encoding: gzip, br", b"Content-Length: 35", body=LOGIN), 415, 1008),
}

# The classes of gunicorn's errors that no body causes, or no request to this service.
NOT_OF_BODIES = {
    "ParseException": "the base of the others",
    "ConfigurationProblem": "SCRIPT_NAME is set by the operator",
    "InvalidRequestLine": "tests/system/test_unreadable.py",
    "InvalidRequestMethod": "tests/system/test_unreadable.py",
    "InvalidHTTPVersion": "tests/system/test_unreadable.py",
    "LimitRequestLine": "tests/system/test_unreadable.py",
    "InvalidSchemeHeaders": "schemes of proxies are ignored",
    "InvalidResponseHeader": "of a response",
    "InvalidResponseHeaderName": "of a response",
    "InvalidProxyLine": "the PROXY protocol is off",
    "InvalidProxyHeader": "the PROXY protocol is off",
    "ForbiddenProxyRequest": "the PROXY protocol is off",
    "InvalidH2CPreface": "HTTP/2 is off",
}
OF_BODIES = {
    "NoMoreData",
    "ExpectationFailed",
    "InvalidHeader",
    "ObsoleteFolding",
    "InvalidHeaderName",
    "UnsupportedTransferCoding",
    "InvalidChunkSize",
    "ChunkMissingTerminator",
    "InvalidChunkExtension",
    "LimitRequestHeaders",
}


@pytest.fixture(scope="module")
def web(_migrated, tmp_path_factory):
    web = Web(replace(_migrated, port=free_port(), log_level="info"), tmp_path_factory.mktemp("web") / "web.log").wait()
    yield web
    web.stop()


@pytest.fixture
def token(app):
    return issue_token(1)


@pytest.fixture(autouse=True)
def _no_traceback(web):
    yield
    assert "Traceback" not in web.log.read_text()


def assert_refused(responses, status, code):
    (response,) = responses
    assert (response.status, response.json["code"]) == (status, code)
    assert set(response.json) - {"errors"} == {"message", "code", "request_id"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == response.json["request_id"]


@pytest.mark.parametrize(("body", "status", "code"), MALFORMED_CHUNKS.values(), ids=MALFORMED_CHUNKS)
def test_chunks_are_refused_that_have(web, body, status, code):
    assert_refused(exchange(web.port, chunked(body)), status, code)


@pytest.mark.parametrize("line", BODY_ROUTES.values(), ids=BODY_ROUTES)
def test_every_route_with_a_body_refuses_malformed_chunks(web, token, line):
    assert_refused(exchange(web.port, chunked(b"xyz\r\n", line=line, token=token)), 400, 1001)


@pytest.mark.parametrize("data", CUT_SHORT.values(), ids=CUT_SHORT)
def test_a_body_is_refused_that_ends(web, data):
    assert_refused(exchange(web.port, data, half_close=True), 400, 1001)


@pytest.mark.parametrize(("data", "status", "code"), REFUSED_HEADS.values(), ids=REFUSED_HEADS)
def test_a_request_is_refused_that_has(web, data, status, code):
    assert_refused(exchange(web.port, data), status, code)


def test_behind_malformed_chunks_no_further_request_is_read(web):
    data = chunked(b"xyz\r\n").replace(b"Connection: close\r\n", b"")

    responses = exchange(web.port, data + request(line=b"GET /health/live"))

    assert [response.status for response in responses] == [400]


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(web):
    responses = exchange(web.port, request(b"Expect: 100-continue", b"Content-Length: 35", body=LOGIN))

    assert [response.status for response in responses] == [100, 401]


def test_every_error_of_gunicorn_is_accounted_for():
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}

    assert classes == NOT_OF_BODIES.keys() | OF_BODIES


# --- bodies in chunks that can be read ---------------------------------------------------------------------

CHUNKED = {
    "short": (LOGIN, 401, 1003),
    "as large as may be": (LOGIN.ljust(MAX_BODY_BYTES), 401, 1003),
    "a byte too large": (LOGIN.ljust(MAX_BODY_BYTES + 1), 413, 1007),
    "good up to the limit, and rubbish behind it": (LOGIN.ljust(MAX_BODY_BYTES) + b"rubbish" * 1000, 413, 1007),
    "too large, and cut off no JSON": (b'{"id":"' + b"1" * 2 * MAX_BODY_BYTES + b'"}', 413, 1007),
    "empty": (b"", 400, 1001),
}


@pytest.mark.parametrize(("body", "status", "code"), CHUNKED.values(), ids=CHUNKED)
def test_a_body_in_chunks_is_read_as_one_whose_length_was_told(web, body, status, code):
    parts = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"

    assert_refused(exchange(web.port, chunked(chunks)), status, code)
    assert_refused(exchange(web.port, request(b"Content-Length: %d" % len(body), body=body)), status, code)


def test_extensions_and_trailers_are_ignored(web):
    body = b"%x;a=b;c\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(LOGIN), LOGIN)

    assert_refused(exchange(web.port, chunked(body)), 401, 1003)
