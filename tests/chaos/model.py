"""What may be in SQL, by what was asked and answered.

An answer 200 leaves one possibility; a lost answer, or 503, leaves two. Whatever is written belongs to a user, and a
user's writes come one after another from one client, so the model needs no lock.

A text is "<author> <serial>", and the serials of an author grow: a text tells whose it is and how old.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic

from tests.chaos.http import Answer

LATE_SECONDS = 2.0  # a commit whose answer was lost may still be on its way for so long

Sql = tuple[dict[int, tuple[int, str]], set[tuple[int, int]]]  # post → (author, text); (follower, followee)


@dataclass
class Post:
    author: int
    possible: set[str | None]  # None: deleted


@dataclass
class Follow:
    possible: set[bool]
    was: bool  # possibly followed, at some moment since the last quiet one
    unknown_at: float = float("-inf")


@dataclass
class Model:
    posts: dict[int, Post] = field(default_factory=dict)
    follows: dict[int, dict[int, Follow]] = field(default_factory=dict)
    unknown_posts: dict[str, int] = field(default_factory=dict)  # text → author, of creations without an answer
    submitted: set[str] = field(default_factory=set)
    buried: set[int] = field(default_factory=set)  # gone at the last quiet moment
    oldest: dict[int, int] = field(default_factory=dict)  # each post's serial at the last quiet moment

    def created(self, author: int, text: str, answer: Answer) -> None:
        if answer.status == 200:
            self.posts[int(answer.body)] = Post(author, {text})
        elif answer.is_unknown:
            self.unknown_posts[text] = author

    def changed(self, post_id: int, text: str | None, answer: Answer) -> str | None:
        """An edit, or with None a deletion. Returns what is wrong about the answer."""
        post = self.posts[post_id]
        if answer.is_unknown:
            post.possible.add(text)
        elif answer.status == 200:
            was_gone = post.possible == {None}
            post.possible = {text}
            return f"post {post_id} was deleted, and can be changed" if was_gone else None
        elif answer.status == 404:
            was_there = None not in post.possible
            post.possible = {None}
            return f"post {post_id} was never deleted, and is not found" if was_there else None
        return None

    def followed(self, follower: int, followee: int, wanted: bool, answer: Answer) -> None:
        follow = self.follows[follower].setdefault(followee, Follow({False}, was=False))
        now = monotonic()
        if answer.is_unknown:
            follow.possible.add(wanted)
            follow.unknown_at = now
        elif answer.status == 200:
            is_late = now - follow.unknown_at < LATE_SECONDS
            follow.possible = {wanted} | (follow.possible if is_late else set())
        follow.was |= True in follow.possible

    def got(self, post_id: int, answer: Answer) -> str | None:
        """What is wrong about an answer to a reading of one post."""
        possible = self.posts[post_id].possible
        if answer.status == 200 and answer.body["text"] not in possible:
            return f"post {post_id} reads {answer.body['text']!r}, and may be {possible}"
        if answer.status == 404 and None not in possible:
            return f"post {post_id} is not found, and may be {possible}"
        return None

    def differences(self, sql: Sql) -> list[str]:
        """Acknowledged writes that SQL lacks, and rows that nobody asked for."""
        posts, follows = sql
        found = []
        for post_id, post in self.posts.items():
            kept = posts[post_id][1] if post_id in posts else None
            if kept not in post.possible:
                found.append(f"post {post_id} is {kept!r} in SQL, and may be {post.possible}")
        for post_id, (author, text) in posts.items():
            if post_id not in self.posts and self.unknown_posts.get(text) != author:
                found.append(f"post {post_id} of {author}, {text!r}, is in SQL, and nobody wrote it")
        for follower, followees in self.follows.items():
            for followee, follow in followees.items():
                if ((follower, followee) in follows) not in follow.possible:
                    found.append(f"{follower} → {followee}: SQL says {(follower, followee) in follows}")
        known = {(follower, followee) for follower, followees in self.follows.items() for followee in followees}
        return found + [f"{follow} is in SQL, and nobody asked for it" for follow in follows - known]

    def settle(self, sql: Sql, user_ids: Iterable[int]) -> None:
        """At a quiet moment what was unknown is what SQL says."""
        posts, follows = sql
        self.buried |= {post_id for post_id in self.posts if post_id not in posts}
        self.oldest = {post_id: serial(text) for post_id, (_, text) in posts.items()}
        self.posts = {post_id: Post(author, {text}) for post_id, (author, text) in posts.items()}
        self.unknown_posts = {}
        self.follows = {user_id: {} for user_id in user_ids}
        for follower, followee in follows:
            self.follows[follower][followee] = Follow({True}, was=True)


def serial(text: str) -> int:
    return int(text.split()[1])


def author_of(text: str) -> int:
    return int(text.split()[0])
