"""The programs in docs/live.md do what the page says."""

import re
import subprocess
import sys

import pytest

from app.auth.tokens import issue_token
from tests.app.feed.live.conftest import connections
from tests.conftest import unless_there
from tests.factories import eventually
from tests.tools.processes import ROOT

JAVASCRIPT = """
const [base, token] = process.argv.slice(1)
let last = ""
const apply = (name, data) => { console.log(name, data.text ?? data.postText); process.exit() }
const closed = code => { console.error("closed with", code); process.exit(1) }
async function main() { console.error("connecting"); %s }
main()
"""
PYTHON = """
import json, os, sys
import httpx
from httpx_sse import connect_sse
from websockets.sync.client import connect
base, token = sys.argv[1:]
last = ""
def apply(name, data):
    print(name, data.get("text") or data.get("postText"), flush=True)
    os._exit(0)
print("connecting", file=sys.stderr)
%s
"""
LANGUAGES = {"js": (["node", "--input-type=module", "-e"], JAVASCRIPT), "python": ([sys.executable, "-c"], PYTHON)}


def programs(language):
    """The programs of the page: by server-sent events, and by WebSocket."""
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/live.md").read_text(), re.DOTALL)
    assert len(found) == 2
    return found


# Node has WebSockets since version 22; test_in_a_browser.py runs that program.
@pytest.mark.parametrize(("language", "number"), [("js", 0), ("python", 0), ("python", 1)])
def test_a_program_of_the_page_gets_a_post(service, world, language, number):
    unless_there("node", "npm")
    program = programs(language)[number]
    command, around = LANGUAGES[language]
    reader, author = world.people(2)
    world.follow(reader, author)
    web = service()
    arguments = [f"http://127.0.0.1:{web.port}", issue_token(reader)]

    with subprocess.Popen([*command, around % program, *arguments], stdout=subprocess.PIPE, text=True) as client:
        eventually(lambda: sum(connections(web).values()) == 1, "the client is connected")
        world.post(author, "hello")

        assert client.stdout is not None
        assert client.stdout.read() == "posted hello\n"
