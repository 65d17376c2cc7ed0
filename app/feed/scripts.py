"""Runs the Lua scripts of lua/. Each opens with what it takes, keeps and returns."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.commands.core import Script
from redis.exceptions import NoScriptError

from app.redis import call, client

Call = tuple[list[str], list[Any]]  # keys, arguments


def run(name: str, calls: Sequence[Call]) -> list[Any]:
    """Run a script once for each call, in one round trip (on a Cluster one to each server). Returns the answers.

    The keys of a call must lie together: see `app.redis.together`.
    """
    script = _script(name)
    if len(calls) == 1:
        return [_run_one(script, *calls[0])]
    with client().pipeline(transaction=False) as pipe:
        pipe.scripts.add(script)  # loaded where a server lacks it
        for keys, arguments in calls:
            pipe.evalsha(script.sha, len(keys), *keys, *arguments)
        return pipe.execute()


def _run_one(script: Script, keys: list[str], arguments: list[Any]) -> Any:
    try:
        return call("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return script(keys=keys, args=arguments, client=client())


@cache
def _script(name: str) -> Script:
    source = (Path(__file__).parent / "lua" / f"{name}.lua").read_text()
    return client().register_script(source)
