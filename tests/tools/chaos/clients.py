"""The clients, each with separate users, a connection and random numbers."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from time import monotonic
from traceback import format_exception
from typing import Any

from tests.tools.chaos.http import LOST, Answer, Connection
from tests.tools.chaos.model import Model, author_of, serial
from tests.tools.chaos.report import Report

WRITES = {"create": 44, "edit": 15, "delete": 11, "follow": 15, "unfollow": 9, "block": 2, "unblock": 2, "intrude": 2}
READS = {"page": 60, "page_before": 15, "page_after": 10, "post": 15}
Mix = Sequence[dict[str, int]]  # of each, one operation a turn, by weight
PAGES = ((0, 10), (0, 20), (0, 50), (10, 10), (20, 20), (45, 20), (70, 10))  # offset, limit
PATIENCE_SECONDS = 0.3  # after a 503; less than Retry-After asks for
MAX_ID = 2**63 - 1
PASSWORD = "the password"  # of all users
POSTS_REMEMBERED = 300  # only a user's newest posts are edited, deleted and read


@dataclass(frozen=True)
class World:
    """State shared by all clients. `is_near(target)`: whether a recent fault may explain a response."""

    model: Model
    report: Report
    tokens: dict[int, str]
    serials: dict[int, int]
    own: dict[int, list[int]]
    togglers: list[int]  # users of no client, for storms of follows
    doomed: dict[int, str]  # tokens of users whose accounts are deleted, one by each client in a round
    is_near: Callable[[str], bool]

    def token_of(self, user: int) -> str:
        return self.tokens.get(user) or self.doomed[user]


class Client:
    """Runs the operations of `mix` at the moments of `due`, in seconds from the start.

    `due` may be without an end. `deletion` is a user whose account is deleted on the way, and the moment of that.
    """

    def __init__(
        self,
        world: World,
        port: int,
        users: Sequence[int],
        random: Random,
        due: Iterable[float],
        mix: Mix = (WRITES, READS),
        deletion: tuple[int, float] | None = None,
    ) -> None:
        self._world, self._users, self._random, self._due, self._mix = world, users, random, due, mix
        self._model, self._report = world.model, world.report
        self._everybody = list(world.tokens)
        self._doomed, self._deleted_at = deletion or (None, 0.0)
        self._http = Connection(port)
        self.failure = ""
        self._never = threading.Event()

    def run(self) -> None:
        started = monotonic()
        try:
            for moment in self._due:
                self._never.wait(max(0.0, started + moment - monotonic()))
                if self._doomed and moment >= self._deleted_at:
                    self._delete_account(self._doomed)
                    self._doomed = None
                for operations in self._random.sample(self._mix, len(self._mix)):
                    (name,) = self._random.choices(list(operations), list(operations.values()))
                    users = [*self._users, self._doomed] if self._doomed else self._users
                    getattr(self, "_" + name)(self._random.choice(users))
        except Exception as error:
            self.failure = "".join(format_exception(error))
        finally:
            self._http.close()

    def _create(self, user: int) -> None:
        text = self._new_text(user)
        answer = self._write(user, {200}, "POST", "/post/create", {"text": text})
        self._model.created(user, text, answer)
        if answer.status == 200:
            self._world.own[user] = [*self._world.own[user][-POSTS_REMEMBERED:], int(answer.body)]

    def _edit(self, user: int) -> None:
        if not (own := self._world.own[user]):
            return self._create(user)
        post_id, text = self._random.choice(own), self._new_text(user)
        answer = self._write(user, {200, 404}, "PUT", "/post/update", {"id": str(post_id), "text": text})
        return self._changed(user, post_id, text, answer)

    def _delete(self, user: int) -> None:
        if not (own := self._world.own[user]):
            return self._create(user)
        post_id = self._random.choice(own)
        self._model.dying.add(post_id)
        answer = self._write(user, {200, 404}, "PUT", f"/post/delete/{post_id}")
        return self._changed(user, post_id, None, answer)

    def _changed(self, user: int, post_id: int, text: str | None, answer: Answer) -> None:
        self._complain(self._model.changed(post_id, text, answer))
        if self._model.posts[post_id].states == {None}:
            self._world.own[user].remove(post_id)

    def _follow(self, user: int) -> None:
        followee = self._random.choice(self._everybody)
        if followee == user:
            answer = self._write(user, {400}, "PUT", f"/friend/set/{followee}")
        else:
            answer = self._write(user, {200, 403}, "PUT", f"/friend/set/{followee}")
            self._complain(self._model.followed(user, followee, True, answer))

    def _unfollow(self, user: int) -> None:
        follows = self._model.follows[user].items()
        followed = [other for other, follow in follows if True in follow.states and other not in self._world.doomed]
        if not followed:
            return self._follow(user)
        followee = self._random.choice(followed)
        answer = self._write(user, {200}, "PUT", f"/friend/delete/{followee}")
        return self._complain(self._model.followed(user, followee, False, answer))

    def _block(self, user: int) -> None:
        other = self._random.choice(self._everybody)
        if other == user or other in self._world.togglers:
            return self._follow(user)
        self._model.dispute(user, other)
        return self._model.blocked(user, other, True, self._write(user, {200}, "PUT", f"/block/set/{other}"))

    def _unblock(self, user: int) -> None:
        blocked = [other for other, block in self._model.blocks[user].items() if True in block.states]
        if not blocked:
            return self._block(user)
        other = self._random.choice(blocked)
        return self._model.blocked(user, other, False, self._write(user, {200}, "PUT", f"/block/delete/{other}"))

    def _intrude(self, user: int) -> None:
        """Change a post of another user, or one that never existed."""
        other = self._random.choice(self._everybody)
        theirs = self._world.own[other]
        post_id = self._random.choice(theirs) if theirs and other != user else MAX_ID
        text = {"id": str(post_id), "text": f"{user} 0 is an intruder"}
        self._write(user, {403, 404}, "PUT", "/post/update", text)

    def _delete_account(self, user: int) -> None:
        """Delete an account, again until there is a response. It may have been deleted without one before."""
        expected, answer = {200, 503}, Answer(LOST)  # 503: a storm of log-ins keeps all hashes busy
        began = monotonic()
        while answer.is_unknown:
            answer = self._write(user, expected, "PUT", "/user/delete", {"password": PASSWORD})
            expected = {200, 401, 503}
            self._never.wait(PATIENCE_SECONDS if answer.is_unknown else 0)
        self._model.died(user, began if answer.status == 401 else answer.sent)  # 401: by an earlier attempt

    def _page(self, user: int) -> None:
        offset, limit = self._random.choice(PAGES)
        asked = monotonic()
        page = self._read_page(user, f"offset={offset}&limit={limit}", limit, MAX_ID)
        if offset == 0 and page is not None:
            self._report.aged(self._model.age(user, page, limit, asked))

    def _page_before(self, user: int) -> None:
        author = self._random.choice(self._everybody)
        before = next(iter(self._world.own[author][-20:]), MAX_ID)
        self._read_page(user, f"before={before}&limit=20", 20, before)

    def _page_after(self, user: int) -> None:
        author = self._random.choice(self._everybody)
        after = next(iter(self._world.own[author][-5:]), 0)
        self._read_page(user, f"after={after}&limit=20", 20, MAX_ID, after)

    def _post(self, user: int) -> None:
        if own := self._world.own[user]:
            post_id = self._random.choice(own)
            answer = self._read(user, {200, 404}, f"/post/get/{post_id}")
            if answer.status == 200:
                self._model.seen[post_id, answer.body["text"]] = answer.sent
            self._complain(self._model.got(post_id, answer))

    def _read_page(self, user: int, query: str, limit: int, before: int, after: int = 0) -> list[int] | None:
        """Read and judge a page. Returns its ids."""
        answer = self._read(user, {200}, f"/post/feed?{query}")
        if answer.status != 200:
            return None
        self._model.seen.update({(int(post["id"]), post["text"]): answer.sent for post in answer.body})
        for problem in self._problems_of(user, answer.body, limit, before, after):
            self._complain(f"feed of {user}, {query}, from {answer.headers.get('X-Feed-Source')}: {problem}")
        return [int(post["id"]) for post in answer.body]

    def _problems_of(self, user: int, page: list[dict[str, Any]], limit: int, before: int, after: int) -> Iterable[str]:
        ids = [int(post["id"]) for post in page]
        if len(ids) > limit:
            yield f"{len(ids)} posts instead of {limit}"
        if any(newer <= older for newer, older in pairwise([before, *ids, after])):
            yield f"out of order: {ids}"
        for post, post_id in zip(page, ids, strict=True):
            author, text = int(post["author_user_id"]), post["text"]
            follow = self._model.follows[user].get(author)
            if follow is None or not follow.was:
                yield f"post {post_id} of {author}, not followed since the last quiet moment"
            if author in self._model.shown and not self._model.shown[author].was:
                yield f"post {post_id} of {author}, suspended since the last quiet moment"
            if text not in self._model.submitted or author_of(text) != author:
                yield f"post {post_id} of {author} reads {text!r}, which was never written"
            elif serial(text) < self._model.oldest.get(post_id, 0):
                yield f"post {post_id} reads {text!r}, which was older at the last quiet moment"
            if post_id in self._model.buried:
                yield f"post {post_id} was gone at the last quiet moment"

    def _new_text(self, user: int) -> str:
        self._world.serials[user] += 1
        text = f"{user} {self._world.serials[user]}"
        self._model.submitted[text] = monotonic()
        return text

    def _write(self, user: int, expected: set[int], method: str, path: str, body: Any = None) -> Answer:
        answer = self._http.call(method, path, self._world.token_of(user), body)
        self._report.wrote(answer)
        self._judge(answer, expected, f"{method} {path}")
        return answer

    def _read(self, user: int, expected: set[int], path: str) -> Answer:
        answer = self._http.call("GET", path, self._world.token_of(user))
        self._report.read(answer)
        self._judge(answer, expected, f"GET {path}")
        return answer

    def _judge(self, answer: Answer, expected: set[int], what: str) -> None:
        if answer.status == LOST and self._world.is_near("web"):
            return
        if answer.status == 503 and "Retry-After" in answer.headers and self._world.is_near("postgres"):
            self._never.wait(PATIENCE_SECONDS)
            return
        if answer.status not in expected:
            self._complain(f"{what}: {answer.status or answer.error} after {answer.seconds:.1f} s, {answer.body}")

    def _complain(self, problem: str | None) -> None:
        if problem:
            self._report.wrong_answer(problem)
