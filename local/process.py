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


class Failed(Exception):
    """Something did not start, or died. The text is for the person at the terminal."""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll for `condition`; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Process:
    """A command in a session of its own: Ctrl-C at the terminal reaches only the run, which stops all in order."""

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
        """What it has logged since it started."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def failed(self, what: str) -> Failed:
        """The error that says what happened and shows the end of the log."""
        lines = self.output().rstrip().splitlines()[-TAIL_LINES:]
        return Failed(
            "\n".join([f"{self.name} {what}. The end of {shown(self.log)}:", *("  " + line for line in lines)])
        )

    def wait_ready(self, is_ready: Callable[[], object], seconds: float) -> None:
        """Raises Failed where it ends, or is not ready in time."""
        if not wait_until(lambda: self.exit_code is not None or is_ready(), seconds):
            raise self.failed(f"was not ready within {seconds:g} s")
        if self.exit_code is not None:
            raise self.failed(f"ended at its start (exit code {self.exit_code})")

    def stop(self) -> None:
        """Ask it to end; kill what has not ended in time, and what it leaves behind."""
        if self.exit_code is None:
            self._popen.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(self._stop_seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


class Record:
    """The processes of a run in a file, so that the next run finds them if this one is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, processes: Sequence[Process]) -> None:
        """In the order in which they are to be stopped."""
        rows = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                rows.append((process.name, process.pid, psutil.Process(process.pid).create_time()))
        self._path.write_text(json.dumps(rows))

    def stop_leftovers(self) -> list[str]:
        """Stop what a killed run left behind. Returns the names."""
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


def end_earlier(pid_file: Path, folder: Path, stop_signal: signal.Signals = signal.SIGTERM) -> None:
    """End a server that works in `folder` already, and remove its pid file.

    A file that a crash left may name a process that is somebody else's by now; servers take any for their own.
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


def shown(path: Path) -> str:
    """A path as short as it can be pasted from here."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def say(text: str) -> None:
    """Print a line at once. A terminal that is gone must not keep the parts from being stopped."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
