"""python -m tests.contract: starts the service as `make run` does, on data of its own, and lets both tools at it.

schemathesis is in requirements-dev.txt; newman comes by npx, of the version below.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from local.environment import ROOT, VARIABLES
from local.process import wait_until
from tests.processes import free_port

NEWMAN = "newman@6.2.2"
SETTINGS = {"LOGIN_RATE_PER_ACCOUNT": "off", "LOGIN_RATE_PER_ADDRESS": "off", "REGISTER_RATE_PER_ADDRESS": "off"}
START_SECONDS = 120
STOP_SECONDS = 90


@click.command()
@click.option("--only", type=click.Choice(["newman", "schemathesis"]), help="One of the two.")
@click.option("--seconds", default=60, show_default=True, help="How long schemathesis goes on making cases.")
@click.option("--seed", type=int, help="Of schemathesis; it prints the one it took.")
@click.argument("options", nargs=-1)
def main(only: str | None, seconds: int, seed: int | None, options: tuple[str, ...]) -> None:
    """Test the service as the collection and the OpenAPI document describe it. OPTIONS go to schemathesis."""
    failed = []
    with service() as url:
        if only != "schemathesis" and newman(url):
            failed.append("newman")
        chosen = ("--seed", str(seed), *options) if seed is not None else options
        if only != "newman" and schemathesis(url, seconds, chosen):
            failed.append("schemathesis")
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


def schemathesis(url: str, seconds: int, options: tuple[str, ...]) -> int:
    """Every check, over every operation, for as long. Returns the exit code."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(here / "schemathesis.toml")]
    command += ["run", f"{url}/openapi.json", "--max-time", str(seconds), *options]
    environ = os.environ | {"SCHEMATHESIS_HOOKS": "tests.contract.hooks", "LENTA_URL": url, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env=environ).returncode
    click.echo(f"schemathesis ended after {time.monotonic() - started:.0f} s")
    return code


def _show_errors(log: Path) -> None:
    """What the service had to say of errors of its own."""
    lines = log.read_text().splitlines() if log.exists() else []
    errors = [line for line in lines if "unexpected error" in line]
    if errors:
        click.echo("\n".join(["the service logged:", *errors[:20]]), err=True)


if __name__ == "__main__":
    main()
