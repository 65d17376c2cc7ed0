"""Runs Lua scripts on Redis, many calls in one round trip."""

from collections.abc import Sequence
from typing import Any

from redis.commands.core import Script
from redis.exceptions import NoScriptError

from app.redis.client import client, execute, is_cluster

Call = tuple[list[str], list[Any]]  # keys, arguments
Errors = tuple[type[Exception], ...]


def run(script: Script, calls: Sequence[Call], tolerated: Errors = ()) -> list[Any]:
    """Run a script once per call, in one round trip (per server on a Cluster). Returns the replies.

    The keys of a call must share a slot; see `app.redis.client.group_by_slot`. Of many calls, those that fail with one
    of the errors `tolerated` are answered by None.
    """
    if len(calls) == 1:
        return [_run_one(script, *calls[0])]
    with client().pipeline(transaction=False) as pipe:
        if is_cluster():
            pipe.scripts.add(script)  # loaded in the same round trip if a server lacks it
        for keys, arguments in calls:
            pipe.evalsha(script.sha, len(keys), *keys, *arguments)
        replies = pipe.execute(raise_on_error=False)
    for place, reply in enumerate(replies):
        if isinstance(reply, NoScriptError):
            replies[place] = _run_one(script, *calls[place])
        elif isinstance(reply, tolerated):
            replies[place] = None
        elif isinstance(reply, Exception):
            raise reply
    return replies


def _run_one(script: Script, keys: list[str], arguments: list[Any]) -> Any:
    try:
        return execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return script(keys=keys, args=arguments, client=client())
