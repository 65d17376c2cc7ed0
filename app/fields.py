"""What the subjects' schemas share: fields that refuse what PostgreSQL could not keep, and reading a request."""

from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from flask import current_app, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from app.errors import InvalidInput, PayloadTooLarge, UnsupportedMediaType

MAX_ID = 2**63 - 1
REMEMBERED_QUERIES = 1000

# What Unicode calls white space. Python strips U+001C to U+001F too, and each dialect of patterns has an \s of its own.
SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


def _up_to(number: int) -> str:
    """A pattern of the digits of 0 to `number`, leading zeros up to its length included."""
    digits = str(number)
    parts = [f"[0-9]{{1,{len(digits) - 1}}}", digits]
    for place, digit in enumerate(digits):
        if digit > "0":
            rest = len(digits) - place - 1
            parts.append(f"{digits[:place]}[0-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return f"^({'|'.join(parts)})$"


ID_PATTERN = _up_to(MAX_ID)  # parse_id, for /openapi.json


def parse_id(text: str) -> int:
    """An id from its decimal digits.

    Raises ValueError for anything else, and for what does not fit in 64 bits.
    """
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > MAX_ID:
        raise ValueError(f"An id is a string of digits, {MAX_ID} at most.")
    return int(text)


class Id(fields.Field[int]):
    """A 64-bit id, in JSON a string: a JavaScript number has 53 bits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": ID_PATTERN}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        try:
            return parse_id(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def _serialize(self, value: int | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else str(value)


class Whole(fields.Integer):
    """A whole number from 0, in the digits 0 to 9: int() takes much more."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 19:
            raise ValidationError("Must be a whole number from 0, in at most 19 digits.")
        return int(value)


class Text(fields.String):
    """Text of `least` to `most` characters, trimmed unless `trim` is false; after that too it has `least` of them.

    NUL and lone surrogates are refused: PostgreSQL cannot keep them.
    """

    def __init__(self, least: int, most: int, *, trim: bool = True, **kwargs: Any) -> None:
        pattern = rf"^[^\x00]*[^{SPACES}\x00][^\x00]*$" if trim and least else r"^[^\x00]*$"
        super().__init__(validate=validate.Length(least, most), metadata={"pattern": pattern}, **kwargs)
        self.trim = trim

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is None or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise ValidationError("Characters that cannot be kept: NUL or half a surrogate pair.")
        self._validate(text)
        return text.strip(SPACES) if self.trim else text


def load_body(schema: Schema) -> dict[str, Any]:
    """The JSON body of the request, checked.

    Raises UnsupportedMediaType; PayloadTooLarge; InvalidInput, with `errors` by field where it is an object.
    """
    if not request.is_json:
        raise UnsupportedMediaType
    body = request.get_data()
    if request.content_length is None and request.environ["wsgi.input"].read(1):
        raise PayloadTooLarge  # Werkzeug cuts a body of no told length off at the limit, and says nothing
    if not body:
        raise InvalidInput("The body is empty: it must be JSON.")
    try:
        data = current_app.json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidInput("The body is JSON that nests too deep.") from error
    except ValueError as error:
        raise InvalidInput("The body is not JSON in UTF-8.") from error
    if not isinstance(data, dict):
        raise InvalidInput("The body must be a JSON object.")
    return _load(schema, data)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def load_query(schema: Schema) -> dict[str, Any]:
    """The query string of the request, checked; a parameter given twice is refused.

    What was good once is good again: a client asks for few pages over and over, and checking took a tenth of reading.
    Raises InvalidInput, with `errors` by field unless it is not UTF-8.
    """
    known: dict[tuple[Schema, bytes], dict[str, Any]] = current_app.extensions.setdefault("checked_queries", {})
    key = (schema, request.query_string)
    checked = known.get(key)
    if checked is None:
        checked = _check_query(schema)
        if len(known) >= REMEMBERED_QUERIES:
            known.clear()
        known[key] = checked
    return checked


def _check_query(schema: Schema) -> dict[str, Any]:
    _require_utf8(request.query_string)
    repeated = {name: ["Given more than once."] for name, values in request.args.lists() if len(values) > 1}
    if repeated:
        raise InvalidInput(errors=repeated)
    return _load(schema, request.args.to_dict())


def _require_utf8(query: bytes) -> None:
    """Werkzeug would put U+FFFD in place of what it cannot decode."""
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("The query string is not UTF-8.") from error


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
