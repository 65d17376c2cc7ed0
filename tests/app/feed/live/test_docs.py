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
const apply = (name, data) => { console.log(name, data.text); process.exit() }
async function main() { console.error("connecting"); %s }
main()
"""
PYTHON = """
import json, sys
import httpx
from httpx_sse import connect_sse
base, token = sys.argv[1:]
last = ""
def apply(name, data):
    print(name, data["text"])
    sys.exit()
print("connecting", file=sys.stderr)
%s
"""
PROGRAMS = {"js": (["node", "--input-type=module", "-e"], JAVASCRIPT), "python": ([sys.executable, "-c"], PYTHON)}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_of_the_page_gets_a_post(service, world, language):
    unless_there("node", "npm")
    page = (ROOT / "docs/live.md").read_text()
    [program] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    command, around = PROGRAMS[language]
    reader, author = world.people(2)
    world.follow(reader, author)
    web = service()
    arguments = [f"http://127.0.0.1:{web.port}", issue_token(reader)]

    with subprocess.Popen([*command, around % program, *arguments], stdout=subprocess.PIPE, text=True) as client:
        eventually(lambda: sum(connections(web).values()) == 1, "the client is connected")
        world.post(author, "hello")

        assert client.stdout is not None
        assert client.stdout.read() == "posted hello\n"
