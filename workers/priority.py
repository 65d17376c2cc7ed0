"""Lets the web go first where it shares processors with the workers: a page is waited for, a delivery is not."""

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def lower_priority(nice: int) -> None:
    """Raise the niceness of this process by `nice`.

    Linux shares processors among sessions first, and niceness counts within a session only (sched(7), "The autogroup
    feature"). So a session that is dramatiq's own becomes as nice.
    """
    os.nice(nice)
    if nice and os.getsid(0) in (os.getpid(), os.getppid()):
        with suppress(OSError):  # not Linux, or without sessions' groups
            AUTOGROUP.write_text(str(nice))
