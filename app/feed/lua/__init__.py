"""Runs the Lua scripts of feeds. Each opens with its parameters, effects and reply; prelude.lua is joined to all."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.commands.core import Script

from app.redis import scripts
from app.redis.client import client
from app.redis.scripts import Call, Command


def run(name: str, calls: Sequence[Call], *, tolerated: scripts.Errors = ()) -> list[Any]:
    """Run the script `name` once per call, like `app.redis.scripts.run`."""
    return scripts.run(_script(name), calls, tolerated)


def run_and_ask(name: str, calls: Sequence[Call], question: Command) -> tuple[list[Any], Any]:
    """Run the script `name`, then execute a command, like `app.redis.scripts.run_and_ask`."""
    return scripts.run_and_ask(_script(name), calls, question)


def source(name: str) -> str:
    return Path(__file__).with_name(f"{name}.lua").read_text()


@cache
def _script(name: str) -> Script:
    return client().register_script(source("prelude") + source(name))
