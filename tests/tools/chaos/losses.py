"""Counts the writes that a failover of PostgreSQL lost, and how long responses had them."""

from collections import Counter
from collections.abc import Iterator

from tests.tools.chaos.model import Model, Sql, author_of, serial
from tests.tools.chaos.verify import Truth


def count(model: Model, truth: Truth) -> Counter[str]:
    """Count acknowledged writes that SQL lacks, and may lack."""
    posts, follows, blocks, suspended = truth.sql
    lost: Counter[str] = Counter()
    for post_id, post in model.posts.items():
        _, text = posts.get(post_id, (0, None))
        if post.is_lost(text):
            lost["posts" if text is None else "deletions" if post.possible == {None} else "edits"] += 1
    for name, relations, pairs in (("follows", model.follows, follows), ("blocks", model.blocks, blocks)):
        for one, others in relations.items():
            lost[name] += sum(relation.is_lost((one, other) in pairs) for other, relation in others.items())
    lost["suspensions"] = sum(shown.is_lost(user not in suspended) for user, shown in model.shown.items())
    lost["deleted accounts"] = len(alive(model, truth))
    return +lost


def gaps(model: Model, sql: Sql) -> Iterator[str]:
    """Find lost posts that are older than a post which is not lost.

    Older: acknowledged before that one was sent to the same primary. A standby has the commits in their order, so a
    failover can lose only the last.
    """
    since = float("-inf")
    for failover in model.failovers:
        created = {
            post_id: (sent, acknowledged)
            for post_id, (sent, acknowledged) in model.created_at.items()
            if since < sent and acknowledged < failover.fenced_at
        }
        last = max((sent for post_id, (sent, _) in created.items() if post_id in sql.posts), default=since)
        for post_id, (_, acknowledged) in created.items():
            if acknowledged < last and post_id not in sql.posts and model.posts[post_id].is_lost(None):
                yield f"post {post_id} is lost, and a later one is not"
        since = failover.fenced_at


def alive(model: Model, truth: Truth) -> set[int]:
    """Return the users of deleted accounts whose deletion was lost."""
    return {user for user, is_there in model.dead.items() if is_there.is_lost(user in truth.users)}


def shown_for(model: Model, truth: Truth) -> float:
    """Return for how long after a failover responses had texts that it lost."""
    longest = 0.0
    for (post_id, text), asked in model.seen.items():
        _, kept = truth.sql.posts.get(post_id, (0, None))
        is_lost = serial(kept) < serial(text) if kept else not (post_id in model.dying or author_of(text) in model.dead)
        if is_lost:
            began = model.submitted[text]
            served = [one.served_at for one in model.failovers if one.served_at <= asked and one.fenced_at > began]
            longest = max(longest, asked - max(served, default=asked))
    return longest
