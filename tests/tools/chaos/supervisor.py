"""Restarts processes, like systemd or Docker."""

import threading
from collections.abc import Callable

from tests.tools.processes import Process

POLL_SECONDS = 0.1
STOP_SECONDS = 60.0  # under load, and with a fault just over

Start = Callable[[], Process]


class Supervisor:
    """Keeps one process running, and removes the leftovers of a killed one."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.process: Process | None = start()
        self.restarts = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop the process in order, until `resume`."""
        with self._lock:
            if self.process is not None:
                self.process.stop(seconds=STOP_SECONDS)
            self.process = None

    def resume(self) -> None:
        with self._lock:
            self.process = self.process or self._start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self.pause()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with self._lock:
                if self.process is not None and not self.process.is_running():
                    self.process.stop(seconds=STOP_SECONDS)
                    self.process = self._start()
                    self.restarts += 1
