"""Remembers the addresses from which a user has logged in.

Login attempts from them are counted separately, so guessing a password from elsewhere does not lock the owner out.
Owns the key:

    login:known:<user>   sorted set   addresses by the time of the last login from there, seconds since 1970; one counts
                                      for KNOWN_SECONDS, and the key expires after the last

Without Redis, or after it lost its data, no address is known.
"""

from functools import partial
from time import time

from app.redis.circuit_breaker import attempt
from app.redis.client import client

KNOWN_SECONDS = 90 * 86_400


def is_known(user_id: int, address: str) -> bool:
    """Return whether the user has logged in from this address. False without Redis."""
    last = attempt(partial(client().zscore, _key(user_id), address), None, "no address is known")
    return last is not None and last > time() - KNOWN_SECONDS


def remember(user_id: int, address: str) -> None:
    """Remember the address of a successful login."""
    attempt(partial(_add, _key(user_id), address), None, "the address is not remembered")


def forget(user_id: int) -> None:
    """Delete all addresses of a user. Raises redis.RedisError."""
    client().delete(_key(user_id))


def _add(key: str, address: str) -> None:
    with client().pipeline(transaction=False) as pipe:
        pipe.zadd(key, {address: time()})
        pipe.zremrangebyscore(key, "-inf", time() - KNOWN_SECONDS)
        pipe.expire(key, KNOWN_SECONDS)
        pipe.execute()


def _key(user_id: int) -> str:
    return f"login:known:{user_id}"
