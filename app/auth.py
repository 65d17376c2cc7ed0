"""X-Auth: a signed token (JWT, HS256) that says who is asking.

Every route is guarded unless its view is marked `public`.
"""

from collections.abc import Callable
from datetime import timedelta
from time import time
from typing import Any, NamedTuple, TypeVar, cast

from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from app.errors import Unauthorized
from app.fields import parse_id

HEADER = "X-Auth"

# Checking a signature took 30 % of the time of reading a feed; a token is the same for all requests of a session.
REMEMBERED_TOKENS = 10_000

View = TypeVar("View", bound=Callable[..., Any])


class Verified(NamedTuple):
    """What a token says whose signature was checked; `expires` in seconds since 1970."""

    user_id: int
    expires: int


def public(view: View) -> View:
    """Mark a view that needs no token."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask, secret_key: str, ttl: int) -> None:
    """Guard all routes of `app`; a token lives `ttl` seconds."""
    app.config.update(
        JWT_SECRET_KEY=secret_key,
        JWT_ALGORITHM="HS256",
        JWT_DECODE_ALGORITHMS=["HS256"],
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=ttl),
        JWT_TOKEN_LOCATION=["headers"],
        JWT_HEADER_NAME=HEADER,
        JWT_HEADER_TYPE="",
    )
    JWTManager(app)
    app.extensions["verified_tokens"] = {}
    app.before_request(_require_token)


def issue_token(user_id: int) -> str:
    """A token with issue and expiry times."""
    return str(create_access_token(identity=str(user_id)))


def current_user_id() -> int:
    """The user whose token the request carries."""
    return cast(int, g.user_id)


def is_public(endpoint: str | None) -> bool:
    """Whether `endpoint` needs no token; an address that leads nowhere (None) is answered 404 without one."""
    return endpoint is None or getattr(current_app.view_functions[endpoint], "is_public", False)


def _require_token() -> None:
    if request.method == "OPTIONS" or is_public(request.endpoint):  # a browser's preflight carries no token
        return
    token = request.headers.get(HEADER, "")
    remembered: dict[str, Verified] = current_app.extensions["verified_tokens"]
    verified = remembered.get(token)
    if verified is None or verified.expires <= time():
        verified = _verify()
        if len(remembered) >= REMEMBERED_TOKENS:
            remembered.clear()
        remembered[token] = verified
    g.user_id = verified.user_id


def _verify() -> Verified:
    try:
        _, claims = cast(tuple[Any, dict[str, Any]], verify_jwt_in_request())
        return Verified(parse_id(claims["sub"]), claims["exp"])
    except (JWTExtendedException, PyJWTError, ValueError, KeyError) as error:
        raise Unauthorized from error
