"""A part of the service as a process: started, watched, stopped, and found again after a killed run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

POLL_SECONDS = 0.05
TAIL_LINES = 25
CLOCK_SECONDS = 5  # by how much a process's start may seem to move when the clock is set


class StartupError(Exception):
    """A component did not start, or died. The text is for the terminal."""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll for `condition`. Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Process:
    """A command in a separate session, out of reach of Ctrl-C in the terminal."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 30,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, log
        self._stop_signal, self._stop_seconds = stop_signal, stop_seconds
        with log.open("ab") as output:
            self._log_start = os.fstat(output.fileno()).st_size
            self._popen = subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """Return its log output since it started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def failed(self, what: str) -> StartupError:
        """Build an error with the end of the log."""
        lines = self.output().rstrip().splitlines()[-TAIL_LINES:]
        return StartupError(
            "\n".join([f"{self.name} {what}. The end of {display_path(self.log)}:", *("  " + line for line in lines)])
        )

    def wait_ready(self, is_ready: Callable[[], object], seconds: float) -> None:
        """Wait until it is ready. Raises StartupError if it ends or is late."""
        if not wait_until(lambda: self.exit_code is not None or is_ready(), seconds):
            raise self.failed(f"was not ready within {seconds:g} s")
        if self.exit_code is not None:
            raise self.failed(f"ended at its start (exit code {self.exit_code})")

    def stop(self) -> None:
        """Request termination. Kill the process if it is late, and its leftovers."""
        if self.exit_code is None:
            self._popen.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(self._stop_seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


class Record:
    """Records the processes of a run in a file, for the next run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, processes: Sequence[Process]) -> None:
        """Write the processes, in the order of stopping."""
        rows = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                rows.append((process.name, process.pid, psutil.Process(process.pid).create_time()))
        self._path.write_text(json.dumps(rows))

    def stop_leftovers(self) -> list[str]:
        """Stop processes left by a killed run. Returns their names."""
        if not self._path.exists():
            return []
        stopped = []
        for name, pid, started in json.loads(self._path.read_text() or "[]"):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - started) < CLOCK_SECONDS:
                    _end(process, signal.SIGINT if name == "PostgreSQL" else signal.SIGTERM)
                    stopped.append(name)
        self._path.unlink()
        return stopped


def stop_stale_server(pid_file: Path, folder: Path, stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """Stop a server that already uses `folder`, and remove its pid file.

    After a crash the file may name a process of another program, so its working directory is checked.
    """
    if not pid_file.exists():
        return
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ValueError, IndexError):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if Path(process.cwd()) == folder:
            _end(process, stop_signal)
    pid_file.unlink(missing_ok=True)


def _end(process: psutil.Process, stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    with suppress(psutil.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def display_path(path: Path) -> str:
    """Return a path relative to the working directory, if possible."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def echo(text: str) -> None:
    """Print a line at once. A closed terminal is ignored, so that shutdown continues."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
