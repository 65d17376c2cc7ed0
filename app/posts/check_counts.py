"""The command check-counts."""

import json
import sys
from itertools import islice

import click
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import commit
from app.ids import MAX_ID
from app.observability.logging import one_line
from app.posts import counts
from app.posts.counts import Counts

SHOWN_USERS = 20


class CheckFailed(click.ClickException):
    exit_code = 2


def init_app(app: Flask) -> None:
    app.cli.add_command(check_counts)


@click.command("check-counts")
@click.option("--repair", is_flag=True, help="Correct the counts that are wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check_counts(repair: bool, as_json: bool) -> None:
    """Check that the counts of followers, followees and posts are exactly what SQL has.

    Safe during writes. Exit code: 0 all exact (with --repair: after repair), 1 some wrong, 2 could not check.
    """
    try:
        if counts.counted_up_to() < MAX_ID:
            raise CheckFailed("not everything has been counted yet: wait for `db upgrade`, or run it again")
        if repair:
            with counts.exclusively():
                checked, wrong = _compare(repair, hidden=as_json)
        else:
            checked, wrong = _compare(repair, hidden=as_json)
    except SQLAlchemyError as error:
        raise CheckFailed(f"could not check: {one_line(error)}") from error
    _print_report(checked, wrong, len(wrong) if repair else 0, as_json)
    if wrong and not repair:
        raise SystemExit(1)


def _compare(repair: bool, *, hidden: bool) -> tuple[int, dict[int, Counts]]:
    """Return the number of users, and by user what the counts lack."""
    checked = 0
    wrong: dict[int, Counts] = {}
    number = counts.number_of_users()
    with click.progressbar(length=number, label="Counting", hidden=hidden or not sys.stdout.isatty()) as bar:
        for part in counts.compare(mend=repair):
            commit()  # each batch has a snapshot of its moment, and holds none back
            checked += part.users
            wrong |= part.missing
            bar.update(part.users)
    return checked, wrong


def _print_report(checked: int, wrong: dict[int, Counts], repaired: int, as_json: bool) -> None:
    numbers = {"checked": checked, "exact": checked - len(wrong), "wrong": len(wrong), "repaired": repaired}
    if as_json:
        users = {str(user_id): missing._asdict() for user_id, missing in wrong.items()}
        click.echo(json.dumps(numbers | {"missing": users}))
        return
    click.echo(", ".join(f"{number} {name}" for name, number in numbers.items()))
    for user_id, missing in islice(wrong.items(), SHOWN_USERS):
        lacking = ", ".join(f"{number:+} {name}" for name, number in missing._asdict().items() if number)
        click.echo(f"  user {user_id} lacks {lacking}")
    if len(wrong) > SHOWN_USERS:
        click.echo(f"  … and {len(wrong) - SHOWN_USERS} more: --json lists all")
