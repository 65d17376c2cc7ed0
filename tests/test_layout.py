"""Import directions, lengths of modules, and imports of each module first, with an empty environment."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

MAX_LINES = 250

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "app").rglob("*.py")
)

# Imports each module in a process forked before any of ours was imported, and prints the errors by module.
# Third-party modules are imported once, as only imports among our modules are tested.
IMPORT_EACH = """
import importlib, json, os, sys, traceback
import argon2, click, flask_jwt_extended, flask_migrate, flask_sqlalchemy, limits, marshmallow, prometheus_client
import psycopg2, redis, wsproto.connection, yaml

def attempt(module):
    sys.path.insert(0, os.getcwd())
    importlib.import_module(module)
    return sorted({name.partition(".")[0] for name in sys.modules} & {"dramatiq", "pika", "workers"})

modules = json.loads(sys.argv[1])
wrong = {}
for module in modules:
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            result = attempt(module)
        except BaseException:
            result = traceback.format_exc()
        os.write(write, json.dumps(result).encode()[:60000])
        os._exit(0)
    os.close(write)
    result = json.loads(open(read).read())
    os.wait()
    if result:
        wrong[module] = result
print(json.dumps(wrong))
"""


def import_each():
    """Return the errors by module of importing each first, with an empty environment."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH, json.dumps(MODULES)],
        env={},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_imports_point_in_the_directions_of_the_contracts():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_no_module_of_the_service_has_more_lines_than_allowed():
    files = [path for folder in ("app", "workers", "local") for path in (ROOT / folder).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}

    assert "app/settings.py" in lines
    assert {path: number for path, number in lines.items() if number > MAX_LINES} == {}


def test_there_are_modules_to_try():
    assert {"app", "app.feed.deliver", "app.users.routes"} <= set(MODULES)


def test_any_module_may_be_imported_first_and_none_brings_a_queue():
    wrong = import_each()

    assert wrong == {}
