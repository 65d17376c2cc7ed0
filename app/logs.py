"""Logs on standard error, each line with the id of the request that it is about: JSON, or readable in a terminal."""

import json
import logging
import logging.config
import sys
import time
from collections.abc import Mapping
from typing import Any

from flask import g, has_app_context

from app.settings import AUTO, JSON, Settings

TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s [%(process)d %(request_id)s] %(message)s"


def config(settings: Settings) -> dict[str, Any]:
    """For logging.config.dictConfig, and for gunicorn, whose own loggers pass on what they have to say."""
    in_json = settings.log_format == JSON or (settings.log_format == AUTO and not sys.stderr.isatty())
    level = settings.log_level.upper()
    passing_on = {"level": level, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestId}},
        "formatters": {"line": {"()": JSONLines} if in_json else {"format": TEXT_FORMAT}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]},
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": passing_on, "gunicorn.access": passing_on},
    }


def configure(settings: Settings) -> None:
    """For programs, not for create_app: whoever embeds the application has logs of their own."""
    logging.config.dictConfig(config(settings))


class RequestId(logging.Filter):
    """Gives a record the `request_id` of the request, or of the message, that is being handled; "-" outside of them.

    One that has it keeps it. gunicorn's access line, written when the request is over, has it among its arguments.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "gunicorn.access" and isinstance(record.args, Mapping):
            record.request_id = record.args["{x-request-id}o"]
        elif not hasattr(record, "request_id"):
            record.request_id = (g.get("request_id") if has_app_context() else None) or "-"
        return True


class JSONLines(logging.Formatter):
    """One JSON object a line. Times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
