"""Parses a request's query string and the ids in its path."""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from flask import current_app, request
from marshmallow import EXCLUDE, Schema, ValidationError

from app.errors import InvalidInput
from app.ids import parse_id

QUERY_CACHE_SIZE = 1000


def load_query(schema: Schema) -> dict[str, Any]:
    """Return the validated query string. Repeated parameters are rejected.

    Results are cached: clients repeat few queries, and validation is slow. Raises InvalidInput, with `errors` by field
    unless the query is not UTF-8.
    """
    loaded = known_query(schema, request.environ)
    if loaded is None:
        cache, loaded = _known_queries(), _check_query(schema)
        if len(cache) >= QUERY_CACHE_SIZE:
            cache.clear()
        cache[schema, request.environ["QUERY_STRING"]] = loaded
    return loaded


def known_query(schema: Schema, environ: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the query string of a request as `load_query` does, without a view. None unless it was valid before."""
    return _known_queries().get((schema, environ["QUERY_STRING"]))


def _known_queries() -> dict[tuple[Schema, str], dict[str, Any]]:
    return cast(dict[tuple[Schema, str], dict[str, Any]], current_app.extensions.setdefault("known_queries", {}))


def _check_query(schema: Schema) -> dict[str, Any]:
    try:
        unquote_to_bytes(request.query_string).decode()  # Werkzeug would silently insert U+FFFD
    except UnicodeDecodeError as error:
        raise InvalidInput("The query string is not UTF-8.") from error
    repeated = {name: ["Given more than once."] for name, values in request.args.lists() if len(values) > 1}
    if repeated:
        raise InvalidInput(errors=repeated)
    return check(schema, request.args.to_dict())


def load_id(text: str, name: str) -> int:
    """Parse an id from the path. Raises InvalidInput under `name`."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise InvalidInput(errors={name: [str(error)]}) from error


def check(schema: Schema, data: Any) -> dict[str, Any]:
    """Load `data` with a schema, ignoring unknown fields. Raises InvalidInput, with `errors` by field."""
    try:
        loaded: dict[str, Any] = schema.load(data, unknown=EXCLUDE)
    except ValidationError as error:
        raise InvalidInput(errors=dict(error.messages_dict)) from error
    return loaded
