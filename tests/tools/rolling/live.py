"""Clients of live events that are connected throughout a run, by both doors."""

from collections.abc import Iterator, Mapping
from itertools import cycle, islice

from app.feed.live.hub import RESTART
from app.feed.live.posted import CODES
from tests.tools.chaos.live import LiveClients
from tests.tools.chaos.verify import Truth
from tests.tools.posted import PostedReader


class Watchers:
    """Screens by server-sent events, and clients that get new posts by WebSocket."""

    def __init__(self, port: int, tokens: Mapping[int, str], screens: int, sockets: int) -> None:
        self._screens = LiveClients(port, tokens, screens)
        self._sockets = [PostedReader(port, token) for token in islice(cycle(tokens.values()), sockets)]

    def problems(self, truth: Truth) -> Iterator[str]:
        """Yield screens that differ from SQL, pages read needlessly, and WebSockets that were cut."""
        yield from self._screens.differences(truth)
        counts = self._screens.counts()
        for name in ("needless pages", "reset"):
            if counts[name]:
                yield f"{counts[name]} {name} of live clients"
        for socket in self._sockets:
            yield from (f"a WebSocket was closed: {found}" for found in socket.closes if found[0] != CODES[RESTART])

    def text(self) -> str:
        """Say what the clients did."""
        counts, closes = self._screens.counts(), sum(len(socket.closes) for socket in self._sockets)
        pauses = sorted(self._screens.pauses())
        spread = f"{pauses[0] / 1000:.1f} to {pauses[-1] / 1000:.1f} s" if pauses else "no time"
        return (
            f"live clients: {counts['connections']} connections, {counts['posted']:,} posts, {counts['pages']} pages "
            f"({counts['changed']} changed, {counts['reset']} reset, {counts['needless pages']} needless), "
            f"sent away {len(pauses)} times for {spread}\n"
            f"WebSockets: {sum(socket.connections for socket in self._sockets)} connections, "
            f"{sum(len(socket.posts) for socket in self._sockets):,} posts, sent away {closes} times"
        )

    def close(self) -> None:
        self._screens.close()
        for socket in self._sockets:
            socket.close()

    def sent_away(self) -> int:
        """Return how often a client was sent away."""
        return len(self._screens.pauses()) + sum(len(socket.closes) for socket in self._sockets)
