"""Runs the Lua scripts of lua/. Each opens with what it takes, keeps and returns."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.commands.core import Script
from redis.exceptions import NoScriptError

from app.redis import call, client, is_cluster

Call = tuple[list[str], list[Any]]  # keys, arguments


def run(name: str, calls: Sequence[Call]) -> list[Any]:
    """Run a script once for each call, in one round trip (on a Cluster one to each server). Returns the answers.

    The keys of a call must lie together: see `app.redis.together`.
    """
    script = _script(name)
    if len(calls) == 1:
        return [_run_one(script, *calls[0])]
    with client().pipeline(transaction=False) as pipe:
        if is_cluster():
            pipe.scripts.add(script)  # loaded where a server lacks it, in the same round trip
        for keys, arguments in calls:
            pipe.evalsha(script.sha, len(keys), *keys, *arguments)
        return pipe.execute() if is_cluster() else _loaded(script, calls, pipe.execute(raise_on_error=False))


def _loaded(script: Script, calls: Sequence[Call], answers: list[Any]) -> list[Any]:
    """These answers; where Redis did not know the script, those of a second try."""
    for place, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            answers[place] = _run_one(script, *calls[place])
        elif isinstance(answer, Exception):
            raise answer
    return answers


def _run_one(script: Script, keys: list[str], arguments: list[Any]) -> Any:
    try:
        return call("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return script(keys=keys, args=arguments, client=client())


@cache
def _script(name: str) -> Script:
    source = (Path(__file__).parent / "lua" / f"{name}.lua").read_text()
    return client().register_script(source)
