"""Logs: JSON or text, and the id of the request in each line."""

import json
import logging
import logging.config
import sys
from dataclasses import replace

import pytest
from flask import g

from app.observability import logging as logs
from local.ports import free_port
from tests.tools.processes import Web, start_worker


@pytest.fixture
def lines(settings, capsys):
    """Configure logging, log, and return standard error; restores everything."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def log(log_format, say):
        made = logs.config(replace(settings, log_format=log_format))
        made["handlers"]["stderr"]["stream"] = sys.stderr
        logging.config.dictConfig(made)
        try:
            say(logging.getLogger("app.some"))
        finally:
            root.handlers[:], root.level = before
        return capsys.readouterr().err.splitlines()

    return log


def test_a_line_of_json_says_when_where_and_what(lines):
    (line,) = lines("json", lambda log: log.warning("lost %s", "something"))

    record = json.loads(line)
    assert list(record) == ["time", "level", "logger", "process", "request_id", "message"]
    assert (record["level"], record["logger"], record["message"]) == ("warning", "app.some", "lost something")
    assert record["request_id"] == "-"
    assert record["time"].endswith("Z")


def test_an_exception_stays_in_its_line(lines):
    def fail(log):
        try:
            raise RuntimeError("first\nsecond")
        except RuntimeError:
            log.exception("failed")

    (line,) = lines("json", fail)

    assert "RuntimeError: first\nsecond" in json.loads(line)["exception"]


def test_text_is_for_reading(lines):
    (line,) = lines("text", lambda log: log.warning("lost"))

    assert line.endswith(" -] lost")
    assert " WARNING app.some [" in line


def test_auto_is_json_where_nobody_sits_at_a_terminal(lines):
    (line,) = lines("auto", lambda log: log.warning("lost"))

    assert json.loads(line)["message"] == "lost"


def test_a_line_carries_the_id_of_what_is_being_handled(lines, app):
    def say(log):
        g.request_id = "find-me"
        log.warning("lost")

    (line,) = lines("json", say)

    assert json.loads(line)["request_id"] == "find-me"


def test_gunicorn_and_dramatiq_log_as_we_do(make_app, rabbitmq_url, tmp_path):
    made = make_app().extensions["settings"]
    settings = replace(made, port=free_port(), broker_url=rabbitmq_url, log_format="json")
    web = Web(settings, tmp_path / "web.log").wait()
    worker = start_worker(settings, tmp_path / "worker.log")
    worker.stop()
    web.stop()

    said = [json.loads(line) for log in (web.log, worker.log) for line in log.read_text().splitlines() if "{" in line]

    loggers = {record["logger"].partition(".")[0] for record in said}
    assert {"gunicorn", "dramatiq"} <= loggers
