"""Heads that are remembered: the same request as one that is parsed, and no byte of another lost."""

import pytest
from gunicorn.config import Config
from gunicorn.http import message

from app.http import parser
from app.http.parser import RequestParser

GET = b"GET /post/feed?limit=10#end HTTP/1.1\r\nHost: lenta\r\nX-Auth: abc\r\n\r\n"
FIELDS = ("method", "uri", "path", "query", "fragment", "version", "scheme", "headers")


@pytest.fixture(autouse=True)
def parsed(monkeypatch):
    """Count the heads that are parsed."""
    monkeypatch.setattr(parser, "_heads", {})
    heads = []
    parse = message.Request._parse_python

    def counting(self, unreader, buf):
        heads.append(bytes(buf))
        return parse(self, unreader, buf)

    monkeypatch.setattr(message.Request, "_parse_python", counting)
    return heads


def requests(*parts):
    """Return (method, URI, ..., body) of the requests that arrive in these parts."""
    config = Config()
    config.set("http_parser", "python")
    return [
        (*(getattr(request, name) for name in FIELDS), request.body.read())
        for request in RequestParser(config, iter(parts), ("127.0.0.1", 1))
    ]


def test_the_same_head_is_parsed_once(parsed):
    first, second = requests(GET, GET)

    assert first == second
    assert first[:4] == ("GET", "/post/feed?limit=10#end", "/post/feed", "limit=10")
    assert first[7] == [("HOST", "lenta"), ("X-AUTH", "abc")]
    assert len(parsed) == 1


def test_another_head_is_another_request():
    [first], [second] = requests(GET), requests(GET.replace(b"abc", b"abd"))

    assert (first[7][1][1], second[7][1][1]) == ("abc", "abd")


BARE = b"GET / HTTP/1.1\r\n\r\n"
WITH_BODY = b"GET /1 HTTP/1.1\r\nHost: lenta\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([GET + GET], [b"", b""]),
        ([GET + b"\r\n" + GET], [b"", b""]),
        ([BARE + BARE], [b"", b""]),
        ([GET[:20], GET[20:]], [b""]),
        ([GET[:-2], GET[-2:] + GET], [b"", b""]),
        ([WITH_BODY, b"ab", GET], [b"ab", b""]),
        ([WITH_BODY + b"ab" + GET], [b"ab", b""]),
        ([WITH_BODY, b"ab" + WITH_BODY, b"cd"], [b"ab", b"cd"]),
    ],
)
def test_however_it_arrives_no_byte_is_lost(parts, expected):
    for _ in range(3):
        assert [request[-1] for request in requests(*parts)] == expected


@pytest.mark.parametrize(
    "head",
    [
        GET.replace(b"GET", b"POST"),
        GET.replace(b"X-Auth: abc", b"Expect: 100-continue"),
        GET.replace(b"abc", b"a" * parser.MAX_HEAD_BYTES),
    ],
    ids=["of another method", "that expects an answer", "that is long"],
)
def test_some_heads_are_not_remembered(parsed, head):
    requests(head)
    requests(head)

    assert parsed == [head] * 2


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(parser, "MAX_HEADS", 10)
    for number in range(25):
        requests(GET.replace(b"abc", str(number).encode()))

    assert len(parser._heads) == 5


def test_a_handler_that_changes_the_headers_changes_no_later_request():
    config = Config()
    config.set("http_parser", "python")
    for _ in range(3):
        request = next(RequestParser(config, iter([GET]), ("127.0.0.1", 1)))
        assert len(request.headers) == 2
        request.headers.clear()
