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


def _birth_pattern() -> str:
    """The days from EARLIEST_BIRTH to the end of last year, for /openapi.json: JSON Schema has no bounds for dates."""
    last = date.today().year - 1
    years = f"19[0-9]{{2}}|20[0-{last // 10 % 10 - 1}][0-9]|20{last // 10 % 10}[0-{last % 10}]"
    leap_years = "|".join(str(year) for year in range(1904, last + 1, 4))
    days = "(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31"
    return f"^(({years})-({days})|({leap_years})-02-29)$"


class Registration(Schema):
    first_name = Text(1, NAME, required=True)
    second_name = Text(1, NAME, required=True)
    birthdate = fields.Date(
        format="iso",
        required=True,
        validate=_born,
        metadata={
            "pattern": _birth_pattern(),
            "description": f"From {EARLIEST_BIRTH} to today; the pattern ends with last year",
        },
    )
    biography = Text(0, 1000, load_default="")
    city = Text(0, NAME, load_default="")
    password = Text(8, 128, trim=False, required=True)


class Credentials(Schema):
    id = Id(required=True)
    password = Text(1, 128, trim=False, required=True)


class Search(Schema):
    first_name = Text(1, NAME, required=True)
    last_name = Text(1, NAME, required=True)


class NewUser(Schema):
    user_id = Id()


class Token(Schema):
    token = fields.String()


class User(Schema):
    id = Id()
    first_name = fields.String()
    second_name = fields.String()
    birthdate = fields.Date(format="iso")
    biography = fields.String()
    city = fields.String()


def dump(row: Any) -> dict[str, Any]:
    """A row of `users`, as it is sent."""
    dumped: dict[str, Any] = user.dump(row)
    return dumped


registration = Registration()
credentials = Credentials()
search = Search()
new_user = NewUser()
token = Token()
user = User()
