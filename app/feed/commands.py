"""Flask commands of the feed."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from secrets import token_hex
from time import monotonic, sleep
from typing import Any

import click
import redis
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.feed import explain, follows, service, stats, timeline, verify, warming, watch
from app.fields import MAX_ID
from app.users import service as users

POLL_SECONDS = 0.2
STALLED_SECONDS = 60
SHOWN_USERS = 20

Id = click.IntRange(1, MAX_ID)


class Command(click.Command):
    """A command that says in a line that a server is away."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (SQLAlchemyError, redis.RedisError) as error:
            raise click.ClickException((str(error).strip() or type(error).__name__).splitlines()[0]) from error


def init_app(app: Flask) -> None:
    app.cli.add_command(warm_cache)
    app.cli.add_command(rebuild_feed)
    app.cli.add_command(verify_feeds)
    app.cli.add_command(explain_feed)
    app.cli.add_command(distrust_feeds)


@click.command("warm-cache", cls=Command)
@click.option("--wait", is_flag=True, help="Stay until all feeds are warm, with a progress bar.")
def warm_cache(wait: bool) -> None:
    """Have the workers build the feed of everybody who follows somebody, where it is cold.

    The request goes through the broker; a feed that is in Redis is left as it is.
    """
    run = token_hex(8)
    warming.request(run)
    if not wait:
        click.echo("Warming is asked for; the workers do it. Use --wait to see it through.")
        return
    click.echo(f"Feeds that are warm: {_show_warming(run):,}.")


def _show_warming(run: str) -> int:
    """A progress bar until all is warm, from when it is known how much that is. Returns how many feeds it was."""
    progress = _progress(run)
    total = next(total for _, total in progress if total is not None)
    with click.progressbar(length=total, label="Warming", hidden=not sys.stdout.isatty()) as bar:
        for done, _ in progress:
            bar.update(done - bar.pos)
    return total


def _progress(run: str) -> Iterator[tuple[int, int | None]]:
    """Progress of a warming, each time it moves, until it is complete. Raises ClickException if it stalls."""
    seen, moved = None, monotonic()
    while True:
        done, total = warming.progress(run)
        if (done, total) != seen:
            seen, moved = (done, total), monotonic()
            yield done, total
        if total is not None and done >= total:
            return
        if monotonic() - moved > STALLED_SECONDS:
            raise click.ClickException(
                f"nothing was warmed for {STALLED_SECONDS} s ({done} of {total or 'an unknown number'}): "
                "do the workers run, and does the broker?"
            )
        sleep(POLL_SECONDS)


@click.command("rebuild-feed", cls=Command)
@click.argument("user_ids", metavar="USER_ID...", type=Id, nargs=-1, required=True)
def rebuild_feed(user_ids: tuple[int, ...]) -> None:
    """Rebuild the feeds of these users from SQL, at once, and print what changed."""
    unknown = users.unknown(user_ids)
    if unknown:
        raise click.ClickException(f"no such user: {', '.join(map(str, unknown))}; nothing was rebuilt")
    for user_id in user_ids:
        before = timeline.ids_of([user_id])[0]
        service.rebuild_authors_of([user_id])
        service.reconcile(user_id)
        after = timeline.ids_of([user_id])[0]
        click.echo(f"{user_id}: {_change(before, after)}")


def _change(before: list[bytes], after: list[bytes]) -> str:
    posts = len(after) - (timeline.END in after)
    if before == after:
        return f"unchanged, {posts} posts"
    if not before:
        return f"was cold, now {posts} posts"
    added, removed = len(set(after) - set(before)), len(set(before) - set(after))
    return f"{added} added, {removed} removed, now {posts} posts"


class CannotCheck(click.ClickException):
    exit_code = 2


@click.command("verify-feeds")
@click.argument("user_ids", metavar="[USER_ID...]", type=Id, nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Everybody's feed: the default without USER_ID.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="N random feeds of those in Redis.")
@click.option("--repair", is_flag=True, help="Rebuild what is divergent, and check it again.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--settle",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="A difference counts if it stays for so long: more where deliveries lag.",
)
def verify_feeds(
    user_ids: tuple[int, ...], everybody: bool, sample: int | None, repair: bool, as_json: bool, settle: float
) -> None:
    """Compare the feeds in Redis with SQL: is every list exactly what it must be?

    Safe while writes go on. Exit code: 0 all exact (with --repair: after it), 1 some divergent, 2 could not check.
    """
    if sum((bool(user_ids), everybody, sample is not None)) > 1:
        raise click.UsageError("give user ids, --all or --sample N, not two of them")
    try:
        if unknown := users.unknown(user_ids):
            raise CannotCheck(f"no such user: {', '.join(map(str, unknown))}")
        report = _verify(user_ids, sample, settle, repair, hidden=as_json)
        if not user_ids:
            stats.keep_verdict(report, full=sample is None)
    except (SQLAlchemyError, redis.RedisError) as error:
        raise CannotCheck(f"could not check: {error}") from error
    _print_report(report, as_json)
    if report.divergent:
        raise SystemExit(1)


def _verify(
    user_ids: tuple[int, ...], sample: int | None, settle: float, repair: bool, *, hidden: bool
) -> verify.Report:
    chosen: Iterable[int]
    if user_ids:
        chosen, number = user_ids, len(user_ids)
    elif sample is not None:
        chosen = verify.sampled(sample)
        number = len(chosen)
    else:
        chosen, number = verify.everybody(), follows.count_readers()
    report = verify.Report()
    hidden = hidden or not sys.stdout.isatty()
    with click.progressbar(length=number, label="Verifying", hidden=hidden) as bar:
        for report in verify.verify(chosen, settle=settle, repair=repair):
            bar.update(report.checked - bar.pos)
    return report


def _print_report(report: verify.Report, as_json: bool) -> None:
    counts = {
        "checked": report.checked,
        "exact": report.exact,
        "cold": report.cold,
        "divergent": len(report.divergent),
        "repaired": report.repaired,
    }
    if as_json:
        differing = {str(user_id): sorted({kind for kind, _ in found}) for user_id, found in report.divergent.items()}
        click.echo(json.dumps(counts | {"kinds": report.kinds(), "users": differing}))
        return
    click.echo(", ".join(f"{number} {name}" for name, number in counts.items()))
    for kind, number in report.kinds().items():
        if number:
            click.echo(f"  {kind}: {number}")
    for user_id, found in islice(report.divergent.items(), SHOWN_USERS):
        click.echo(f"  user {user_id}: {', '.join(sorted({kind for kind, _ in found}))}")
    if len(report.divergent) > SHOWN_USERS:
        click.echo(f"  … and {len(report.divergent) - SHOWN_USERS} more: --json lists all")


@click.command("explain-feed", cls=Command)
@click.argument("user_id", metavar="USER_ID", type=Id)
@click.argument("post_id", metavar="POST_ID", type=Id)
def explain_feed(user_id: int, post_id: int) -> None:
    """Say why a post is in a user's feed, or is not."""
    if users.unknown([user_id]):
        raise click.ClickException(f"no such user: {user_id}")
    for name, finding in explain.explain(user_id, post_id):
        click.echo(f"{name + ':':<22}{finding}")


@click.command("distrust-feeds", cls=Command)
def distrust_feeds() -> None:
    """Have all feeds dropped and built anew: after SQL was restored from a backup.

    A worker that runs notices it within a second, drops every feed and body, and asks for warming. Until it is through,
    readers get the old pages. Tokens that were revoked stay revoked, which emptying Redis would undo.
    """
    watch.distrust()
    click.echo("Nothing in Redis is trusted any more: a worker drops it, and asks for warming.")
