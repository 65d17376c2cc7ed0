"""Logs to standard error, as JSON or text, with request ids."""

import json
import logging
import logging.config
import sys
import time
from typing import Any

from flask import g, has_app_context

from app.observability.output import Lines, PipeHandler, open_pipe
from app.settings import AUTO, JSON, Settings

STDERR = 2
TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s [%(process)d %(request_id)s] %(message)s"


def config(settings: Settings) -> dict[str, Any]:
    """Build the configuration for logging.config.dictConfig. Gunicorn's loggers propagate to the root logger."""
    in_json = settings.log_format == JSON or (settings.log_format == AUTO and not sys.stderr.isatty())
    level = settings.log_level.upper()
    pipe = open_pipe(STDERR)
    handler = {"class": "logging.StreamHandler"} if pipe is None else {"()": PipeHandler, "pipe": pipe}
    propagate = {"level": level, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestId}},
        "formatters": {"line": {"()": JSONFormatter} if in_json else {"()": TextFormatter, "fmt": TEXT_FORMAT}},
        "handlers": {
            "stderr": handler | {"formatter": "line", "filters": ["request_id"]},
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": propagate, "gunicorn.access": propagate},
    }


def configure(settings: Settings) -> None:
    """Configure logging. Called by entry points, not by create_app(), which an embedding program may call."""
    logging.config.dictConfig(config(settings))


class RequestId(logging.Filter):
    """Adds the `request_id` of the current request or message to a record. "-" if there is none.

    An existing one is kept, as in the access log, which is written later.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = (g.get("request_id") if has_app_context() else None) or "-"
        return True


class TextFormatter(logging.Formatter):
    """Formats a record as text: one line, or those of `Lines`."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, Lines):
            return "\n".join(map(self.format, record.records))
        return super().format(record)


class JSONFormatter(TextFormatter):
    """Formats a record as one line of JSON, with times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, Lines):
            return super().format(record)
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


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
