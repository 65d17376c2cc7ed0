"""The access log: a line for each request, written for many at once, in the format of all other lines."""

import json
import logging
import re
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection

import pytest

from app.auth.tokens import issue_token
from app.observability import access_log
from app.observability import logging as logs
from app.observability.access_log import AccessLog
from local.ports import free_port
from tests.tools.processes import Web

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "RAW_URI": '/x?"y"',
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.1",
}


@pytest.fixture
def said(monkeypatch):
    """Collect what the handlers of the root logger are given, by `emit`."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("gunicorn.access")
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    return records


def test_lines_wait_for_each_other_until_they_are_many(said):
    log = AccessLog()
    for _ in range(access_log.MAX_WAITING - 1):
        log.add(ENVIRON, 200, 7, 0.0123, "find-me")
    assert said == []

    log.add(ENVIRON, 200, 7, 0.0123, "find-me")

    assert [len(record.records) for record in said] == [access_log.MAX_WAITING]


def test_each_line_is_complete_in_both_formats(said):
    log = AccessLog()
    for status in (200, 404):
        log.add(ENVIRON, status, 7, 0.0123, "find-me")
    log.flush()
    log.flush()
    [record] = said

    as_json = [json.loads(line) for line in logs.JSONFormatter().format(record).splitlines()]
    as_text = logs.TextFormatter(logs.TEXT_FORMAT).format(record).splitlines()

    assert [line["message"] for line in as_json] == [
        f'192.0.2.1 "GET /x?\\"y\\" HTTP/1.1" {status} 7 bytes 12 ms' for status in (200, 404)
    ]
    assert {(line["request_id"], line["logger"], line["level"]) for line in as_json} == {
        ("find-me", "gunicorn.access", "info")
    }
    assert [re.search(r"INFO +gunicorn.access \[\d+ find-me\] 192.*ms$", line) is not None for line in as_text] == [
        True,
        True,
    ]


def test_above_info_nothing_is_logged(said, monkeypatch):
    monkeypatch.setattr(logging.getLogger("gunicorn.access"), "level", logging.WARNING)
    logging.getLogger("gunicorn.access").manager._clear_cache()

    assert not AccessLog().is_enabled


def test_every_request_has_its_line_also_the_last_before_the_end(make_app, tmp_path):
    app = make_app()
    with app.app_context():
        token = issue_token(1)
    settings = replace(app.extensions["settings"], port=free_port(), log_format="json", log_level="info")
    web = Web(settings, tmp_path / "web.log").wait()
    ids = [f"request-{number}" for number in range(150)]
    with closing(HTTPConnection("127.0.0.1", settings.port)) as connection:
        for request_id in ids:
            connection.request("GET", "/post/feed?limit=1", headers={"X-Auth": token, "X-Request-ID": request_id})
            assert connection.getresponse().read() == b"[]\n"
    web.stop()

    lines = [json.loads(line) for line in web.log.read_text().splitlines() if "gunicorn.access" in line]

    assert [line["request_id"] for line in lines if line["request_id"].startswith("request-")] == ids
    assert all(
        re.fullmatch(r'127\.0\.0\.1 "GET /post/feed\?limit=1 HTTP/1\.1" 200 3 bytes \d+ ms', line["message"])
        for line in lines
        if line["request_id"].startswith("request-")
    )
