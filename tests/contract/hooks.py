"""What schemathesis must know to get in: a token. A call that logs out gets one of its own, which it may spend."""

import json
import os
from functools import cache
from typing import Any
from urllib.request import Request, urlopen

import schemathesis

PASSWORD = "correct horse"
PROFILE = {"first_name": "Ann", "second_name": "Lee", "birthdate": "1990-01-31", "password": PASSWORD}
POSTS = 20


class Token:
    """Logs a reader in."""

    def get(self, case: Any, context: Any) -> str:
        return _log_in(_reader())

    def set(self, case: Any, token: str, context: Any) -> None:
        case.headers["X-Auth"] = token


class SpentToken(Token):
    """For one call only."""


@cache
def _reader() -> str:
    """Somebody who registered for this run, and follows somebody who has posts."""
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


schemathesis.auth(refresh_interval=None).apply_to(path="/logout")(SpentToken)
schemathesis.auth(refresh_interval=3600).skip_for(path="/logout")(Token)
