"""Use cases of accounts: passwords, which tokens still count, suspension and deletion.

A new generation of tokens is committed with its event, and then announced at once. If that fails (Redis is down, the
process dies), the actor of the event announces it.
"""

from functools import partial

from app.auth import generations, revoked_tokens, tokens
from app.db.engine import commit
from app.errors import NotFound, Unauthorized
from app.redis.circuit_breaker import attempt
from app.users import cached_names, outbox, store
from app.users.passwords import hash_password
from app.users.service import check_password


def change_password(user_id: int, old: str, new: str) -> str:
    """Change a password, and refuse all tokens but the one returned.

    Raises WrongCredentials; Unauthorized if the account was suspended since the token was checked.
    """
    tokens.signing_key()  # raises NotFound before anything has changed
    known = check_password(user_id, old)
    if known.suspended_at:
        raise Unauthorized
    if not store.update_password_hash(user_id, known.password_hash, hash_password(new)):
        return change_password(user_id, old, new)  # another request has replaced the hash, or suspended the user
    return tokens.issue_token(user_id, _begin_generation(user_id))


def set_password(user_id: int, password: str) -> None:
    """Set a password for an operator, and refuse all tokens of the user. Raises NotFound."""
    if not store.set_password_hash(user_id, hash_password(password)):
        raise NotFound("There is no such user.")
    _begin_generation(user_id)


def log_out_everywhere(user_id: int) -> None:
    """Refuse all tokens that a user has now."""
    _begin_generation(user_id)


def suspend(user_id: int) -> bool:
    """Suspend an account for an operator, and refuse all its tokens. Returns whether it was not suspended.

    The actor of the event takes the posts out of the feeds, again if it was suspended before. Raises NotFound.
    """
    was_suspended = _set_suspended(user_id, True)
    _begin_generation(user_id)
    return not was_suspended


def restore(user_id: int) -> bool:
    """End the suspension of an account for an operator. Returns whether it was suspended.

    Tokens from before stay refused; the actor of the event brings the posts back. Raises NotFound.
    """
    was_suspended = _set_suspended(user_id, False)
    commit()
    return was_suspended


def is_suspended(user_id: int) -> bool | None:
    """Return whether an account is suspended. None if there is no such user."""
    found = store.select_suspension(user_id)
    return found and found.suspended_at is not None


def delete(user_id: int, password: str) -> None:
    """Delete an account. Raises WrongCredentials."""
    known = check_password(user_id, password)
    if not store.delete_user(user_id, known.password_hash):
        delete(user_id, password)  # another request has replaced the hash
    else:
        _finish_deletion(user_id)


def delete_for_operator(user_id: int) -> bool:
    """Delete an account, or go on with a deletion whose message the broker has lost. Returns whether it was there.

    Raises NotFound for an id that is no user's.
    """
    is_there = store.delete_user(user_id)
    if not is_there and not is_gone(user_id):
        raise NotFound("There is no such user.")
    _finish_deletion(user_id)
    return is_there


def is_gone(user_id: int) -> bool:
    """Return whether an account was deleted, as long as that is known."""
    present = generations.present(user_id)
    return present is not None and present.number == generations.GONE


def _finish_deletion(user_id: int) -> None:
    """Commit the deletion. Tokens are refused from now on; the actor of the event takes the rest."""
    outbox.OUTBOX.add(outbox.USER_DELETED, user_id=user_id)
    _begin_generation(user_id, generations.GONE)
    cached_names.refresh(user_id)


def _set_suspended(user_id: int, suspended: bool) -> bool:
    """Write the change and its event. Returns whether the account was suspended before.

    The row is locked from here on: a change of the password comes before, or sees this.
    """
    changed = store.set_suspended(user_id, suspended)
    if changed is None:
        raise NotFound("There is no such user.")
    outbox.OUTBOX.add(outbox.SUSPENSION_CHANGED, user_id=user_id)
    return bool(changed.was)


def announce(user_id: int) -> None:
    """Tell all processes of a user's present generation. Raises redis.RedisError."""
    if present := generations.present(user_id):
        commit()
        revoked_tokens.announce(user_id, present)


def _begin_generation(user_id: int, number: int | None = None) -> int:
    """Commit that a new generation begins, with all that the transaction changed. Returns its number."""
    generation = generations.begin(user_id, number)
    outbox.OUTBOX.add(outbox.TOKENS_REVOKED, user_id=user_id)
    commit()
    revoked_tokens.revoked().add_generation(user_id, generation)
    announced = partial(revoked_tokens.announce, user_id, generation)
    attempt(announced, None, "the revocation of a user's tokens is announced late")
    return generation.number
