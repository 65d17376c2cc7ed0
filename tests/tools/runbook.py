"""Runs the commands of docs/operations.md on separate servers and RabbitMQ.

python -m tests.tools.runbook        prints each command and what it answers; ends at the first that fails
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import click

from local.ports import free_port
from local.postgres_binaries import BIN
from local.services import start_postgresql, start_valkey
from tests.tools.processes import ROOT

PAGE = ROOT / "docs" / "operations.md"
GRAPH = "\n".join(f"{person} {(person + 3 * step) % 40}" for person in range(40) for step in (1, 2, 3))
FILL = f"cat > graph.txt <<'GRAPH'\n{GRAPH}\nGRAPH\nflask --app wsgi import-graph graph.txt --posts-per-user 3\n"
SECONDS = 300
NEEDED = ("psql", "redis-cli", "openssl", "curl")  # PostgreSQL's own come with its wheel


def script() -> str:
    """Join the page's blocks into one script, with sample data after the first chapter."""
    blocks = []
    for chapter in PAGE.read_text().split("\n## ")[1:]:
        blocks += re.findall(r"^```sh\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
        if chapter.startswith("Deploy\n"):
            blocks.append(FILL)
    return "set -euo pipefail\nset -x\n" + "\n".join(blocks)


def run(broker_url: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a copy of the project's folder; its processes end with it."""
    folder = Path(tempfile.mkdtemp(prefix="lenta-operations-"))
    folder.chmod(0o755)
    project = folder / "project"
    project.mkdir()
    for name in ("app", "workers", "migrations", "wsgi.py", "gunicorn.conf.py"):
        (project / name).symlink_to(ROOT / name)
    postgresql = start_postgresql(folder / "postgresql")
    valkey = start_valkey(folder / "valkey", persist=False, port=free_port())
    environ = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(BIN), os.environ["PATH"]]),
        "POSTGRES_URL": postgresql.url("postgres"),
        "USERS_DATABASE_URL": postgresql.url("lenta_users"),
        "POSTS_DATABASE_URL": postgresql.url("lenta_posts"),
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": broker_url,
        "BROKER_NAMESPACE": f"lenta-operations-{uuid4().hex[:8]}",
        "PORT": str(free_port()),
        "METRICS_PORT": str(free_port()),
    }
    try:
        for name in ("lenta_users", "lenta_posts"):  # the page makes them
            subprocess.run(
                [BIN / "dropdb", f"--maintenance-db={postgresql.url('postgres')}", name], env=environ, check=True
            )
        shell = subprocess.Popen(
            ["bash", "-c", script()],
            cwd=project,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = shell.communicate(timeout=SECONDS)
        finally:
            _end(project)
        return subprocess.CompletedProcess(shell.args, shell.returncode, output)
    finally:
        valkey.stop()
        postgresql.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _end(project: Path) -> None:
    """Stop the web and worker left running by the page, which have separate sessions."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project.resolve():
                os.kill(int(process.name), 9)
        except OSError:
            continue


def main() -> None:
    done = run(os.environ.get("TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672/"))
    click.echo(done.stdout)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
