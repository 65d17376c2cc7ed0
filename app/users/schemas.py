"""Schemas of users."""

import re
from datetime import date
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from app.http.fields import Id, IdList, Text
from app.http.pages import LimitQuery
from app.ids import parse_id
from app.users.store import Place

MAX_NAME_LENGTH = 100
MAX_LISTED = 100
MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH = 8, 128
MAX_CURSOR_LENGTH = 500
NO_CURSOR = "Must be a cursor as Link has it."
EARLIEST_BIRTH = date(1900, 1, 1)


def _validate_birthdate(value: date) -> None:
    if not EARLIEST_BIRTH <= value <= date.today():
        raise ValidationError(f"Must be from {EARLIEST_BIRTH} to today.")


class Username(fields.String):
    """A username, in lower case: two that differ in case are one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch("[A-Za-z0-9_]{3,30}", value):
            raise ValidationError("Must be 3 to 30 of the letters a to z, digits and _.")
        return value.lower()


class Registration(Schema):
    username = Username()
    first_name = Text(1, MAX_NAME_LENGTH, required=True)
    second_name = Text(1, MAX_NAME_LENGTH, required=True)
    birthdate = fields.Date(format="iso", required=True, validate=_validate_birthdate)
    biography = Text(0, 1000, load_default="")
    city = Text(0, MAX_NAME_LENGTH, load_default="")
    password = Text(MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH, verbatim=True, required=True)


class ProfileChanges(Schema):
    username = Username()
    first_name = Text(1, MAX_NAME_LENGTH)
    second_name = Text(1, MAX_NAME_LENGTH)
    birthdate = fields.Date(format="iso", validate=_validate_birthdate)
    biography = Text(0, 1000)
    city = Text(0, MAX_NAME_LENGTH)


class Credentials(Schema):
    id = Id()
    username = Username()
    password = Text(1, MAX_PASSWORD_LENGTH, verbatim=True, required=True)

    @validates_schema
    def _require_one_account(self, data: dict[str, Any], **kwargs: Any) -> None:
        if ("id" in data) == ("username" in data):
            raise ValidationError("Give either an id or a username.", "id")


class PasswordChange(Schema):
    old_password = Text(1, MAX_PASSWORD_LENGTH, verbatim=True, required=True)
    new_password = Text(MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH, verbatim=True, required=True)


class Deletion(Schema):
    password = Text(1, MAX_PASSWORD_LENGTH, verbatim=True, required=True)


class LogOut(Schema):
    everywhere = fields.Boolean(load_default=False, truthy={"true"}, falsy={"false"})


class SearchCursor(fields.Field[Place]):
    """A place in the results of a search, as `dump_cursor` writes it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Place:
        user_id, _, key = value.partition("-")
        if not key or "\0" in key or len(key) > MAX_CURSOR_LENGTH:
            raise ValidationError(NO_CURSOR)
        try:
            return Place(key, parse_id(user_id))
        except ValueError as error:
            raise ValidationError(NO_CURSOR) from error


class Search(LimitQuery):
    q = Text(1, MAX_NAME_LENGTH)
    cursor = SearchCursor(load_default=None, allow_none=False)
    first_name = Text(1, MAX_NAME_LENGTH)
    last_name = Text(1, MAX_NAME_LENGTH)

    @validates_schema
    def _require_q_or_both_names(self, data: dict[str, Any], **kwargs: Any) -> None:
        missing = {"first_name", "last_name"} - data.keys()
        if missing and "q" not in data:
            raise ValidationError({name: ["Give q, or both names."] for name in missing})


class UserList(Schema):
    ids = IdList(MAX_LISTED, required=True)


class User(Schema):
    id = Id()
    username = fields.String()
    first_name = fields.String()
    second_name = fields.String()
    birthdate = fields.Date(format="iso")
    biography = fields.String()
    city = fields.String()


class Me(User):
    created_at = fields.DateTime(format="iso")


def dump(row: Any) -> dict[str, Any]:
    """Serialize a row of `users`."""
    dumped: dict[str, Any] = user.dump(row)
    return dumped


def dump_cursor(place: Place) -> str:
    """Write the user's id and the text that was found."""
    return f"{place.user_id}-{place.key}"


def dump_me(row: Any) -> dict[str, Any]:
    """Serialize a row of `users` for that user."""
    dumped: dict[str, Any] = me.dump(row)
    return dumped


registration = Registration()
profile_changes = ProfileChanges()
credentials = Credentials()
password_change = PasswordChange()
deletion = Deletion()
log_out = LogOut()
search = Search()
user_list = UserList()
user = User()
me = Me()
