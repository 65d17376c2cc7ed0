"""Authentication by a signed token (JWT) in X-Auth, or else in Authorization: Bearer.

A browser can set neither on a WebSocket, so there Sec-WebSocket-Protocol is taken too.

Every route requires a token unless its view is marked `public`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any, NamedTuple, TypeVar, cast

import redis
from flask import Flask, Request, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import InvalidAlgorithmError, PyJWTError

from app.auth import generations, revoked_tokens
from app.auth.keys import EDDSA, HS256, Key, Keys
from app.errors import NotFound, Unauthorized, Unavailable
from app.ids import MAX_ID, parse_id

HEADER = "X-Auth"
_ENVIRON_KEY = "HTTP_" + HEADER.upper().replace("-", "_")  # its name in the WSGI environ
_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)  # RFC 6750, 2.1; a scheme has no case (RFC 9110, 11.1)

_OFFERED = re.compile(r"lenta *, *([\w.-]+)", re.ASCII)  # subprotocols: ours, and the token

# A session sends the same token with every request, and verifying a signature is expensive.
TOKEN_CACHE_SIZE = 10_000

GENERATION_CLAIM = "generation"
LEEWAY_SECONDS = 5  # by which the clocks of hosts may differ (RFC 7519, 4.1.4)
MAX_TIME = 253_402_300_799  # the end of the year 9999, seconds since 1970

View = TypeVar("View", bound=Callable[..., Any])


class VerifiedToken(NamedTuple):
    """The claims of a verified token. `expires` is in seconds since 1970 and includes the leeway."""

    user_id: int
    expires: int
    token_id: str
    generation: int


def public(view: View) -> View:
    """Mark a view as accessible without a token."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def init_app(app: Flask, keys: Keys, ttl: int) -> None:
    """Require a token for all routes of `app`. Tokens expire after `ttl` seconds."""
    app.config.update(
        JWT_ALGORITHM=keys.signing.algorithm if keys.signing else None,
        JWT_DECODE_ALGORITHMS=[HS256, EDDSA],  # the key determines which one
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(seconds=ttl),
        JWT_DECODE_LEEWAY=LEEWAY_SECONDS,
    )
    manager = JWTManager(app)
    manager.encode_key_loader(lambda _: keys.signing and keys.signing.value)
    manager.decode_key_loader(lambda header, _: _verifying_key(keys, header))
    app.extensions["keys"] = keys
    app.extensions["verified_tokens"] = {}
    revoked_tokens.init_app(app)
    app.before_request(_require_token)


def issue_token(user_id: int, generation: int = generations.FIRST) -> str:
    """Issue a token of a generation that was read with the password. Raises NotFound if there is no signing key."""
    claims, headers = {GENERATION_CLAIM: generation}, {"kid": signing_key().id}
    return str(create_access_token(identity=str(user_id), additional_claims=claims, additional_headers=headers))


def signing_key() -> Key:
    """Return the key that signs tokens. Raises NotFound if there is none."""
    keys: Keys = current_app.extensions["keys"]
    if keys.signing is None:
        raise NotFound("Tokens are not issued here: this service has a public key only.")
    return keys.signing


def expiry(token: str) -> datetime:
    """Return the time when a token that was issued here expires."""
    return datetime.fromtimestamp(decode_token(token)["exp"], UTC)


def revoke_token() -> None:
    """Revoke the token of the request. Raises Unavailable; the token is then still valid."""
    verified: VerifiedToken = g.verified
    try:
        revoked_tokens.revoke(verified.token_id, verified.expires)
    except redis.RedisError as error:
        raise Unavailable("The token could not be revoked. Try again.") from error


def is_expired(verified: VerifiedToken) -> bool:
    """Return whether a verified token has expired since."""
    return verified.expires <= time()


def is_valid(verified: VerifiedToken) -> bool:
    """Return whether a verified token is still valid."""
    revoked = current_app.extensions["revoked_tokens"]
    return not is_expired(verified) and not revoked.refuses(verified.token_id, verified.user_id, verified.generation)


def current_token() -> VerifiedToken:
    """Return the token of the request."""
    return cast(VerifiedToken, g.verified)


def current_user_id() -> int:
    """Return the id of the authenticated user."""
    return current_token().user_id


def is_public(endpoint: str | None) -> bool:
    """Return whether `endpoint` needs no token. An unmatched URL (None) is a 404 without authentication."""
    return endpoint is None or getattr(current_app.view_functions[endpoint], "is_public", False)


def _require_token() -> None:
    current: Request = request._get_current_object()  # type: ignore[attr-defined]  # one access by the proxy, not several
    if current.method == "OPTIONS" or is_public(current.endpoint):  # a browser's preflight carries no token
        return
    token = current.environ.get(_ENVIRON_KEY) or _other_token(current.environ)
    extensions = current_app.extensions
    cache: dict[str, VerifiedToken] = extensions["verified_tokens"]
    verified = cache.get(token)
    if verified is None or verified.expires <= time():
        verified = _verify(token)
        if len(cache) >= TOKEN_CACHE_SIZE:
            cache.clear()
        cache[token] = verified
    if extensions["revoked_tokens"].refuses(verified.token_id, verified.user_id, verified.generation):
        raise Unauthorized
    g.verified = verified


def known_user_id(environ: Mapping[str, Any]) -> int | None:
    """Return the user of a request, without a view. None unless the token was verified before."""
    token = environ.get(_ENVIRON_KEY) or _other_token(environ)
    verified: VerifiedToken | None = current_app.extensions["verified_tokens"].get(token)
    return verified.user_id if verified and is_valid(verified) else None


def _other_token(environ: Mapping[str, Any]) -> str:
    """The token of another header than X-Auth, or "" if there is none."""
    bearer = _BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    match = bearer or _OFFERED.fullmatch(environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))
    return match[1] if match else ""


def _verify(token: str) -> VerifiedToken:
    try:
        return _check(decode_token(token))
    except (JWTExtendedException, PyJWTError, RecursionError, ValueError, KeyError) as error:
        raise Unauthorized from error


def _check(claims: dict[str, Any]) -> VerifiedToken:
    """Check the type and range of every claim that is used. Raises ValueError or KeyError."""
    if claims["type"] != "access":
        raise ValueError("a token of another type")
    for time_ in (claims["iat"], claims["exp"], claims.get("nbf", 0)):
        if type(time_) is not int or not 0 <= time_ <= MAX_TIME:
            raise ValueError("a time is a whole number of seconds")
    token_id = claims["jti"]
    if not isinstance(token_id, str) or not re.fullmatch("[!-~]{1,64}", token_id):
        raise ValueError("an id has 1 to 64 characters, printable ASCII")
    user_id = parse_id(claims["sub"])
    if claims["sub"] != str(user_id):
        raise ValueError("a user's id has the form in which it was issued")
    generation = claims.get(GENERATION_CLAIM, generations.FIRST)  # the version before issues tokens without it
    if type(generation) is not int or not 0 <= generation <= MAX_ID:
        raise ValueError("a generation is a number like an id")
    return VerifiedToken(user_id, claims["exp"] + LEEWAY_SECONDS, token_id, generation)


def _verifying_key(keys: Keys, header: dict[str, Any]) -> Any:
    """Return the key for an unverified token. The key determines the algorithm, never the token."""
    key = keys.find(header.get("kid"))
    if header.get("alg") != key.algorithm:
        raise InvalidAlgorithmError
    return key.value
