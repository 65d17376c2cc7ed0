"""What clients write and read. Each has users of its own, a connection of its own, and its own random numbers."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from time import monotonic
from traceback import format_exception
from typing import Any

from tests.chaos.http import LOST, Answer, Connection
from tests.chaos.model import Model, author_of, serial
from tests.chaos.report import Report

WRITES = {"create": 46, "edit": 15, "delete": 11, "follow": 15, "unfollow": 11, "intrude": 2}
READS = {"page": 65, "page_before": 20, "post": 15}
PAGES = ((0, 10), (0, 20), (0, 50), (10, 10), (20, 20), (45, 20), (70, 10))  # offset, limit
PATIENCE_SECONDS = 0.3  # after a 503; less than Retry-After asks for
MAX_ID = 2**63 - 1
POSTS_REMEMBERED = 300  # what is edited, deleted and read is among a user's newest


@dataclass(frozen=True)
class World:
    """What all clients share. `is_near(target)`: whether a fault there may explain the answer that just came."""

    model: Model
    report: Report
    tokens: dict[int, str]
    serials: dict[int, int]
    own: dict[int, list[int]]
    is_near: Callable[[str], bool]


class Client:
    """Writes `due` times, and reads as often, never before the moments that `due` says."""

    def __init__(self, world: World, port: int, users: Sequence[int], random: Random, due: Iterable[float]) -> None:
        self._world, self._users, self._random, self._due = world, users, random, due
        self._model, self._report = world.model, world.report
        self._everybody = list(world.tokens)
        self._http = Connection(port)
        self.failure = ""
        self._never = threading.Event()

    def run(self) -> None:
        started = monotonic()
        try:
            for moment in self._due:
                self._never.wait(max(0.0, started + moment - monotonic()))
                for operations in self._random.sample((WRITES, READS), 2):
                    (name,) = self._random.choices(list(operations), list(operations.values()))
                    getattr(self, "_" + name)(self._random.choice(self._users))
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
        answer = self._write(user, {200, 404}, "PUT", f"/post/delete/{post_id}")
        return self._changed(user, post_id, None, answer)

    def _changed(self, user: int, post_id: int, text: str | None, answer: Answer) -> None:
        self._complain(self._model.changed(post_id, text, answer))
        if self._model.posts[post_id].possible == {None}:
            self._world.own[user].remove(post_id)

    def _follow(self, user: int) -> None:
        followee = self._random.choice(self._everybody)
        if followee == user:
            answer = self._write(user, {409}, "PUT", f"/friend/set/{followee}")
        else:
            answer = self._write(user, {200}, "PUT", f"/friend/set/{followee}")
            self._model.followed(user, followee, True, answer)

    def _unfollow(self, user: int) -> None:
        followed = [other for other, follow in self._model.follows[user].items() if True in follow.possible]
        if not followed:
            return self._follow(user)
        followee = self._random.choice(followed)
        answer = self._write(user, {200}, "PUT", f"/friend/delete/{followee}")
        return self._model.followed(user, followee, False, answer)

    def _intrude(self, user: int) -> None:
        """Change what is somebody else's, or was never there."""
        other = self._random.choice(self._everybody)
        theirs = self._world.own[other]
        post_id = self._random.choice(theirs) if theirs and other != user else MAX_ID
        text = {"id": str(post_id), "text": f"{user} 0 is an intruder"}
        self._write(user, {403, 404}, "PUT", "/post/update", text)

    def _page(self, user: int) -> None:
        offset, limit = self._random.choice(PAGES)
        self._read_page(user, f"offset={offset}&limit={limit}", limit, MAX_ID)

    def _page_before(self, user: int) -> None:
        author = self._random.choice(self._everybody)
        before = next(iter(self._world.own[author][-20:]), MAX_ID)
        self._read_page(user, f"before={before}&limit=20", 20, before)

    def _post(self, user: int) -> None:
        if own := self._world.own[user]:
            post_id = self._random.choice(own)
            answer = self._read(user, {200, 404}, f"/post/get/{post_id}")
            self._complain(self._model.got(post_id, answer))

    def _read_page(self, user: int, query: str, limit: int, before: int) -> None:
        answer = self._read(user, {200}, f"/post/feed?{query}")
        if answer.status == 200:
            for problem in self._problems_of(user, answer.body, limit, before):
                self._complain(f"feed of {user}, {query}, from {answer.headers.get('X-Feed-Source')}: {problem}")

    def _problems_of(self, user: int, page: list[dict[str, Any]], limit: int, before: int) -> Iterable[str]:
        ids = [int(post["id"]) for post in page]
        if len(ids) > limit:
            yield f"{len(ids)} posts instead of {limit}"
        if any(newer <= older for newer, older in pairwise([before, *ids])):
            yield f"out of order: {ids}"
        for post, post_id in zip(page, ids, strict=True):
            author, text = int(post["author_user_id"]), post["text"]
            follow = self._model.follows[user].get(author)
            if follow is None or not follow.was:
                yield f"post {post_id} of {author}, who was not followed since the last quiet moment"
            if text not in self._model.submitted or author_of(text) != author:
                yield f"post {post_id} of {author} reads {text!r}, which was never written"
            elif serial(text) < self._model.oldest.get(post_id, 0):
                yield f"post {post_id} reads {text!r}, which was older at the last quiet moment"
            if post_id in self._model.buried:
                yield f"post {post_id} was gone at the last quiet moment"

    def _new_text(self, user: int) -> str:
        self._world.serials[user] += 1
        text = f"{user} {self._world.serials[user]}"
        self._model.submitted.add(text)
        return text

    def _write(self, user: int, expected: set[int], method: str, path: str, body: Any = None) -> Answer:
        answer = self._http.call(method, path, self._world.tokens[user], body)
        self._report.wrote(answer)
        self._judge(answer, expected, f"{method} {path}")
        return answer

    def _read(self, user: int, expected: set[int], path: str) -> Answer:
        answer = self._http.call("GET", path, self._world.tokens[user])
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
