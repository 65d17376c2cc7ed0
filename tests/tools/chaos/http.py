"""HTTP as a client speaks it: one connection, kept alive, and no second try."""

import http.client
import json
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

LOST = 0  # instead of a status: the connection broke or timed out
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    sent: float = 0.0
    error: str = ""

    @property
    def is_unknown(self) -> bool:
        """Return whether the effect of the request is unknown."""
        return self.status in (LOST, 503)


class Connection:
    """A connection to the service, reopened when it is lost."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)

    def call(self, method: str, path: str, token: str, body: Any = None) -> Answer:
        headers = {"X-Auth": token} | ({"Content-Type": "application/json"} if body is not None else {})
        started = monotonic()
        try:
            self._http.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._http.getresponse()
            parsed = _parse(response.read())
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            return Answer(LOST, seconds=monotonic() - started, sent=started, error=repr(error))
        return Answer(response.status, parsed, dict(response.getheaders()), monotonic() - started, started)

    def close(self) -> None:
        self._http.close()


def _parse(body: bytes) -> Any:
    with suppress(ValueError):
        return json.loads(body)
    return None
