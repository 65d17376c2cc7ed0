"""Where a fault happens, and for how long."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from tests.tools.chaos.clients import World
from tests.tools.chaos.service import Service


@dataclass(frozen=True)
class Scene:
    """The service, its clients' world, and the seconds that the fault lasts from now."""

    service: Service
    world: World
    seconds: float
    random: Random
    _began: float = field(default_factory=monotonic)

    @property
    def is_over(self) -> bool:
        return monotonic() >= self._began + self.seconds

    def wait(self, seconds: float | None = None) -> None:
        """Let the fault last: to its end, or for `seconds`."""
        left = self._began + self.seconds - monotonic()
        threading.Event().wait(max(0.0, left if seconds is None else min(left, seconds)))


def on_a_whole(wait: Callable[[Service], object]) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Let a fault begin and end when `wait` has found its servers whole."""

    def decorate(run: Callable[[Scene], None]) -> Callable[[Scene], None]:
        def wrapped(scene: Scene) -> None:
            wait(scene.service)
            try:
                run(scene)
            finally:
                wait(scene.service)

        return wrapped

    return decorate
