"""X-Auth: a signed token (JWT) that says who is asking.

Every route is guarded unless its view is marked `public`.
"""

from collections.abc import Callable
from datetime import timedelta
from time import time
from typing import Any, NamedTuple, TypeVar, cast

import redis
from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import InvalidAlgorithmError, PyJWTError

from app import revocation
from app.errors import NotFound, Unauthorized, Unavailable
from app.fields import parse_id
from app.keys import EDDSA, HS256, Keys

HEADER = "X-Auth"
_ENVIRON = "HTTP_" + HEADER.upper().replace("-", "_")  # what WSGI calls it

# Checking a signature took 30 % of the time of reading a feed; a token is the same for all requests of a session.
REMEMBERED_TOKENS = 10_000

View = TypeVar("View", bound=Callable[..., Any])


class Verified(NamedTuple):
    """What a token says whose signature was checked; `expires` in seconds since 1970."""

    user_id: int
    expires: int
    token_id: str


def public(view: View) -> View:
    """Mark a view that needs no token."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask, keys: Keys, ttl: int) -> None:
    """Guard all routes of `app`; a token lives `ttl` seconds."""
    app.config.update(
        JWT_ALGORITHM=keys.signing.algorithm if keys.signing else None,
        JWT_DECODE_ALGORITHMS=[HS256, EDDSA],  # which of them, the key says
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=ttl),
        JWT_TOKEN_LOCATION=["headers"],
        JWT_HEADER_NAME=HEADER,
        JWT_HEADER_TYPE="",
    )
    manager = JWTManager(app)
    manager.encode_key_loader(lambda _: keys.signing and keys.signing.value)
    manager.decode_key_loader(lambda header, _: _verifying_key(keys, header))
    app.extensions["keys"] = keys
    app.extensions["verified_tokens"] = {}
    revocation.init_app(app)
    app.before_request(_require_token)


def issue_token(user_id: int) -> str:
    """A token with issue and expiry times. Raises NotFound where there is no key to sign with."""
    keys: Keys = current_app.extensions["keys"]
    if keys.signing is None:
        raise NotFound("Tokens are not issued here: this service has a public key only.")
    return str(create_access_token(identity=str(user_id), additional_headers={"kid": keys.signing.id}))


def revoke_token() -> None:
    """Have the token of the request refused from now on. Raises Unavailable, and then it is still good."""
    verified: Verified = g.verified
    ttl = current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    try:
        revocation.revoke(verified.token_id, verified.expires, int(ttl.total_seconds()))
    except redis.RedisError as error:
        raise Unavailable("The token could not be revoked just now: try again.") from error


def current_user_id() -> int:
    """The user whose token the request carries."""
    return cast(Verified, g.verified).user_id


def is_public(endpoint: str | None) -> bool:
    """Whether `endpoint` needs no token; an address that leads nowhere (None) is answered 404 without one."""
    return endpoint is None or getattr(current_app.view_functions[endpoint], "is_public", False)


def _require_token() -> None:
    if request.method == "OPTIONS" or is_public(request.endpoint):  # a browser's preflight carries no token
        return
    token = request.environ.get(_ENVIRON, "")
    extensions = current_app.extensions
    remembered: dict[str, Verified] = extensions["verified_tokens"]
    verified = remembered.get(token)
    if verified is None or verified.expires <= time():
        verified = _verify()
        if len(remembered) >= REMEMBERED_TOKENS:
            remembered.clear()
        remembered[token] = verified
    if verified.token_id in extensions["revoked_tokens"]:
        raise Unauthorized
    g.verified = verified


def _verify() -> Verified:
    try:
        _, claims = cast(tuple[Any, dict[str, Any]], verify_jwt_in_request())
        if not isinstance(claims["jti"], str):
            raise Unauthorized
        return Verified(parse_id(claims["sub"]), claims["exp"], claims["jti"])
    except (JWTExtendedException, PyJWTError, ValueError, KeyError) as error:
        raise Unauthorized from error


def _verifying_key(keys: Keys, header: dict[str, Any]) -> Any:
    """The key for a token that nobody has verified yet; it decides on the algorithm, not the token."""
    key = keys.of(header.get("kid"))
    if header.get("alg") != key.algorithm:
        raise InvalidAlgorithmError
    return key.value
