"""`make run`: every part of Lenta on this machine, in the foreground, until Ctrl-C."""

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from app.settings import Settings
from local import environment, parts
from local.process import Failed, Process, Record, say, shown

WATCH_SECONDS = 0.2
RESTART_SECONDS = (1, 2, 4, 8, 16, 30)
LASTING_SECONDS = 60  # a worker that lived this long has recovered: the next restart is quick again
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Asked(Exception):
    """To stop, by a signal."""


def main() -> int:
    """Run until a signal (0) or until a part dies (1)."""
    data = environment.data_folder()
    try:
        with environment.claim(data):
            run = Run(data)
            for number in SIGNALS:
                signal.signal(number, run.ask_to_stop)
            return run.to_the_end()
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1


class Run:
    def __init__(self, data: Path) -> None:
        self._data = data
        self._environ = environment.configured()
        self._parts: list[parts.Part] = []  # in parts.ORDER
        self._record = Record(data / "processes")
        self._asked = False
        self._worker_restarts = 0
        self._worker_since = self._worker_due = 0.0

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def to_the_end(self) -> int:
        """Start, watch and stop. Raises Failed for what makes a start senseless; returns the exit code."""
        self._environ.setdefault("JWT_SECRET_KEY", environment.secret_key(self._data))
        parts.choose_metrics_port(self._environ)
        settings = environment.check({**environment.PLACEHOLDERS, **self._environ})
        parts.check_databases(self._environ)
        self._stop_leftovers()
        parts.check_ports(settings)
        try:
            self._start(settings)
            self._watch()
        except Asked:
            return 0
        except Failed as failure:
            say(f"\n{failure}")
            return 1
        finally:
            self._stop()

    def _stop_leftovers(self) -> None:
        names = self._record.stop_leftovers()
        if names:
            say(f"An earlier run was killed; stopped what it left: {', '.join(names)}.")

    def _start(self, settings: Settings) -> None:
        url = parts.address(settings)
        say(f"Starting Lenta. Its data are in {shown(self._data)}.")
        for start in (parts.postgresql, parts.valkey):
            part, text = start(self._data, self._environ)
            self._add(part)
            say(text)
            self._heed()
        self._migrate()
        worker = self._start_worker()
        worker.wait_ready(lambda: self._heed() or "ready for action" in worker.output(), 60)
        say(f"  worker      ready{parts.PLACE}log {shown(worker.log)}")
        web = parts.web(self._data, self._environ)
        self._add(parts.Part(web, web.stop))
        web.wait_ready(lambda: self._heed() or parts.health(url), 60)
        say(f"  web         {url}{parts.PLACE}log {shown(web.log)}")
        say(f"  metrics     {parts.metrics(settings)}")
        state = parts.health(url)
        if state and state["redis"]["status"] != "up":
            say(f"  attention   Redis is {state['redis']['status']}. Feeds come from PostgreSQL; nobody can log out")
        environment.publish(self._data, self._environ)
        say(parts.invitation(url))

    def _migrate(self) -> None:
        migration = parts.migration(self._data, self._environ)
        self._add(parts.Part(migration, migration.stop))
        while migration.exit_code is None:
            self._heed()
            time.sleep(WATCH_SECONDS)
        self._parts.pop()
        if migration.exit_code:
            raise migration.failed(f"failed (exit code {migration.exit_code})")
        say(f"  migrations  done{parts.PLACE}log {shown(migration.log)}")

    def _start_worker(self) -> Process:
        worker = parts.worker(self._data, self._environ)
        self._add(parts.Part(worker, worker.stop))
        self._worker_since = time.monotonic()
        return worker

    def _add(self, part: parts.Part | None) -> None:
        if part is not None:
            self._parts.append(part)
            self._parts.sort(key=lambda part: parts.ORDER.index(part.process.name))  # a worker may come again
            self._write_record()

    def _write_record(self) -> None:
        self._record.write([part.process for part in reversed(self._parts)])

    def _watch(self) -> None:
        """Until a signal (Asked), or until a part dies for good (Failed)."""
        while True:
            self._heed()
            for part in list(self._parts):
                if part.process.exit_code is not None:
                    self._died(part)
            if self._worker_due and time.monotonic() >= self._worker_due:
                self._worker_due = 0.0
                self._start_worker()
                say("The worker is started again.")
            time.sleep(WATCH_SECONDS)

    def _died(self, part: parts.Part) -> None:
        process = part.process
        if process.name != "worker":
            raise process.failed(f"ended by itself (exit code {process.exit_code})")
        self._parts.remove(part)
        part.stop()  # what it may have left of its group
        if time.monotonic() - self._worker_since > LASTING_SECONDS:
            self._worker_restarts = 0
        pause = RESTART_SECONDS[min(self._worker_restarts, len(RESTART_SECONDS) - 1)]
        self._worker_restarts += 1
        self._worker_due = time.monotonic() + pause
        say(
            f"The worker ended by itself (exit code {process.exit_code}, log {shown(process.log)}); "
            f"it starts again in {pause} s. Nothing is lost: its work waits."
        )

    def _heed(self) -> None:
        if self._asked:
            raise Asked

    def _stop(self) -> None:
        """The web first, so that nothing new comes in; the databases last."""
        if self._parts:
            say("\nStopping.")
        with suppress(OSError):  # a full disk must not keep anything from being stopped
            environment.publish(self._data, None)
        while self._parts:
            part = self._parts.pop()
            part.stop()
            say(f"  {part.process.name} stopped")
            with suppress(OSError):
                self._write_record()
