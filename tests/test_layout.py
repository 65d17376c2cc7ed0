"""Import directions; and that any module may be imported first, with an empty environment."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "app").rglob("*.py")
)

# Imports each module in a process forked before any of ours was imported, and prints what went wrong by module.
# Flask and the others are imported once: what is on trial is how our modules import each other.
IMPORT_EACH = """
import importlib, json, os, sys, traceback, types
import argon2, click, flask_jwt_extended, flask_migrate, flask_sqlalchemy, marshmallow, psycopg2, redis

def bare():
    package = types.ModuleType("app")
    package.__path__ = ["app"]
    sys.modules["app"] = package

def attempt(module, without_factory):
    sys.path.insert(0, os.getcwd())
    if without_factory and module != "app":
        bare()
    importlib.import_module(module)
    return sorted({name.partition(".")[0] for name in sys.modules} & {"dramatiq", "pika", "workers"})

without_factory, modules = json.loads(sys.argv[1])
wrong = {}
for module in modules:
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            result = attempt(module, without_factory)
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


def import_each(*, without_factory):
    """What went wrong, by module, when each was imported first with an empty environment."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH, json.dumps([without_factory, MODULES])],
        env={},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_imports_point_in_the_directions_of_the_contracts():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_there_are_modules_to_try():
    assert {"app", "app.feed.service", "app.users.routes"} <= set(MODULES)


def test_any_module_may_be_imported_first_and_none_brings_a_queue():
    wrong = import_each(without_factory=False)

    assert wrong == {}


def test_no_module_needs_the_factory_to_have_been_imported():
    wrong = import_each(without_factory=True)

    assert wrong == {}
