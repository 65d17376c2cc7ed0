"""Unique process names: the pid, and the start time if the system reports it."""

import os
import re
from pathlib import Path

_NAME = re.compile(r"(\d+)(?:-(\d+))?")
_PROC = Path("/proc")


def identify(pid: int) -> str:
    """Return the name of a running process, like `1234-567890`. Raises OSError if there is none."""
    started = _started(pid)
    return f"{pid}-{started}" if started else str(pid)


def is_process_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def is_running(name: str) -> bool:
    """Return whether the process of this name still runs. Raises OSError if that is unknown."""
    pid, _, started = name.partition("-")
    try:
        if started:
            return _started(int(pid)) == started
        os.kill(int(pid), 0)
    except (FileNotFoundError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def _started(pid: int) -> str:
    """Return the start in clock ticks since boot. Empty on systems without /proc."""
    if not (_PROC / "self").exists():
        return ""
    # The preceding program name, in parentheses, may contain any character.
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
