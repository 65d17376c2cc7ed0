"""Flask commands that use the broker; wsgi.py registers them, as `app` must not import workers."""

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

from workers import dead_letters
from workers.broker import QUEUES, command_broker
from workers.cli import wait
from workers.cli.feed_stats import feed_stats
from workers.cli.import_graph import import_graph
from workers.cli.import_users import import_users
from workers.errors import BROKER_UNAVAILABLE

SHOWN_BYTES = 2000
PROGRESS_FROM = 500  # letters


def init_app(app: Flask) -> None:
    app.cli.add_command(dead_letters_group)
    app.cli.add_command(wait_for_services)
    app.cli.add_command(feed_stats)
    app.cli.add_command(import_graph)
    app.cli.add_command(import_users)


@contextmanager
def _broker() -> Iterator[dramatiq.Broker]:
    """Provide the broker. Raises ClickException if it is unavailable."""
    with command_broker() as broker:
        try:
            yield broker
        except BROKER_UNAVAILABLE as error:
            raise click.ClickException(f"broker unavailable: {error or type(error).__name__}") from error


@click.group("dead-letters")
def dead_letters_group() -> None:
    """Inspect and replay messages that failed permanently.

    A message is dead if all its retries failed (its feeds were then invalidated, so the next read rebuilds them), if it
    cannot be parsed, or if no actor handles it. The broker deletes it after a week.
    """


_queue_option = click.option(
    "--queue", "queues", type=click.Choice(QUEUES), multiple=True, help="Only this queue; repeatable."
)


@dead_letters_group.command("list")
@_queue_option
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Maximum number per queue.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(queues: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List dead letters, oldest first, without removing them.

    On RabbitMQ they are fetched and requeued; in between, other commands do not see them.
    """
    with _broker() as broker, dead_letters.open_queue(broker) as dead:
        chosen = queues or QUEUES
        total = sum(dead.count(queue) for queue in chosen)
        letters = [letter for queue in chosen for letter in islice(dead.letters(queue), limit)]
    if as_json:
        click.echo(json.dumps([_summary(letter) for letter in letters], default=str))
    elif not letters:
        click.echo("No dead letters.")
    else:
        _print_lines(letters)
        if total > len(letters):
            click.echo(f"… and {total - len(letters)} more: see --limit")


def _summary(letter: dead_letters.Letter) -> dict[str, Any]:
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


def _print_lines(letters: list[dead_letters.Letter]) -> None:
    """Print one line per letter, never truncated, so that ids can be copied."""
    line = "{:<36}  {:<5}  {:<16}  {:>7}  {:<19}  {}"
    click.echo(line.format("id", "queue", "actor", "retries", "died at (UTC)", "can be replayed"))
    for letter in letters:
        row = _summary(letter)
        died_at = f"{letter.died_at:%Y-%m-%d %H:%M:%S}" if letter.died_at else "?"
        verdict = f"no: {letter.problem}" if letter.problem else "yes"
        click.echo(line.format(letter.id, letter.queue, row["actor"] or "?", _text(row["retries"]), died_at, verdict))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


@dead_letters_group.command("show")
@click.argument("message_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(message_id: str, as_json: bool) -> None:
    """Show one message: its arguments, and the traceback of the second-to-last attempt."""
    with _broker() as broker, dead_letters.open_queue(broker) as dead:
        letter = next((letter for letter in _shown(dead, QUEUES, "Looking") if letter.id == message_id), None)
    if letter is None:
        raise click.ClickException(f"no dead letter {message_id}")
    whole = _summary(letter) | _content(letter)
    if as_json:
        click.echo(json.dumps(whole, default=str))
        return
    for name, value in whole.items():
        click.echo(f"{name + ':':<12}{_text(value)}" if "\n" not in _text(value) else f"{name}:\n{value}")


def _content(letter: dead_letters.Letter) -> dict[str, Any]:
    message = letter.message
    if message is None:
        rest = f" … and {len(letter.body) - SHOWN_BYTES} more bytes" if len(letter.body) > SHOWN_BYTES else ""
        return {"body": letter.body[:SHOWN_BYTES].decode(errors="backslashreplace") + rest}
    sent_at = datetime.fromtimestamp(message.message_timestamp / 1000).astimezone()
    return {
        "sent_at": sent_at.isoformat(timespec="milliseconds"),
        "args": list(message.args),
        "kwargs": message.kwargs,
        "traceback": message.options.get("traceback"),
    }


def _shown(dead: dead_letters.DeadLetterQueue, queues: Sequence[str], label: str) -> Iterator[dead_letters.Letter]:
    """Yield the letters of these queues, with a progress bar in a terminal."""
    total = sum(dead.count(queue) for queue in queues)
    letters = (letter for queue in queues for letter in dead.letters(queue))
    hidden = total < PROGRESS_FROM or not sys.stdout.isatty()
    with click.progressbar(letters, length=total, label=label, hidden=hidden) as bar:
        yield from bar


@dead_letters_group.command("replay")
@click.argument("message_ids", metavar="[MESSAGE_ID...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every message that can be replayed.")
@_queue_option
def replay(message_ids: tuple[str, ...], everything: bool, queues: tuple[str, ...]) -> None:
    """Send messages to their queues again, with all their retries.

    A message is removed from the dead letters after the broker confirmed its copy. If the command is interrupted, it
    may be in both: replay it again, messages are idempotent. Exit code 1 if a requested message was not replayed.
    """
    if bool(message_ids) == everything:
        raise click.UsageError("give either message ids or --all")
    wanted, done, refused = set(message_ids), 0, []
    with _broker() as broker, dead_letters.open_queue(broker) as dead:
        for letter in _shown(dead, queues or QUEUES, "Replaying"):
            if not everything and letter.id not in wanted:
                continue
            wanted.discard(letter.id)
            if letter.problem:
                refused.append(letter)
            else:
                dead_letters.replay(broker, dead, letter)
                done += 1
    click.echo(f"{done} replayed.")
    for letter in refused:
        click.echo(f"{letter.id} was not replayed: {letter.problem}", err=True)
    _fail_if_missing(wanted)
    if refused:
        raise SystemExit(1)


@dead_letters_group.command("drop")
@click.argument("message_ids", metavar="MESSAGE_ID...", nargs=-1, required=True)
def drop(message_ids: tuple[str, ...]) -> None:
    """Delete messages permanently, such as those that cannot be replayed."""
    wanted, number = set(message_ids), 0
    with _broker() as broker, dead_letters.open_queue(broker) as dead:
        for letter in _shown(dead, QUEUES, "Looking"):
            if letter.id in message_ids:
                dead.remove(letter)
                wanted.discard(letter.id)
                number += 1
    click.echo(f"{number} dropped.")
    _fail_if_missing(wanted)


def _services(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",")]
    if unknown := set(names) - set(wait.SERVICES):
        raise click.BadParameter(
            f"no such service: {', '.join(sorted(unknown))}; choose from {', '.join(wait.SERVICES)}"
        )
    return names


@click.command("wait-for-services")
@click.option("--timeout", type=click.FloatRange(0), default=60, show_default=True, metavar="SECONDS")
@click.option("--for", "names", callback=_services, default=",".join(wait.SERVICES), show_default=True, metavar="LIST")
def wait_for_services(timeout: float, names: list[str]) -> None:
    """Wait until the services that Lenta needs are available, to start in order.

    `migrations` is available when both databases are at the latest revision of this version or at a newer one.
    Exit code: 0 all available, 1 timeout.
    """
    with command_broker() as broker:
        missing = wait.wait(broker, names, timeout, click.echo)
    if missing:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in missing.items())
        raise click.ClickException(f"not available after {timeout:g} s:{reasons}")


def _fail_if_missing(missing: set[str]) -> None:
    if missing:
        raise click.ClickException(f"no dead letter {', '.join(sorted(missing))}")
