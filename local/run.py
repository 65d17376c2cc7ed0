"""`make run`: every part of Lenta on this machine, in the foreground, until Ctrl-C."""

import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from app.settings import Settings
from local import components, environment
from local.managed_process import Process, Record, StartupError, display_path, echo

WATCH_SECONDS = 0.2
RESTART_SECONDS = (1, 2, 4, 8, 16, 30)
LASTING_SECONDS = 60  # a worker that lived this long has recovered: the next restart is quick again
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """Raised when a signal has requested the end."""


def main() -> int:
    """Run until a signal (0) or until a part dies (1)."""
    data = environment.data_folder()
    try:
        with environment.lock_data_dir(data):
            run = Run(data)
            for number in SIGNALS:
                signal.signal(number, run.request_stop)
            return run.run()
    except StartupError as failure:
        print(failure, file=sys.stderr)
        return 1


class Run:
    def __init__(self, data: Path) -> None:
        self._data = data
        self._environ = environment.configured()
        self._parts: list[components.Part] = []  # in components.ORDER
        self._record = Record(data / "processes")
        self._is_stopping = False
        self._worker_restarts = 0
        self._worker_since = self._worker_due = 0.0

    def request_stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def run(self) -> int:
        """Start, watch and stop all parts. Raises StartupError; returns the exit code."""
        self._environ.setdefault("JWT_SECRET_KEY", environment.secret_key(self._data))
        components.choose_metrics_port(self._environ)
        settings = environment.check({**environment.PLACEHOLDERS, **self._environ})
        components.check_databases(self._environ)
        self._stop_leftovers()
        components.check_ports(settings)
        try:
            self._start(settings)
            self._watch()
        except StopRequested:
            return 0
        except StartupError as failure:
            echo(f"\n{failure}")
            return 1
        finally:
            self._stop()

    def _stop_leftovers(self) -> None:
        names = self._record.stop_leftovers()
        if names:
            echo(f"An earlier run was killed; stopped its leftover processes: {', '.join(names)}.")

    def _start(self, settings: Settings) -> None:
        url = components.address(settings)
        named = components.named_servers(self._environ)
        echo(f"Starting Lenta. Its data are in {display_path(self._data)}.")
        for start in (components.postgresql, components.valkey):
            part, text = start(self._data, self._environ)
            self._add(part)
            echo(text)
            self._raise_if_stopping()
        if named:
            echo("  servers     waiting until yours answer")
            self._finish(components.servers(named, self._data, self._environ), "that you named do not answer")
        migration = components.migration(self._data, self._environ)
        self._finish(migration, "failed")
        echo(f"  migrations  done{components.GAP}log {display_path(migration.log)}")
        worker = self._start_worker()
        worker.wait_ready(lambda: self._raise_if_stopping() or "ready for action" in worker.output(), 60)
        echo(f"  worker      ready{components.GAP}log {display_path(worker.log)}")
        web = components.web(self._data, self._environ)
        self._add(components.Part(web, web.stop))
        web.wait_ready(lambda: self._raise_if_stopping() or components.health(url), 60)
        echo(f"  web         {url}{components.GAP}log {display_path(web.log)}")
        echo(f"  metrics     {components.metrics(settings)}")
        state = components.health(url)
        if state and state["redis"]["status"] != "up":
            echo(f"  attention   Redis is {state['redis']['status']}: feeds come from PostgreSQL, logging out fails")
        environment.write_environ(self._data, self._environ)
        echo(components.welcome_text(settings))

    def _finish(self, process: Process, failure: str) -> None:
        """Wait for its end. Raises StartupError if it fails."""
        self._add(components.Part(process, process.stop))
        while process.exit_code is None:
            self._raise_if_stopping()
            time.sleep(WATCH_SECONDS)
        self._parts.pop()
        if process.exit_code:
            raise process.failed(f"{failure} (exit code {process.exit_code})")

    def _start_worker(self) -> Process:
        worker = components.worker(self._data, self._environ)
        self._add(components.Part(worker, worker.stop))
        self._worker_since = time.monotonic()
        return worker

    def _add(self, part: components.Part | None) -> None:
        if part is not None:
            self._parts.append(part)
            self._parts.sort(key=lambda part: components.ORDER.index(part.process.name))  # a worker may come again
            self._write_record()

    def _write_record(self) -> None:
        self._record.write([part.process for part in reversed(self._parts)])

    def _watch(self) -> None:
        """Watch until a signal (StopRequested), or until a part ends permanently (StartupError)."""
        while True:
            self._raise_if_stopping()
            for part in list(self._parts):
                if part.process.exit_code is not None:
                    self._died(part)
            if self._worker_due and time.monotonic() >= self._worker_due:
                self._worker_due = 0.0
                self._start_worker()
                echo("The worker is started again.")
            time.sleep(WATCH_SECONDS)

    def _died(self, part: components.Part) -> None:
        process = part.process
        if process.name != "worker":
            raise process.failed(f"ended by itself (exit code {process.exit_code})")
        self._parts.remove(part)
        part.stop()  # also stops the rest of its process group
        if time.monotonic() - self._worker_since > LASTING_SECONDS:
            self._worker_restarts = 0
        pause = RESTART_SECONDS[min(self._worker_restarts, len(RESTART_SECONDS) - 1)]
        self._worker_restarts += 1
        self._worker_due = time.monotonic() + pause
        echo(
            f"The worker ended by itself (exit code {process.exit_code}, log {display_path(process.log)}); "
            f"it starts again in {pause} s. Nothing is lost: its work waits."
        )

    def _raise_if_stopping(self) -> None:
        if self._is_stopping:
            raise StopRequested

    def _stop(self) -> None:
        """The web first, so that nothing new comes in. The databases last."""
        if self._parts:
            echo("\nStopping.")
        with suppress(OSError):  # a full disk must not keep anything from being stopped
            environment.write_environ(self._data, None)
        while self._parts:
            part = self._parts.pop()
            part.stop()
            echo(f"  {part.process.name} stopped")
            with suppress(OSError):
                self._write_record()
