"""Flask commands that talk to the broker. wsgi.py registers them: `app` knows no queue."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

import click
import dramatiq
from flask import Flask

from workers import dead_letters as dead
from workers import waiting
from workers.broker import BROKER_AWAY, QUEUES, for_command
from workers.stats_command import feed_stats

SHOWN_BYTES = 2000
PROGRESS_FROM = 500  # letters


def init_app(app: Flask) -> None:
    app.cli.add_command(dead_letters)
    app.cli.add_command(wait_for_services)
    app.cli.add_command(feed_stats)


@contextmanager
def _broker() -> Iterator[dramatiq.Broker]:
    """The broker. Raises ClickException where it is away."""
    with for_command() as broker:
        try:
            yield broker
        except BROKER_AWAY as error:
            raise click.ClickException(f"the broker does not answer: {error or type(error).__name__}") from error


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that failed for good: look at them, and send them once more.

    A message is dead when all its tries have failed (its feeds were made cold then, so that the next read builds
    them), when it cannot be parsed, or when no actor of this version handles it. The broker drops it after a week.
    """


_queue_option = click.option("--queue", "queues", type=click.Choice(QUEUES), multiple=True, help="Of this queue only.")


@dead_letters.command("list")
@_queue_option
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many of each queue.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON, one list.")
def list_(queues: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show what is dead, the oldest first. Nothing is taken away.

    On RabbitMQ they are taken and given back: for that moment another look does not see them.
    """
    with _broker() as broker, dead.opened(broker) as box:
        chosen = queues or QUEUES
        total = sum(box.count(queue) for queue in chosen)
        letters = [letter for queue in chosen for letter in islice(box.letters(queue), limit)]
    if as_json:
        click.echo(json.dumps([_summary(letter) for letter in letters], default=str))
    elif not letters:
        click.echo("No dead letters.")
    else:
        _print_lines(letters)
        if total > len(letters):
            click.echo(f"… and {total - len(letters)} more: see --limit")


def _summary(letter: dead.Letter) -> dict[str, Any]:
    message = letter.message
    return {
        "id": letter.id,
        "queue": letter.queue,
        "actor": message and message.actor_name,
        "retries": message and message.options.get("retries", 0),
        "request_id": message and message.options.get("request_id"),
        "died_at": letter.died_at and letter.died_at.isoformat(),
        "problem": letter.problem,
    }


def _print_lines(letters: list[dead.Letter]) -> None:
    """One line each, never cut: an id is there to be pasted."""
    line = "{:<36}  {:<5}  {:<16}  {:>7}  {:<19}  {}"
    click.echo(line.format("id", "queue", "actor", "retries", "died at (UTC)", "can be replayed"))
    for letter in letters:
        row = _summary(letter)
        died_at = f"{letter.died_at:%Y-%m-%d %H:%M:%S}" if letter.died_at else "?"
        verdict = f"no: {letter.problem}" if letter.problem else "yes"
        click.echo(line.format(letter.id, letter.queue, row["actor"] or "?", _text(row["retries"]), died_at, verdict))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


@dead_letters.command("show")
@click.argument("message_id")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(message_id: str, as_json: bool) -> None:
    """Show all of one message: its arguments, and what its last try but one failed with."""
    with _broker() as broker, dead.opened(broker) as box:
        letter = next((letter for letter in _shown(box, QUEUES, "Looking") if letter.id == message_id), None)
    if letter is None:
        raise click.ClickException(f"no dead letter {message_id}")
    whole = _summary(letter) | _content(letter)
    if as_json:
        click.echo(json.dumps(whole, default=str))
        return
    for name, value in whole.items():
        click.echo(f"{name + ':':<12}{_text(value)}" if "\n" not in _text(value) else f"{name}:\n{value}")


def _content(letter: dead.Letter) -> dict[str, Any]:
    message = letter.message
    if message is None:
        rest = f" … and {len(letter.body) - SHOWN_BYTES} bytes more" if len(letter.body) > SHOWN_BYTES else ""
        return {"body": letter.body[:SHOWN_BYTES].decode(errors="backslashreplace") + rest}
    sent_at = datetime.fromtimestamp(message.message_timestamp / 1000).astimezone()
    return {
        "sent_at": sent_at.isoformat(timespec="milliseconds"),
        "args": list(message.args),
        "kwargs": message.kwargs,
        "traceback": message.options.get("traceback"),
    }


def _shown(box: dead.Box, queues: Sequence[str], label: str) -> Iterator[dead.Letter]:
    """All letters of these queues, with a progress bar in a terminal."""
    total = sum(box.count(queue) for queue in queues)
    letters = (letter for queue in queues for letter in box.letters(queue))
    hidden = total < PROGRESS_FROM or not sys.stdout.isatty()
    with click.progressbar(letters, length=total, label=label, hidden=hidden) as bar:
        yield from bar


@dead_letters.command("replay")
@click.argument("message_ids", metavar="[MESSAGE_ID...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that can be replayed.")
@_queue_option
def replay(message_ids: tuple[str, ...], everything: bool, queues: tuple[str, ...]) -> None:
    """Put messages back into their queues, to be tried as if they were new.

    A message leaves the dead letters when the broker has confirmed it in its queue. If the command dies in between it
    is in both: replay it again, everything may happen twice. Exit code 1 if something asked for was not replayed.
    """
    if bool(message_ids) == everything:
        raise click.UsageError("give message ids or --all, and not both")
    wanted, done, refused = set(message_ids), 0, []
    with _broker() as broker, dead.opened(broker) as box:
        for letter in _shown(box, queues or QUEUES, "Replaying"):
            if not everything and letter.id not in wanted:
                continue
            wanted.discard(letter.id)
            if letter.problem:
                refused.append(letter)
            else:
                dead.replay(broker, box, letter)
                done += 1
    click.echo(f"{done} replayed.")
    for letter in refused:
        click.echo(f"{letter.id} was not replayed: {letter.problem}", err=True)
    _complain_of(wanted)
    if refused:
        raise SystemExit(1)


@dead_letters.command("drop")
@click.argument("message_ids", metavar="MESSAGE_ID...", nargs=-1, required=True)
def drop(message_ids: tuple[str, ...]) -> None:
    """Forget messages for good: those that cannot be replayed, say. What they asked for is not done."""
    wanted, number = set(message_ids), 0
    with _broker() as broker, dead.opened(broker) as box:
        for letter in _shown(box, QUEUES, "Looking"):
            if letter.id in message_ids:
                box.remove(letter)
                wanted.discard(letter.id)
                number += 1
    click.echo(f"{number} dropped.")
    _complain_of(wanted)


def _services(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",")]
    if unknown := set(names) - set(waiting.SERVICES):
        raise click.BadParameter(
            f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(waiting.SERVICES)}"
        )
    return names


@click.command("wait-for-services")
@click.option("--timeout", type=click.FloatRange(0), default=60, show_default=True, metavar="SECONDS")
@click.option(
    "--for", "names", callback=_services, default=",".join(waiting.SERVICES), show_default=True, metavar="LIST"
)
def wait_for_services(timeout: float, names: list[str]) -> None:
    """Wait until what Lenta needs is there, for a start in order where nothing else sees to it.

    `migrations` is there when both databases are at the newest revision of this version, or at one of a newer
    version. Exit code: 0 all there, 1 not within the time.
    """
    with for_command() as broker:
        missing = waiting.wait(broker, names, timeout, click.echo)
    if missing:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in missing.items())
        raise click.ClickException(f"not there after {timeout:g} s:{reasons}")


def _complain_of(missing: set[str]) -> None:
    if missing:
        raise click.ClickException(f"no dead letter {', '.join(sorted(missing))}")
