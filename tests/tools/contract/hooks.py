"""Adds to schemathesis: a token, one for each call that logs out; and rules that JSON Schema can say by patterns only.

The document says those rules in words. Patterns are hard to read, but values that follow them can be made.
"""

import json
import os
from datetime import date
from functools import cache
from typing import Any
from urllib.request import Request, urlopen

import schemathesis

from app.http.fields import UNICODE_WHITESPACE
from app.users.schemas import EARLIEST_BIRTH

PASSWORD = "correct horse"
PROFILE = {"first_name": "Ann", "second_name": "Lee", "birthdate": "1990-01-31", "password": PASSWORD}
POSTS = 20
SPENDING = ["/logout", "/user/password", "/user/delete"]  # calls after which a token may be refused


BODIES = ("Registration", "ProfileChanges", "PasswordChange", "Deletion", "Credentials", "NewPost", "EditedPost")
TEXT = r"^[^\x00]*$"
CURSOR = "^[0-9]{1,17}-[0-9]{1,19}$"
SEARCH_CURSOR = r"^[0-9]{1,19}-[^\x00]{1,200}$"
VISIBLE_TEXT = rf"^[^\x00]*[^{UNICODE_WHITESPACE}\x00][^\x00]*$"


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Put the rules for texts and dates of birth into the schemas of requests."""
    schemas = raw_schema["components"]["schemas"]
    passwords = ("CredentialsById", "CredentialsByUsername", "PasswordChange", "Deletion")
    for name in ("Registration", "ProfileChanges", *passwords, "NewPost", "EditedPost"):
        for field, schema in schemas[name]["properties"].items():
            if "maxLength" in schema:
                is_trimmed = schema.get("format") != "password" and "minLength" in schema
                schema["pattern"] = VISIBLE_TEXT if is_trimmed else TEXT
            elif field == "birthdate":
                schema["pattern"] = birth_pattern()
    raw_schema["components"]["parameters"]["cursor"]["schema"]["pattern"] = CURSOR
    for parameter in raw_schema["paths"]["/user/search"]["get"]["parameters"]:
        if parameter["schema"]["type"] == "string":
            parameter["schema"]["pattern"] = SEARCH_CURSOR if parameter["name"] == "cursor" else VISIBLE_TEXT


def birth_pattern() -> str:
    """The days from EARLIEST_BIRTH to the end of last year: JSON Schema has no bounds for dates."""
    first, last = EARLIEST_BIRTH.year, date.today().year - 1
    years = "|".join(str(year) for year in range(first, last + 1))
    leap_years = "|".join(str(year) for year in range(first + 4 - first % 4, last + 1, 4))
    days = "(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31"
    return f"^(({years})-({days})|({leap_years})-02-29)$"


class Token:
    """Logs a reader in."""

    def get(self, case: Any, context: Any) -> str:
        return _log_in(_reader())

    def set(self, case: Any, token: str, context: Any) -> None:
        case.headers["X-Auth"] = token


class SpentToken(Token):
    """Logs a new user in, for one call only."""

    def get(self, case: Any, context: Any) -> str:
        return _log_in(str(_call("POST", "/user/register", PROFILE)["user_id"]))


@cache
def _reader() -> str:
    """Register a user for this run, who follows an author of posts. Returns the id."""
    reader, author = (_call("POST", "/user/register", PROFILE)["user_id"] for _ in range(2))
    token = _log_in(author)
    for number in range(POSTS):
        _call("POST", "/post/create", {"text": f"post {number}"}, token)
    _call("PUT", f"/friend/set/{author}", None, _log_in(reader))
    return str(reader)


def _log_in(user_id: str) -> str:
    return str(_call("POST", "/login", {"id": user_id, "password": PASSWORD})["token"])


def _call(method: str, path: str, body: object = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", "X-Auth": token}
    request = Request(os.environ["LENTA_URL"] + path, json.dumps(body).encode(), headers, method=method)
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


schemathesis.auth(refresh_interval=None).apply_to(path=SPENDING)(SpentToken)
schemathesis.auth(refresh_interval=3600).skip_for(path=SPENDING)(Token)
