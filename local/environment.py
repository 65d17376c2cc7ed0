"""The settings of a run: from the environment, from `.env`, and its own; other commands share them."""

import fcntl
import os
import secrets
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values

from app.settings import SECRET_BYTES, Settings, SettingsError
from local.managed_process import StartupError, display_path

ROOT = Path(__file__).parents[1]
VARIABLES = tuple(field.name.upper() for field in fields(Settings))
NOTHING_RUNS = "Nothing runs here. Start it in another terminal: make run"

# Stand for the servers that are not started yet, so that all other settings are checked before anything starts.
PLACEHOLDERS = {
    "USERS_DATABASE_URL": "postgresql:///",
    "POSTS_DATABASE_URL": "postgresql:///",
    "REDIS_URL": "redis://",
    "BROKER_URL": "redis://",
}

Environ = dict[str, str]


def data_folder() -> Path:
    """Return the data folder of a run: LENTA_DATA, or `.data` in the clone."""
    return Path(os.environ.get("LENTA_DATA") or ROOT / ".data").resolve()


def configured() -> Environ:
    """Return the configured settings. The environment overrides `.env`, and may empty a variable."""
    named = {**dotenv_values(ROOT / ".env"), **os.environ}
    return {name: value for name in VARIABLES if (value := named.get(name))}


def check(environ: Mapping[str, str]) -> Settings:
    """Parse the settings. Raises StartupError, which names each missing or invalid variable."""
    try:
        return Settings.from_env(environ)
    except SettingsError as error:
        raise StartupError(f"Invalid settings:\n{error}") from error


def secret_key(data: Path) -> str:
    """Return the key for tokens, generated once so that tokens survive restarts."""
    path = data / "jwt_secret_key"
    if not path.exists():
        write_private(path, secrets.token_hex(SECRET_BYTES))
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


@contextmanager
def lock_data_dir(data: Path) -> Iterator[None]:
    """Lock the data folder for one run. The lock ends with the process."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartupError(
                f"Lenta runs here already (process {lock.read()}, its data are in {display_path(data)}).\n"
                "Stop it first (Ctrl-C in its terminal), or start a second one beside it with separate data:\n"
                "  LENTA_DATA=.data-second PORT=8001 make run"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        write_environ(data, None)  # a killed run left it
        yield


def write_environ(data: Path, environ: Mapping[str, str] | None) -> None:
    """Write the settings of the run for `demo` and `flask`, or remove them (None)."""
    path = data / "environment"
    if environ is None:
        path.unlink(missing_ok=True)
    else:
        write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in environ.items()))


def running_environ() -> Environ | None:
    """The settings of the run that keeps its data here. None where none runs."""
    data = data_folder()
    if not _is_locked(data):
        return None
    try:
        text = (data / "environment").read_text()
    except FileNotFoundError:
        raise StartupError("`make run` is starting or stopping: try again when it shows its address.") from None
    return dict(line.split("=", 1) for line in shlex.split(text))


def exec_flask(arguments: list[str]) -> NoReturn:
    """Execute `flask ARGUMENTS` with the settings of the run, or else the configured ones."""
    environ = running_environ() or configured()
    if not all(environ.get(name) for name in PLACEHOLDERS):
        raise StartupError(f"{NOTHING_RUNS}\nOr name your own servers in .env: {', '.join(PLACEHOLDERS)}")
    check(environ)
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, *flask_command(*arguments)], child_environ(environ))


def flask_command(*arguments: str) -> list[str]:
    """Return the arguments for `python` that run flask."""
    return ["-m", "flask", "--app", "wsgi", *arguments]


def child_environ(environ: Mapping[str, str]) -> Environ:
    """Return the environment of a component: ours, but only with these settings."""
    ours = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**ours, **environ, "FLASK_SKIP_DOTENV": "1", "PYTHONUNBUFFERED": "1"}


def _is_locked(data: Path) -> bool:
    try:
        with (data / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
