"""What users send and get."""

from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.fields import Id, Text

NAME = 100
EARLIEST_BIRTH = date(1900, 1, 1)


def _born(value: date) -> None:
    if not EARLIEST_BIRTH <= value <= date.today():
        raise ValidationError(f"Must be from {EARLIEST_BIRTH} to today.")


class Registration(Schema):
    first_name = Text(1, NAME, required=True)
    second_name = Text(1, NAME, required=True)
    birthdate = fields.Date(format="iso", required=True, validate=_born)
    biography = Text(0, 1000, load_default="")
    city = Text(0, NAME, load_default="")
    password = Text(8, 128, trim=False, required=True)


class Credentials(Schema):
    id = Id(required=True)
    password = Text(1, 128, trim=False, required=True)


class Search(Schema):
    first_name = Text(1, NAME, required=True)
    last_name = Text(1, NAME, required=True)


class User(Schema):
    id = Id()
    first_name = fields.String()
    second_name = fields.String()
    birthdate = fields.Date(format="iso")
    biography = fields.String()
    city = fields.String()


def dump(user: Any) -> dict[str, Any]:
    """A row of `users`, as it is sent."""
    dumped: dict[str, Any] = _user.dump(user)
    return dumped


registration = Registration()
credentials = Credentials()
search = Search()
_user = User()
