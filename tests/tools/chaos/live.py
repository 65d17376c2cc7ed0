"""Clients of live events that are connected throughout a run."""

from collections import Counter
from collections.abc import Mapping
from itertools import cycle, islice
from time import monotonic, sleep

from app.feed.live.log import CHANGED
from app.feed.live.subscription import RESET
from tests.tools.chaos.verify import Truth
from tests.tools.live import LiveReader

PAGE = 20
SECONDS = 60.0  # at a quiet moment; a client that is connecting may wait for a minute
POLL_SECONDS = 0.1


class LiveClients:
    """`number` clients of these users. Each reads one page, and then applies events."""

    def __init__(self, port: int, tokens: Mapping[int, str], number: int) -> None:
        address = f"http://127.0.0.1:{port}"
        self._clients = [
            (user_id, LiveReader(address, tokens[user_id], PAGE)) for user_id in islice(cycle(tokens), number)
        ]

    def differences(self, truth: Truth) -> list[str]:
        """Wait until every client shows what SQL says. Returns those that do not."""
        deadline = monotonic() + SECONDS
        while (found := self._differ(truth)) and monotonic() < deadline:
            sleep(POLL_SECONDS)
        return found

    def counts(self) -> Counter[str]:
        """Count what the clients did: they read their page again only because of `changed` and `reset`."""
        counts: Counter[str] = Counter()
        for _, client in self._clients:
            counts.update(name for name, _ in list(client.seen))
            counts.update(connections=client.connections, pages=client.pages)
            counts["needless pages"] += max(0, client.pages - 1 - client.count(CHANGED) - client.count(RESET))
        return counts

    def pauses(self) -> list[int]:
        """Return after how many milliseconds clients were told to come back."""
        return [pause for _, client in self._clients for pause in list(client.pauses)]

    def close(self) -> None:
        for _, client in self._clients:
            client.close()

    def _differ(self, truth: Truth) -> list[str]:
        found = []
        for user_id, client in self._clients:
            floor = client.floor
            expected = {post_id: truth.sql.posts[post_id][1] for post_id in truth.feeds[user_id] if post_id >= floor}
            if client.posts != expected:
                found.append(
                    f"a live client of {user_id} differs in {sorted(client.posts.items() ^ expected.items())[:6]}"
                )
        return found
