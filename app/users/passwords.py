"""Passwords, hashed with argon2id in one Unicode normal form.

A hash takes 64 MiB and much CPU time. So a process computes at most HASH_CONCURRENCY at once, in the background of
other requests.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import Flask, current_app
from gevent.threadpool import ThreadPool

from app.errors import Unavailable
from app.native import run_natively, thread_pool

WAIT_SECONDS = 5.0  # for a free slot, before the client gets 503
WAITING_SHARE = 4  # one in so many of a process's connections may wait; the others are for readers
# Hashing threads yield to requests that need the CPU only briefly.
NICENESS = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)

T = TypeVar("T")

_hasher = PasswordHasher()  # argon2id, the parameters of RFC 9106 for machines with little memory

# Verified for unknown users, so that timing does not reveal whether a user exists.
_DUMMY_HASH = "$argon2id$v=19$m=65536,t=3,p=4$bm9ib2R5bm9ib2R5$RQCHgmpOm+GdrCpxYxLmVzBRmFzVX3kmKbwqTOk5XLY"


class Verdict(NamedTuple):
    """The result of a verification. `is_outdated`: the hash uses another normal form or other parameters."""

    is_right: bool
    is_outdated: bool


class Slots(NamedTuple):
    """Bounds of a process: requests that wait or hash, requests that hash, and threads."""

    room: threading.BoundedSemaphore
    hashing: threading.BoundedSemaphore
    threads: ThreadPool | None


def init_app(app: Flask, hashes: int, connections: int) -> None:
    """Limit this process to `hashes` concurrent hashes.

    Only a share of its `connections` may wait for one.
    """
    room = hashes + max(1, connections // WAITING_SHARE)
    app.extensions["password_hashes"] = Slots(
        threading.BoundedSemaphore(room), threading.BoundedSemaphore(hashes), thread_pool(hashes)
    )


def hash_password(password: str) -> str:
    """Hash a password for storage. Raises Unavailable if too many are being hashed."""
    return _bounded(partial(_hasher.hash, _normalize(password)))


def verify_password(known: str | None, password: str) -> Verdict:
    """Verify a password against a hash. None (an unknown user) takes as long and never matches.

    Older hashes were made without normalization, so the unchanged password is tried, too. Raises Unavailable if too
    many are being hashed.
    """
    normal = _normalize(password)
    for form in dict.fromkeys((normal, password)):
        if _bounded(partial(_matches, known or _DUMMY_HASH, form)) and known:
            return Verdict(True, form != normal or _hasher.check_needs_rehash(known))
    return Verdict(False, False)


def _normalize(password: str) -> str:
    """Normalize to NFKC, as NIST SP 800-63B recommends."""
    return normalize("NFKC", password)


def _matches(known: str, password: str) -> bool:
    try:
        return _hasher.verify(known, password)
    except (VerificationError, InvalidHashError):  # InvalidHashError: not a hash at all
        return False


def _bounded(work: Callable[[], T]) -> T:
    """Run `work` when a slot is free. Under gevent it runs in a native thread, so that the event loop continues."""
    slots: Slots = current_app.extensions["password_hashes"]
    with _taken(slots.room, timeout=0), _taken(slots.hashing, timeout=WAIT_SECONDS):
        return run_natively(partial(_in_background, work), slots.threads) if slots.threads is not None else work()


@contextmanager
def _taken(places: threading.BoundedSemaphore, timeout: float) -> Iterator[None]:
    if not places.acquire(timeout=timeout):
        raise Unavailable("Too many logins at the moment. Try again.")
    try:
        yield
    finally:
        places.release()


def _in_background(work: Callable[[], T]) -> T:
    # On Linux, of this thread and of those that argon2 starts.
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    return work()
