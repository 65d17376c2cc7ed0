"""Where the processes of one service keep what they count, for whichever of them is scraped: a file each.

It must be named in the environment before prometheus_client is imported, so this imports nothing of the project.
`flask` commands and tests have no such folder, and count for themselves.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "lenta-metrics-"  # then the process that the service belongs to


def choose(owner: int) -> None:
    """Make the folder of the service whose first process is `owner`, and name it unless the environment does.

    One of this kind that the environment names is a parent's. Raises PermissionError where somebody else has made it.
    """
    named, ours = os.environ.get(VARIABLE, ""), str(Path(tempfile.gettempdir(), PREFIX))
    path = Path(f"{ours}{owner}" if not named or named.startswith(ours) else named)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.name.startswith(PREFIX) and (path.is_symlink() or path.stat().st_uid != os.getuid()):
        raise PermissionError(f"{path} is somebody else's: name another folder in {VARIABLE}")
    os.environ[VARIABLE] = str(path)


def sweep() -> None:
    """Empty the folder of what earlier runs left in it, and drop the folders that they had for themselves.

    Files of processes that live stay: those of the same service, or of one that is just being replaced.
    """
    for file in Path(os.environ[VARIABLE]).glob("*.db"):
        if not _lives(file.stem):
            file.unlink(missing_ok=True)
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _lives(left.name):
            shutil.rmtree(left, ignore_errors=True)


def _lives(name: str) -> bool:
    """Whether the process lives whose number ends `name`."""
    number = re.search(r"\d+$", name)
    try:
        os.kill(int(number[0]) if number else 0, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:  # no process has such a number
        return False
    return True
