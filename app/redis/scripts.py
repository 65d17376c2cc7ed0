"""Runs Lua scripts on Redis, many calls in one round trip."""

from collections.abc import Sequence
from typing import Any

from redis.commands.core import Script
from redis.exceptions import NoScriptError

from app.redis.client import client, execute, execute_all, is_cluster

Call = tuple[list[str], list[Any]]  # keys, arguments
Command = tuple[Any, ...]
Errors = tuple[type[Exception], ...]


def run(script: Script, calls: Sequence[Call], tolerated: Errors = ()) -> list[Any]:
    """Run a script once per call, in one round trip (per server on a Cluster). Returns the replies.

    The keys of a call must share a slot; see `app.redis.client.group_by_slot`. Of many calls, those that fail with one
    of the errors `tolerated` are answered by None.
    """
    if len(calls) == 1:
        return [_run_one(script, *calls[0])]
    replies = _run_on_cluster(script, calls) if is_cluster() else _run_on_one_server(script, calls)
    return _checked(replies, tolerated)


def run_and_ask(script: Script, calls: Sequence[Call], question: Command) -> tuple[list[Any], Any]:
    """Run a script like `run`, then execute a command. Returns the replies of both.

    On a single server that is one round trip, on one connection: Redis executes the command after all calls.
    """
    if is_cluster():
        return run(script, calls), execute(*question)
    *replies, reply = _checked(_run_on_one_server(script, calls, question))
    return replies, reply


def _run_on_cluster(script: Script, calls: Sequence[Call]) -> list[Any]:
    with client().pipeline(transaction=False) as pipe:
        pipe.scripts.add(script)  # loaded in the same round trip if a server lacks it
        for keys, arguments in calls:
            pipe.evalsha(script.sha, len(keys), *keys, *arguments)
        replies = pipe.execute(raise_on_error=False)
    for place, reply in enumerate(replies):
        if isinstance(reply, NoScriptError):
            replies[place] = _run_one(script, *calls[place])
    return replies


def _run_on_one_server(script: Script, calls: Sequence[Call], *more: Command) -> list[Any]:
    """Run a script, and then the commands `more`, without redis-py's pipeline.

    If Redis lacks the script, loads it and repeats the calls that failed; and `more`, which must come after them.
    """
    commands = [("EVALSHA", script.sha, len(keys), *keys, *arguments) for keys, arguments in calls]
    commands += more
    replies = execute_all(commands)
    if any(isinstance(reply, NoScriptError) for reply in replies):
        execute("SCRIPT", "LOAD", script.script)
        places = [n for n, reply in enumerate(replies) if n >= len(calls) or isinstance(reply, NoScriptError)]
        for place, reply in zip(places, execute_all([commands[place] for place in places]), strict=True):
            replies[place] = reply
    return replies


def _checked(replies: list[Any], tolerated: Errors = ()) -> list[Any]:
    """Raise the first error that is not `tolerated`. Returns the replies, None in place of the others."""
    for place, reply in enumerate(replies):
        if isinstance(reply, tolerated):
            replies[place] = None
        elif isinstance(reply, Exception):
            raise reply
    return replies


def _run_one(script: Script, keys: list[str], arguments: list[Any]) -> Any:
    try:
        return execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return script(keys=keys, args=arguments, client=client())
