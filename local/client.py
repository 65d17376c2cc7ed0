"""An HTTP client of Lenta."""

import json
import urllib.error
import urllib.request
from typing import Any

from local.managed_process import StartupError


class Person:
    """A logged-in user."""

    def __init__(self, url: str, user_id: int, password: str) -> None:
        self._url, self._token = url, ""
        self.id = str(user_id)
        self._token = self.call("POST", "/login", {"id": self.id, "password": password})[0]["token"]
        user = self.call("GET", f"/user/get/{self.id}")[0]
        self.name = f"{user['first_name']} {user['second_name']}"

    def feed(self, limit: int = 10) -> list[dict[str, Any]]:
        return list(self.read(limit)[0])

    def read(self, limit: int) -> tuple[Any, str]:
        """Return the posts and their source."""
        posts, headers = self.call("GET", f"/post/feed?limit={limit}")
        return posts, headers["X-Feed-Source"]

    def call(self, method: str, path: str, body: object = None) -> tuple[Any, Any]:
        """Send a request. Returns (JSON, headers). Raises StartupError."""
        request = urllib.request.Request(self._url + path, method=method, headers={"X-Auth": self._token})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response), response.headers
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path} failed with {error.code}: {error.read().decode()}", error.code) from error
        except OSError as error:
            raise StartupError(f"{method} {path} got no response: {error}") from error


class Refused(StartupError):
    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status
