"""Possible states of SQL, derived from requests and responses.

A response 200 leaves one possibility; a lost response, or 503, leaves two. A failover of PostgreSQL may have lost what
was acknowledged since its standby had everything: then what was possible before is so again. Each write belongs to a
user, and a user's writes come sequentially from one client, so only failovers need the lock.

A text is "<author> <serial>", and the serials of an author grow: a text tells whose it is and how old.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from tests.tools.chaos.certainty import Failover, Uncertain
from tests.tools.chaos.http import Answer

LATE_SECONDS = 2.0  # a commit with a lost response may still be pending this long

T = TypeVar("T")
Pair = tuple[int, int]


class Sql(NamedTuple):
    posts: dict[int, tuple[int, str]]  # post → (author, text)
    follows: set[Pair]  # (follower, followee)
    blocks: set[Pair]  # (blocker, blocked)
    suspended: set[int]


@dataclass
class Post(Uncertain[str | None]):
    """Its text; None if it is deleted, or was never there."""

    author: int = 0


@dataclass
class Relation(Uncertain[bool]):
    """A follow or a block of one user by another, or a user shown."""

    was: bool = False  # possibly there, at some moment since the last quiet one
    unknown_at: float = float("-inf")
    since: float = float("-inf")  # the acknowledgement of the last change

    def answered(self, wanted: bool, *, is_unknown: bool, is_lossy: bool) -> None:
        """Record a request that succeeded, or may have."""
        now = monotonic()
        if is_unknown:
            self.possible.add(wanted)
            self.unknown_at = now
        else:
            is_late = now - self.unknown_at < LATE_SECONDS
            self.becomes({wanted} | (self.possible if is_late else set()), is_lossy=is_lossy)
            self.since = now
        self.was |= True in self.possible


@dataclass
class Model:
    posts: dict[int, Post] = field(default_factory=dict)
    follows: dict[int, dict[int, Relation]] = field(default_factory=dict)
    blocks: dict[int, dict[int, Relation]] = field(default_factory=dict)
    shown: dict[int, Relation] = field(default_factory=dict)  # users that an operator suspends and restores
    disputed: set[frozenset[int]] = field(default_factory=set)  # pairs with a block since the last quiet moment
    unknown_posts: dict[str, int] = field(default_factory=dict)  # text → author, of creations without an answer
    submitted: dict[str, float] = field(default_factory=dict)  # text → when
    buried: set[int] = field(default_factory=set)  # gone at the last quiet moment
    dead: dict[int, Uncertain[bool]] = field(default_factory=dict)  # users whose accounts were deleted in this round
    oldest: dict[int, int] = field(default_factory=dict)  # each post's serial at the last quiet moment
    newest: dict[int, list[tuple[int, float]]] = field(default_factory=dict)  # author → posts, acknowledged when
    created_at: dict[int, tuple[float, float]] = field(default_factory=dict)  # post → sent, and acknowledged
    dying: set[int] = field(default_factory=set)  # posts whose deletion was requested
    failovers: list[Failover] = field(default_factory=list)  # of PostgreSQL, since the last quiet moment
    seen: dict[tuple[int, str], float] = field(default_factory=dict)  # post and text → last asked for, of responses
    _recording: Lock = field(default_factory=Lock)

    def failed_over(self, failover: Failover) -> None:
        """Say that the standby is about to be promoted."""
        with self._recording:
            self.failovers.append(failover)
            relations = [*self.follows.values(), *self.blocks.values(), self.shown]
            things: list[Uncertain[Any]] = [*self.posts.values(), *self.dead.values()]
            for thing in [*things, *(relation for others in relations for relation in others.copy().values())]:
                thing.failed_over(failover.safe_at)

    def created(self, author: int, text: str, answer: Answer) -> None:
        if answer.status == 200:
            post = self.posts[int(answer.body)] = Post({None}, author=author)
            self._became(post, {text}, answer.sent)
            self.newest.setdefault(author, []).append((int(answer.body), monotonic()))
            self.created_at[int(answer.body)] = answer.sent, monotonic()
        elif answer.is_unknown:
            self.unknown_posts[text] = author

    def changed(self, post_id: int, text: str | None, answer: Answer) -> str | None:
        """Record an edit, or with None a deletion. Returns the error of the response."""
        post = self.posts[post_id]
        if answer.is_unknown:
            post.possible.add(text)
        elif answer.status == 200:
            was_gone = post.states == {None}
            self._became(post, {text}, answer.sent)
            return f"post {post_id} was deleted, and can be changed" if was_gone else None
        elif answer.status == 404:
            was_there = None not in post.states
            self._became(post, {None}, answer.sent)
            return f"post {post_id} was never deleted, and is not found" if was_there else None
        return None

    def followed(self, follower: int, followee: int, wanted: bool, answer: Answer) -> str | None:
        """Record a follow or an unfollow. Returns the error of the response."""
        follow = self.follows[follower].setdefault(followee, Relation({False}))
        if answer.is_unknown or answer.status == 200:
            self._answered(follow, wanted, answer.is_unknown, answer.sent)
        elif answer.status == 403:
            self._answered(follow, False, False, answer.sent)
            is_disputed = frozenset((follower, followee)) in self.disputed
            return None if is_disputed else f"{follower} → {followee} is refused, and neither has blocked the other"
        block = self.blocks[follower].get(followee)
        is_wrong = answer.status == 200 and wanted and block is not None and block.states == {True}
        return f"{follower} → {followee} is taken, and {follower} has blocked {followee}" if is_wrong else None

    def blocked(self, blocker: int, blocked: int, wanted: bool, answer: Answer) -> None:
        """Record a block that was asked for after `dispute`, or that it was taken back."""
        if answer.is_unknown or answer.status == 200:
            block = self.blocks[blocker].setdefault(blocked, Relation({False}))
            self._answered(block, wanted, answer.is_unknown, answer.sent)
            if wanted and blocked in self.follows[blocker]:
                self._answered(self.follows[blocker][blocked], False, answer.is_unknown, answer.sent)

    def command(self, user: int, is_shown: bool) -> None:
        """Say that an operator is about to change a user. Readers may see it earlier."""
        self.shown[user].was |= is_shown

    def commanded(self, user: int, is_shown: bool, is_unknown: bool, sent: float) -> None:
        """Record that an operator has restored or suspended a user."""
        self._answered(self.shown[user], is_shown, is_unknown, sent)

    def dispute(self, blocker: int, blocked: int) -> None:
        """Say that a block may end follows of these two, or refuse them."""
        self.disputed.add(frozenset((blocker, blocked)))

    def died(self, user: int, sent: float) -> None:
        """Record the deletion of an account: its posts, follows and blocks go, now or later."""
        self.dead[user] = Uncertain({True})
        self._became(self.dead[user], {False}, sent)
        for post in self.posts.copy().values():
            if post.author == user:
                post.possible.add(None)
        for relations in (self.follows, self.blocks):
            for one, others in relations.items():
                for other, relation in others.copy().items():
                    if user in (one, other):
                        relation.possible.add(False)

    def age(self, user: int, ids: list[int], limit: int, asked: float) -> float:
        """Return for how long a first page, asked for at `asked`, has lacked a post."""
        last = min(ids) if len(ids) == limit else 0
        age = 0.0
        for author, follow in self.follows[user].items():
            if follow.states == {True} and author not in self.dead and frozenset((user, author)) not in self.disputed:
                for post_id, written in self.newest.get(author, [])[-limit:]:
                    is_there = post_id not in self.dying and None not in self.posts[post_id].states
                    if post_id > last and post_id not in ids and is_there:
                        age = max(age, asked - max(written, follow.since))
        return age

    def got(self, post_id: int, answer: Answer) -> str | None:
        """Return the error of a response to reading one post."""
        possible = self.posts[post_id].states
        if answer.status == 200 and answer.body["text"] not in possible:
            return f"post {post_id} reads {answer.body['text']!r}, and may be {possible}"
        if answer.status == 404 and None not in possible:
            return f"post {post_id} is not found, and may be {possible}"
        return None

    def differences(self, sql: Sql) -> list[str]:
        """Return acknowledged writes missing in SQL, and rows that were never requested."""
        posts, follows, blocks, suspended = sql
        found = [
            f"user {user}: SQL says {'suspended' if user in suspended else 'shown'}"
            for user, shown in self.shown.items()
            if (user not in suspended) not in shown.states
        ]
        found += [
            f"{one} → {other} in spite of a block" for one, other in follows if {(one, other), (other, one)} & blocks
        ]
        for post_id, post in self.posts.items():
            kept = posts[post_id][1] if post_id in posts else None
            if kept not in post.states:
                found.append(f"post {post_id} is {kept!r} in SQL, and may be {post.states}")
        for post_id, (author, text) in posts.items():
            if post_id not in self.posts and self.unknown_posts.get(text) != author:
                found.append(f"post {post_id} of {author}, {text!r}, is in SQL, and was never written")
        for follower, followees in self.follows.items():
            for followee, follow in followees.items():
                is_ended = (follower, followee) not in follows and frozenset((follower, followee)) in self.disputed
                if ((follower, followee) in follows) not in follow.states and not is_ended:
                    found.append(f"{follower} → {followee}: SQL says {(follower, followee) in follows}")
        found += [
            f"{blocker} blocks {blocked}: SQL says {(blocker, blocked) in blocks}"
            for blocker, others in self.blocks.items()
            for blocked, block in others.items()
            if ((blocker, blocked) in blocks) not in block.states
        ]
        known = {(follower, followee) for follower, followees in self.follows.items() for followee in followees}
        return found + [f"{follow} is in SQL, and was never requested" for follow in follows - known]

    def settle(self, sql: Sql, user_ids: Collection[int]) -> None:
        """Resolve unknown states from SQL at a quiet moment."""
        posts, follows, blocks, suspended = sql
        self.shown = {user: Relation({user not in suspended}, was=user not in suspended) for user in self.shown}
        self.buried |= {post_id for post_id in self.posts if post_id not in posts}
        self.oldest = {post_id: serial(text) for post_id, (_, text) in posts.items()}
        self.dead, self.failovers, self.seen = {}, [], {}
        self.posts = {post_id: Post({text}, author=author) for post_id, (author, text) in posts.items()}
        self.unknown_posts, self.newest, self.created_at, self.dying = {}, {}, {}, set()
        self.follows, self.blocks = {user_id: {} for user_id in user_ids}, {user_id: {} for user_id in user_ids}
        for relations, pairs in ((self.follows, follows), (self.blocks, blocks)):
            for one, other in pairs:
                relations[one][other] = Relation({True}, was=True)
        self.disputed = {frozenset(pair) for pair in blocks}

    def _answered(self, relation: Relation, wanted: bool, is_unknown: bool, sent: float) -> None:
        with self._recording:
            relation.answered(wanted, is_unknown=is_unknown, is_lossy=self._is_lossy(sent))

    def _became(self, thing: Uncertain[T], state: set[T], sent: float) -> None:
        with self._recording:
            thing.becomes(state, is_lossy=self._is_lossy(sent))

    def _is_lossy(self, sent: float) -> bool:
        """Return whether a primary may have acknowledged it whose successor lacks it."""
        return any(sent < failover.fenced_at for failover in self.failovers)


def serial(text: str) -> int:
    return int(text.split()[1])


def author_of(text: str) -> int:
    return int(text.split()[0])
