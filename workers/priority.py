"""Lets the web go first where it shares processors with the workers: a page is waited for, a delivery is not."""

import os
from pathlib import Path
from time import sleep

AUTOGROUP = Path("/proc/self/autogroup")
ATTEMPTS = 10
PAUSE_SECONDS = 0.1


def lower_priority(nice: int) -> None:
    """Raise the niceness of this process by `nice`.

    Linux shares processors among sessions first, and niceness counts within a session only (sched(7), "The autogroup
    feature"). So a session that is dramatiq's own becomes as nice.
    """
    os.nice(nice)
    if nice and os.getsid(0) in (os.getpid(), os.getppid()):
        for _ in range(ATTEMPTS):
            try:
                AUTOGROUP.write_text(str(nice))
            except BlockingIOError:  # Linux lets one process do this in 100 ms
                sleep(PAUSE_SECONDS)
            except OSError:  # not Linux, or without sessions' groups
                return
            else:
                return
