"""psycopg2 in a process of the web: no wait for a server of names or of a database stops the others."""

import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from app.db import cooperative
from app.settings import Settings
from tests.factories import eventually
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
    if name == "gone.invalid":
        raise gevent.socket.gaierror("no such host")
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


@pytest.mark.parametrize(
    "hosts", ["database.invalid", "database.invalid,database.invalid", "gone.invalid,database.invalid"]
)
def test_a_slow_name_server_stops_no_other_greenlet_and_an_unknown_name_hides_no_other(settings, hosts):
    parts = urlsplit(settings.posts_database_url)
    user, port = parts.netloc.rpartition("@")[0], parts.port or 5432
    url = f"postgresql://{user}@/{parts.path[1:]}?" + "&".join(f"host={host}:{port}" for host in hosts.split(","))

    done = run(CODE.replace("{host}", str(parts.hostname)), settings, url)

    assert done.stdout == "(1,) 2\n", done.stderr


PATCH = "from gevent import monkey\nmonkey.patch_all()\n"
ASK = """
from sqlalchemy import text
from app.db import cooperative, engine
from app.factory import create_app
from app.settings import Settings

if {is_cooperative}:
    cooperative.install(5)
with create_app(Settings.from_env()).app_context():
    print(engine.fetch_one("posts", "SELECT 1", 5), engine.execute("posts", text("SELECT 2")).scalar_one())
"""


@pytest.mark.parametrize("is_cooperative", [True, False])
def test_a_server_that_says_nothing_does_not_hide_the_next(settings, is_cooperative):
    parts = urlsplit(settings.posts_database_url)
    user = parts.netloc.rpartition("@")[0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = f"{silent.getsockname()[1]},{parts.port or 5432}"
        url = f"postgresql://{user}@/{parts.path[1:]}?host=127.0.0.1,{parts.hostname}&port={ports}"
        code = PATCH * is_cooperative + ASK.replace("{is_cooperative}", str(is_cooperative))

        done = run(code, settings, f"{url}&target_session_attrs=read-write")

    assert done.stdout == "(1,) 2\n", done.stderr


def run(code: str, settings: Settings, posts_database_url: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "POSTS_DATABASE_URL": posts_database_url,
        "USERS_DATABASE_URL": settings.users_database_url,
        "REDIS_URL": settings.redis_url,
        "BROKER_URL": settings.broker_url,
        "JWT_SECRET_KEY": "k" * 64,
    }
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def test_servers_are_tried_in_the_order_of_the_url():
    both = {"host": "a,b", "port": "1,2", "user": "u"}
    first, second = {"host": "a", "port": "1", "user": "u"}, {"host": "b", "port": "2", "user": "u"}
    standby, any_ = {"target_session_attrs": "standby"}, {"target_session_attrs": "any"}

    assert cooperative.each_server(both) == [first, second]
    assert cooperative.each_server({"host": "a,b", "port": ","}) == [{"host": "a"}, {"host": "b"}]
    assert cooperative.each_server({"host": "a,b", "port": 1}) == [{"host": host, "port": "1"} for host in "ab"]
    assert cooperative.each_server({"host": "/folder"}) == [{"host": "/folder"}]
    assert cooperative.each_server({"user": "u"}) == [{"user": "u"}]
    assert cooperative.each_server(both | {"target_session_attrs": "prefer-standby"}) == [
        first | standby,
        second | standby,
        first | any_,
        second | any_,
    ]
    random = both | {"load_balance_hosts": "random"}
    eventually(lambda: cooperative.each_server(random)[0]["host"] == "b", "any may be the first")
