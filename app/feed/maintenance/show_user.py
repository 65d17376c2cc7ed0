"""Shows an operator what the service has about a user."""

from typing import Any

from app.auth import generations
from app.db.engine import commit
from app.errors import NotFound
from app.feed.cache import timeline
from app.posts import counts, suspensions
from app.redis.client import client
from app.users import accounts, schemas, service, store

ACTIVE, SUSPENDED, DELETED = "active", "suspended", "deleted"


def describe(user_id: int) -> dict[str, Any]:
    """Return what is known of a user, as JSON has it. Raises NotFound for an id that is no user's.

    Where the account was deleted, counts tell what the workers have not taken yet.
    """
    suspension = store.select_suspension(user_id)
    if suspension is None and not accounts.is_gone(user_id):
        raise NotFound("There is no such user.")
    described: dict[str, Any] = {"user_id": str(user_id), "state": DELETED}
    if suspension is not None:
        since = suspension.suspended_at
        described |= {
            "state": SUSPENDED if since else ACTIVE,
            "suspended_at": since and since.isoformat(),
            "profile": schemas.dump_me(service.get(user_id)),
            "tokens_generation": _generation(user_id),
        }
    described |= {"counts": counts.of_user(user_id)._asdict(), "posts_hidden": suspensions.is_suspended(user_id)}
    commit()
    return described | {"feed": _feed(user_id)}


def lines(described: dict[str, Any]) -> list[str]:
    """Return what `describe` has found as lines for a terminal."""
    profile, feed = described.get("profile", {}), described["feed"]
    said = {"user": described["user_id"], "state": described["state"]}
    if described.get("suspended_at"):
        said["state"] += f" since {described['suspended_at']}"
    said |= {name.replace("_", " "): str(value) for name, value in profile.items() if name != "id" and value}
    said |= {name: f"{number:,}" for name, number in described["counts"].items()}
    said["posts are"] = "hidden" if described["posts_hidden"] else "shown"
    if "tokens_generation" in described:
        said["tokens"] = f"of generation {described['tokens_generation']}; older ones are refused"
    said["feed in Redis"] = f"{feed['state']}, {feed['posts']} posts" + ", rebuilding" * feed["is_rebuilding"]
    if feed["pulled_authors"]:
        said["pulled authors"] = ", ".join(feed["pulled_authors"])
    return [f"{name + ':':<16}{value}" for name, value in said.items()]


def _generation(user_id: int) -> str:
    present = generations.present(user_id)
    return str(present.number if present else generations.FIRST)


def _feed(user_id: int) -> dict[str, Any]:
    [own] = timeline.load_many([timeline.HOME.key(user_id)])
    ends = timeline.END_MARK in own.ids
    return {
        "state": "complete" if ends else "incomplete" if own.ids or own.pulled else "cold",
        "posts": len(own.ids) - ends,
        "pulled_authors": [str(author_id) for author_id in own.pulled],
        "is_rebuilding": bool(client().exists(timeline.HOME.lease_key(user_id))),
    }
