"""What the subjects' schemas share: fields that refuse what PostgreSQL could not keep, and reading a request."""

from typing import Any

from flask import current_app, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from app.errors import InvalidInput

MAX_ID = 2**63 - 1
REMEMBERED_QUERIES = 1000


def parse_id(text: str) -> int:
    """An id from its decimal digits.

    Raises ValueError for anything else, and for what does not fit in 64 bits.
    """
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > MAX_ID:
        raise ValueError("An id is a string of digits.")
    return int(text)


class Id(fields.Field[int]):
    """A 64-bit id, in JSON a string: a JavaScript number has 53 bits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        try:
            return parse_id(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def _serialize(self, value: int | None, attr: str | None, obj: Any, **kwargs: Any) -> str:
        return str(value)


class Text(fields.String):
    """Text of `least` to `most` characters, trimmed unless `trim` is false.

    NUL and lone surrogates are refused: PostgreSQL cannot keep them.
    """

    def __init__(self, least: int, most: int, *, trim: bool = True, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(least, most), **kwargs)
        self.trim = trim

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is None or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise ValidationError("Characters that cannot be kept: NUL or half a surrogate pair.")
        return text.strip() if self.trim else text


def load_body(schema: Schema) -> dict[str, Any]:
    """The JSON body of the request, checked.

    Raises InvalidInput with `errors` by field.
    """
    try:
        data = request.get_json()
    except RecursionError as error:  # nested deeper than the parser goes
        raise InvalidInput from error
    return _load(schema, data)


def load_query(schema: Schema) -> dict[str, Any]:
    """The query string of the request, checked; a parameter given twice is refused.

    What was good once is good again: a client asks for few pages over and over, and checking took a tenth of reading.
    Raises InvalidInput with `errors` by field.
    """
    known: dict[tuple[Schema, bytes], dict[str, Any]] = current_app.extensions.setdefault("checked_queries", {})
    key = (schema, request.query_string)
    if key not in known:
        if len(known) >= REMEMBERED_QUERIES:
            known.clear()
        known[key] = _check_query(schema)
    return known[key]


def _check_query(schema: Schema) -> dict[str, Any]:
    repeated = {name: ["Given more than once."] for name, values in request.args.lists() if len(values) > 1}
    if repeated:
        raise InvalidInput(errors=repeated)
    return _load(schema, request.args.to_dict())


def load_id(text: str, name: str) -> int:
    """An id from the path. Raises InvalidInput under `name`."""
    try:
        return parse_id(text)
    except ValueError as error:
        raise InvalidInput(errors={name: [str(error)]}) from error


def _load(schema: Schema, data: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(data, unknown=EXCLUDE)
    except ValidationError as error:
        raise InvalidInput(errors=dict(error.messages_dict)) from error
    return loaded
