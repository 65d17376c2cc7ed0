"""psycopg2 in a process of the web: no wait for a server of names or of a database stops the others."""

import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.tools.processes import ROOT

CODE = """
from gevent import monkey
monkey.patch_all()
import sys, gevent, gevent.socket
from sqlalchemy import text
from app.db import cooperative, engine
from app.factory import create_app
from app.settings import Settings

cooperative.install(5)
look_up, steps = gevent.socket.getaddrinfo, []

def look_up_slowly(name, *arguments, **options):
    if name == "database.invalid":
        before = len(steps)
        while len(steps) < before + 3:  # others go on
            gevent.sleep(0.001)
    return look_up("{host}" if name == "database.invalid" else name, *arguments, **options)

def go_on():
    while True:
        steps.append(0)
        gevent.sleep(0.001)

gevent.socket.getaddrinfo = look_up_slowly
gevent.spawn(go_on)
with create_app(Settings.from_env()).app_context():
    print(engine.fetch_one("posts", "SELECT 1", 5), engine.execute("posts", text("SELECT 2")).scalar_one())
"""


@pytest.mark.parametrize("hosts", ["database.invalid", "database.invalid,database.invalid"])
def test_a_slow_name_server_stops_no_other_greenlet(settings, hosts):
    parts = urlsplit(settings.posts_database_url)
    user, port = parts.netloc.rpartition("@")[0], parts.port or 5432
    url = f"postgresql://{user}@/{parts.path[1:]}?" + "&".join(f"host={host}:{port}" for host in hosts.split(","))
    environ = {
        "POSTS_DATABASE_URL": url,
        "USERS_DATABASE_URL": settings.users_database_url,
        "REDIS_URL": settings.redis_url,
        "BROKER_URL": settings.broker_url,
        "JWT_SECRET_KEY": "k" * 64,
    }

    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("{host}", str(parts.hostname))],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout == "(1,) 2\n", done.stderr
