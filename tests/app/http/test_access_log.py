"""The access log: a line for each request, written for many at once, in the format of all other lines."""

import json
import logging
import re
import signal
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection, HTTPResponse
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from app.auth.tokens import issue_token
from app.http import access_log
from app.http.access_log import AccessLogger
from app.observability import logging as logs
from local.ports import answers, free_port
from tests.factories import eventually
from tests.tools.processes import Web

REQUEST = SimpleNamespace(method="GET", uri='/x?"y"')
TAKEN = timedelta(seconds=0.0123)
SOON = 15  # seconds, half of what a process that ends waits for a slow client


def environ(**changes):
    known = {"SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1", "HTTP_X_REQUEST_ID": "find-me"}
    return known | changes


def response(status="200 OK"):
    return SimpleNamespace(status=status, sent=7)


@pytest.fixture
def log():
    """Provide a logger whose records are in `said`."""
    made = AccessLogger(Config())
    made.said = []
    handler = logging.Handler()
    handler.emit = made.said.append
    before = made.access_log.handlers, made.access_log.level
    made.access_log.handlers = [handler]
    made.access_log.setLevel(logging.INFO)
    yield made
    made.access_log.handlers = before[0]
    made.access_log.setLevel(before[1])


def test_lines_wait_for_each_other_until_they_are_many(log):
    for _ in range(access_log.MAX_WAITING - 1):
        log.access(response(), REQUEST, environ(), TAKEN)
    assert log.said == []

    log.access(response(), REQUEST, environ(), TAKEN)

    assert [len(record.records) for record in log.said] == [access_log.MAX_WAITING]


def test_each_line_is_complete_in_both_formats(log):
    for status in ("200 OK", "404 Not Found"):
        log.access(response(status), REQUEST, environ(), TAKEN)
    log.flush()
    log.flush()
    [record] = log.said

    as_json = [json.loads(line) for line in logs.JSONFormatter().format(record).splitlines()]
    as_text = logs.TextFormatter(logs.TEXT_FORMAT).format(record).splitlines()

    expected = [f'192.0.2.1 "GET /x?\\"y\\" HTTP/1.1" {status} 7 bytes 12 ms' for status in (200, 404)]
    assert [line["message"] for line in as_json] == expected
    assert {(line["request_id"], line["logger"]) for line in as_json} == {("find-me", "gunicorn.access")}
    assert [line.partition("find-me] ")[2] for line in as_text] == expected


def test_an_address_that_a_proxy_passes_on_cannot_forge_a_line(log):
    log.access(response(), REQUEST, environ(REMOTE_ADDR='1.2.3.4 "GET / HTTP/1.1" 200'), TAKEN)
    log.flush()

    assert log.said[0].records[0].getMessage().startswith('1.2.3.4 \\"GET / HTTP/1.1\\" 200 "GET')


def test_above_info_no_line_waits(log):
    log.access_log.setLevel(logging.WARNING)
    for _ in range(access_log.MAX_WAITING):
        log.access(response(), REQUEST, environ(), TAKEN)
    log.flush()

    assert log.said == []


# --- of a real service -------------------------------------------------------------------------------------


@pytest.fixture
def web(make_app, tmp_path):
    app = make_app()
    settings = replace(app.extensions["settings"], port=free_port(), log_format="json", log_level="info")
    made = Web(settings, tmp_path / "web.log").wait()
    with app.app_context():
        made.token = issue_token(1)
    yield made
    made.stop()


def ask(web, ids):
    with closing(HTTPConnection("127.0.0.1", web.port)) as connection:
        for request_id in ids:
            connection.request("GET", "/post/feed?limit=1", headers={"X-Auth": web.token, "X-Request-ID": request_id})
            assert connection.getresponse().read() == b"[]\n"


def logged(web):
    """Return the ids of the lines of `ask`, in their order."""
    lines = [json.loads(line) for line in web.log.read_text().splitlines() if "/post/feed?limit=1" in line]
    form = r'127\.0\.0\.1 "GET /post/feed\?limit=1 HTTP/1\.1" 200 3 bytes \d+ ms'
    assert all(re.fullmatch(form, line["message"]) for line in lines)
    return [line["request_id"] for line in lines]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_every_request_has_its_line_also_the_last_before_the_end(web, sent):
    ids = [f"request-{number}" for number in range(100)]
    ask(web, ids)
    web.stop(sent)

    assert logged(web) == ids


def test_a_line_is_written_soon_also_if_no_other_follows(web):
    ask(web, ["alone"])

    eventually(lambda: logged(web) == ["alone"], "the line is there", SOON)


def test_a_line_is_written_soon_while_the_process_ends(web):
    with closing(HTTPConnection("127.0.0.1", web.port)) as slow, closing(HTTPConnection("127.0.0.1", web.port)) as kept:
        kept.request("GET", "/health/live")
        assert kept.getresponse().read()
        slow.connect()
        slow.sock.sendall(b"GET /health/live HTTP/1.1\r\n")  # its process waits for the rest
        kept.sock.sendall(b"GET /post/feed?limit=1 HTTP/1.1\r\n")  # or it might be closed before the rest comes
        web.send(signal.SIGTERM)
        eventually(lambda: not answers(web.port), "all processes are ending")
        kept.sock.sendall(f"Host: lenta\r\nX-Auth: {web.token}\r\nX-Request-ID: late\r\n\r\n".encode())
        with closing(HTTPResponse(kept.sock)) as response:
            response.begin()
            assert response.status == 200

        eventually(lambda: logged(web) == ["late"], "the line is there", SOON)


def test_a_refused_request_has_one_line_in_the_same_form(web):
    with closing(HTTPConnection("127.0.0.1", web.port)) as connection:
        connection.putrequest("GET", "/twice")
        connection.putheader("Host", "another")
        connection.endheaders()
        assert connection.getresponse().status == 400
    web.stop()

    messages = [json.loads(line)["message"] for line in web.log.read_text().splitlines() if "/twice" in line]
    assert [re.sub(r"\d+ ms", "N ms", message) for message in messages] == [
        '127.0.0.1 "GET /twice HTTP/1.1" 400 0 bytes N ms'
    ]
