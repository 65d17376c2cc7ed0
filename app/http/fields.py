"""Shared marshmallow fields. They reject text that PostgreSQL cannot store."""

from typing import Any
from unicodedata import normalize

from marshmallow import ValidationError, fields, validate

from app.ids import parse_id

# Unicode's White_Space. Python strips U+001C to U+001F too, and every regex dialect defines \s differently.
UNICODE_WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)


class Id(fields.Field[int]):
    """A 64-bit id, as a string in JSON: a JavaScript number has 53 bits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        try:
            return parse_id(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def _serialize(self, value: int | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else str(value)


class IdList(fields.Field[list[int]]):
    """From 1 to `max_items` ids with commas between them; one that is repeated counts once."""

    def __init__(self, max_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_items = max_items

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[int]:
        texts = value.split(",")
        if len(texts) > self.max_items:
            raise ValidationError(f"Must be at most {self.max_items} ids.")
        try:
            return list(dict.fromkeys(map(parse_id, texts)))
        except ValueError as error:
            raise ValidationError(str(error)) from error


class NonNegativeInteger(fields.Integer):
    """A non-negative integer in ASCII digits, where `int()` accepts signs, underscores and other scripts."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 19:
            raise ValidationError("Must be a whole number from 0, in at most 19 digits.")
        return int(value)


class Text(fields.String):
    """Text of `min_length` to `max_length` characters, stored normalized (NFC) and trimmed.

    The limits apply before and after trimming. `verbatim` text is stored unchanged. NUL and unpaired surrogates are
    rejected: PostgreSQL cannot store them.
    """

    def __init__(self, min_length: int, max_length: int, *, verbatim: bool = False, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(min_length, max_length), **kwargs)
        self.verbatim = verbatim

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is None or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
            raise ValidationError("Must not contain NUL or unpaired surrogates.")
        self._validate(text)
        return text if self.verbatim else normalize("NFC", text).strip(UNICODE_WHITESPACE)
