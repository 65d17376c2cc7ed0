"""Reads the JSON body of a request, once."""

from typing import Any, NoReturn

from flask import current_app, request
from gunicorn.http.errors import LimitRequestHeaders, ParseException
from marshmallow import Schema
from werkzeug.exceptions import ClientDisconnected

from app.errors import HeadersTooLarge, InvalidInput, PayloadTooLarge, TransferCodingUnsupported, UnsupportedMediaType
from app.http.request import check

_LOADED = "lenta.bodies"


def load_body(schema: Schema) -> dict[str, Any]:
    """Return the validated JSON body. It is read and parsed once per request.

    Raises UnsupportedMediaType; TransferCodingUnsupported; PayloadTooLarge; HeadersTooLarge; InvalidInput, with
    `errors` by field if the body is an object.
    """
    bodies: dict[Schema, dict[str, Any]] = request.environ.setdefault(_LOADED, {})
    if schema not in bodies:
        bodies[schema] = check(schema, _parse(_read()))
    return bodies[schema]


def _read() -> bytes:
    """Read the complete body. Gunicorn detects malformed chunks only while reading."""
    _require_plain_json()
    try:
        body = request.get_data()
        if request.content_length is None and request.environ["wsgi.input"].read(1):
            raise PayloadTooLarge  # without Content-Length, Werkzeug silently truncates at the limit
    except LimitRequestHeaders as error:
        raise HeadersTooLarge("The trailer fields of the body are too large.") from error
    except ParseException as error:
        raise InvalidInput("The chunks of the body are malformed.") from error
    except (ClientDisconnected, OSError) as error:
        raise InvalidInput("The body is incomplete.") from error
    if len(body) < (request.content_length or 0):
        raise InvalidInput("The body is shorter than its Content-Length.")
    if not body:
        raise InvalidInput("The body is empty; it must be JSON.")
    return body


def _require_plain_json() -> None:
    if not request.is_json:
        raise UnsupportedMediaType
    if request.headers.get("Content-Encoding", "").lower() not in ("", "identity"):
        raise UnsupportedMediaType("The body must not be compressed.")
    if request.headers.get("Transfer-Encoding", "").lower() not in ("", "chunked"):
        raise TransferCodingUnsupported


def _parse(body: bytes) -> dict[str, Any]:
    try:
        data = current_app.json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidInput("The JSON body is nested too deeply.") from error
    except ValueError as error:
        raise InvalidInput("The body is not valid JSON in UTF-8.") from error
    if not isinstance(data, dict):
        raise InvalidInput("The body must be a JSON object.")
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
