"""Work in native threads under gevent, in a process that is patched as gunicorn's are."""

import subprocess
import sys

import pytest

PATCHED = """
from gevent import monkey; monkey.patch_all()
import gevent, sys, threading
from gevent import get_hub
from app.native import run_natively, thread_pool
"""


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", PATCHED + code], timeout=30, stdout=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize("pool", ["None", "thread_pool(1)"])
def test_other_greenlets_go_on_meanwhile(pool):
    done = run(
        f"""
blocking = monkey.get_original("time", "sleep")
ticks = []
ticking = gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(1000)])
run_natively(lambda: [blocking(0.01) for _ in range(1000) if len(ticks) <= 10], {pool})
print(len(ticks) > 10)
"""
    )

    assert done.stdout == "True\n"


def test_other_greenlets_go_on_while_a_password_is_hashed():
    done = run(
        """
from flask import Flask
from app.users import passwords
app = Flask("hashing")
passwords.init_app(app, hashes=1, connections=4)
ticks = []
ticking = gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(1000)])
with app.app_context():
    passwords.hash_password("correct horse")
print(len(ticks) > 1)
"""
    )

    assert done.stdout == "True\n"


def test_what_the_work_raises_is_raised_even_if_nothing_can_be_printed():
    done = run(
        """
sys.stderr.close()
try:
    run_natively(lambda: open("/no/such/file"))
except FileNotFoundError:
    print("raised")
"""
    )

    assert done.stdout == "raised\n"


def test_nothing_is_printed_of_what_is_raised():
    done = run(
        """
try:
    run_natively(lambda: open("/no/such/file"))
except FileNotFoundError:
    pass
""",
        stderr=subprocess.PIPE,
    )

    assert done.stderr == ""
