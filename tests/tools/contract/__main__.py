"""python -m tests.tools.contract: runs all contract tools on a fresh service.

schemathesis and openapi-python-client are in requirements-dev.txt; newman comes by npx, of the version below.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from local.environment import ROOT, VARIABLES
from local.managed_process import wait_until
from local.ports import free_port
from tests.tools.contract.document_client import Refused
from tests.tools.contract.journey import journey

TOOLS = ("newman", "client", "typed-client", "schemathesis")
NEWMAN = "newman@6.2.2"
LIMITS = ("LOGIN_RATE_PER_ACCOUNT", "LOGIN_RATE_PER_ADDRESS", "REGISTER_RATE_PER_ADDRESS")
LIMITS += ("POST_RATE_PER_ACCOUNT", "EDIT_RATE_PER_ACCOUNT", "FOLLOW_RATE_PER_ACCOUNT", "EXPORT_RATE_PER_ACCOUNT")
SETTINGS = dict.fromkeys(LIMITS, "off")
START_SECONDS = 120
STOP_SECONDS = 90


@click.command()
@click.option("--only", type=click.Choice(TOOLS), help="One of them.")
@click.option("--seconds", default=60, show_default=True, help="How long schemathesis goes on making cases.")
@click.option("--seed", type=int, help="Of schemathesis; it prints the one it took.")
@click.argument("options", nargs=-1)
def main(only: str | None, seconds: int, seed: int | None, options: tuple[str, ...]) -> None:
    """Test the service as the collection and the OpenAPI document describe it. OPTIONS go to schemathesis."""
    chosen = ("--seed", str(seed), *options) if seed is not None else options
    with service() as url:
        tools: dict[str, Callable[[], int]] = {
            "newman": lambda: newman(url),
            "client": lambda: client(url),
            "typed-client": lambda: typed_client(url),
            "schemathesis": lambda: schemathesis(url, seconds, chosen),
        }
        failed = [name for name in TOOLS if only in (None, name) and tools[name]()]
    sys.exit(f"not passed: {', '.join(failed)}" if failed else 0)


@contextmanager
def service() -> Iterator[str]:
    """The address of a service on embedded servers, which ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="lenta-contract-"))
    folder.chmod(0o755)  # as root, PostgreSQL's user must reach it
    log, port = folder / "run.log", free_port()
    environ = os.environ | dict.fromkeys(VARIABLES, "") | SETTINGS
    environ |= {"PORT": str(port), "LENTA_DATA": str(folder / "data")}
    with log.open("w") as output:
        command = [sys.executable, "-m", "local", "run"]
        run = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(lambda: "Lenta is ready" in log.read_text() or run.poll() is not None, START_SECONDS)
        if "Lenta is ready" not in log.read_text():
            sys.exit(f"The service did not start:\n{log.read_text()}")
        yield f"http://127.0.0.1:{port}"
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
            run.wait(STOP_SECONDS)
        _show_errors(folder / "data/log/web.log")
        shutil.rmtree(folder, ignore_errors=True)


def newman(url: str) -> int:
    """Run the collection from top to bottom. Returns the exit code."""
    if shutil.which("npx") is None:
        click.echo("newman needs npx: apt-get install npm", err=True)
        return 1
    command = ["npx", "--yes", NEWMAN, "run", "postman_collection.json", "--env-var", f"baseUrl={url}"]
    return subprocess.run([*command, "--color", "off"], cwd=ROOT).returncode


def client(url: str) -> int:
    """Play a client that knows the document only. Returns the exit code."""
    try:
        journey(url)
    except (AssertionError, Refused):
        traceback.print_exc()
        return 1
    click.echo("a client that knows /openapi.json only came to the end")
    return 0


def typed_client(url: str) -> int:
    """Generate a typed client, check a program that uses it, and run that. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="lenta-client-") as folder:
        script = shutil.copy(Path(__file__).with_name("typed_journey.py"), folder)
        config = Path(__file__).with_name("client.yaml")
        generate = ["openapi_python_client", "generate", "--url", f"{url}/openapi.json", "--meta", "none"]
        generate += ["--config", str(config), "--output-path", f"{folder}/lenta_client"]
        steps = (generate, ["mypy", "--strict", "lenta_client", script], [script, url])
        for step in steps:
            command = [sys.executable, *([] if step[0] == script else ["-m"]), *step]
            if code := subprocess.run(command, cwd=folder, env=os.environ | {"MYPY_CACHE_DIR": folder}).returncode:
                return code
    click.echo("a typed client that was generated from /openapi.json came to the end")
    return 0


def schemathesis(url: str, seconds: int, options: tuple[str, ...]) -> int:
    """Every check, over every operation, for as long. Returns the exit code."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(here / "schemathesis.toml")]
    command += ["run", f"{url}/openapi.json", "--max-time", str(seconds), *options]
    environ = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.tools.contract.hooks",
        "LENTA_URL": url,
        "PYTHONPATH": str(ROOT),
    }
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env=environ).returncode
    click.echo(f"schemathesis ended after {time.monotonic() - started:.0f} s")
    return code


def _show_errors(log: Path) -> None:
    """Print the service's log of internal errors."""
    lines = log.read_text().splitlines() if log.exists() else []
    errors = [line for line in lines if "unexpected error" in line]
    if errors:
        click.echo("\n".join(["the service logged:", *errors[:20]]), err=True)


if __name__ == "__main__":
    main()
