"""The lines for nginx and Caddy in docs/live.md let live events through."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.auth.tokens import issue_token
from local.managed_process import Process
from local.ports import answers, free_port
from tests.conftest import unless_there
from tests.factories import eventually
from tests.tools.posted import PostedReader
from tests.tools.processes import ROOT, Web

NGINX = """
user {user};
daemon off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    {temporary}
    upstream lenta {{ server 127.0.0.1:{web}; }}
    {before}
    server {{
        listen 127.0.0.1:{port};
        {location}
        location / {{ proxy_pass http://lenta; }}
    }}
}}
"""
CADDY = """
{{
    admin off
}}
http://127.0.0.1:{port} {{
{lines}
reverse_proxy 127.0.0.1:{web}
}}
"""
SOON = 12  # seconds; after 15 a heartbeat might push out what a proxy held back
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def lines_for(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/live.md").read_text(), re.DOTALL)
    return str(found)


def nginx(folder: Path, web: int, port: int) -> list[str]:
    before, location, rest = lines_for("nginx").partition("location")
    text = NGINX.format(
        user=folder.owner(),
        folder=folder,
        temporary="".join(f"{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY),
        web=web,
        port=port,
        before=before,
        location=location + rest,
    )
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "errors")]


def caddy(folder: Path, web: int, port: int) -> list[str]:
    lines = lines_for("caddyfile").replace("lenta:8000", f"127.0.0.1:{web}")
    (folder / "Caddyfile").write_text(CADDY.format(web=web, port=port, lines=lines))
    return ["caddy", "run", "--config", str(folder / "Caddyfile")]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start a proxy before a web. Returns its port."""
    with ExitStack() as at_end:

        def start(configure: Callable[[Path, int, int], list[str]], web: Web) -> int:
            port = free_port()
            command = configure(tmp_path, web.port, port)
            environ = {"HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/bin"}
            process = Process(command[0], command, tmp_path / "log", folder=tmp_path, environ=environ)
            at_end.callback(process.stop)
            process.wait_ready(lambda: answers(port), 30)
            return port

        yield start


@pytest.mark.parametrize("configure", [nginx, caddy])
def test_both_doors_are_open_behind_a_proxy(service, live, world, proxy, configure):
    unless_there(configure.__name__, configure.__name__)
    reader, author = world.people(2)
    world.follow(reader, author)
    port = proxy(configure, service())
    by_events = live(SimpleNamespace(port=port), reader)
    by_socket = PostedReader(port, issue_token(reader))
    eventually(lambda: by_socket.connections, "the WebSocket is open")

    post_id = world.post(author, "hello")

    eventually(lambda: by_events.posts.get(post_id) == "hello", "the post arrives as an event", SOON)
    eventually(lambda: by_socket.posts.get(post_id) == "hello", "the post arrives by WebSocket", SOON)
    by_socket.close()
