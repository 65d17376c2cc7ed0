"""Clients that read and write continuously. They retry only as RFC 9112 requires."""

import select
import threading
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from traceback import format_exc

from tests.tools.chaos.http import LOST, Answer, Connection

PAUSES = (0.0, 0.005, 0.02, 0.1, 0.5, 1.5, 3.0)  # some longer than a stopping server waits for a kept connection
WEIGHTS = (30, 30, 25, 10, 3, 1, 1)
IDLE_SECONDS = 1.5  # a stopping server closes a connection that was idle for 2 s


@dataclass
class Log:
    """The results of one client."""

    requests: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    posts: dict[int, int] = field(default_factory=dict)  # accepted: post → author
    follows: dict[tuple[int, int], bool] = field(default_factory=dict)  # as last accepted


class KeptConnection(Connection):
    """A kept-alive connection, replaced if the server has closed it.

    A server may close an idle connection between that look and the request (RFC 9112, 9.3.1). So after IDLE_SECONDS a
    request that must not be made twice is made on a fresh connection, and another is repeated if it is lost.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._used_at = monotonic()

    def call(self, method: str, path: str, token: str, body: object = None) -> Answer:
        is_idle, is_kept = monotonic() - self._used_at > IDLE_SECONDS, self._http.sock is not None
        if is_kept and (select.select([self._http.sock], [], [], 0)[0] or (is_idle and method == "POST")):
            self._http.close()
            is_kept = False
        self._used_at = monotonic()  # the server counts from its response, which comes later
        answer = super().call(method, path, token, body)
        if answer.status == LOST and is_kept and is_idle:
            answer = super().call(method, path, token, body)
        return answer


class Client(threading.Thread):
    """Read and write as one user until `stopping` is set. `kept`: on one connection."""

    def __init__(self, port: int, tokens: dict[int, str], user: int, kept: bool, stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self.log = Log()
        self._port, self._tokens, self._user, self._stopping = port, tokens, user, stopping
        self._connection = KeptConnection(port) if kept else None
        self._random = Random(user)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._random.choices((self._read, self._publish, self._follow), (60, 30, 10))[0]()
                self._stopping.wait(self._random.choices(PAUSES, WEIGHTS)[0])
        except Exception:
            self.log.wrong.append(format_exc())
        if self._connection:
            self._connection.close()

    def _read(self) -> None:
        self._call("GET", "/post/feed?limit=20")

    def _publish(self) -> None:
        answer = self._call("POST", "/post/create", {"text": f"post {self.log.requests}"})
        if answer.status == 200:
            self.log.posts[int(answer.body)] = self._user

    def _follow(self) -> None:
        followee = self._random.choice([user for user in self._tokens if user != self._user])
        wanted = self._random.random() < 0.6
        answer = self._call("PUT", f"/friend/{'set' if wanted else 'delete'}/{followee}")
        if answer.status == 200:
            self.log.follows[self._user, followee] = wanted

    def _call(self, method: str, path: str, body: object = None) -> Answer:
        connection = self._connection or Connection(self._port)
        started = monotonic()
        answer = connection.call(method, path, self._tokens[self._user], body)
        if connection is not self._connection:
            connection.close()
        self.log.requests += 1
        self.log.slowest = max(self.log.slowest, monotonic() - started)
        if answer.status != 200:
            how = "kept" if self._connection else "fresh"
            what = answer.status or f"lost ({answer.error})"
            self.log.wrong.append(f"{method} {path} on a {how} connection: {what} after {answer.seconds:.2f} s")
        return answer
