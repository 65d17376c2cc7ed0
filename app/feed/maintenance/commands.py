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

from app.errors import LentaError
from app.feed.cache import timeline
from app.feed.maintenance import explain, failover, trust, verify, verify_results, warm
from app.feed.rebuild import rebuild_authors_of, rebuild_or_raise
from app.ids import MAX_ID
from app.observability.logging import one_line
from app.posts import follows
from app.users import service as users

POLL_SECONDS = 0.2
STALLED_SECONDS = 60
SHOWN_USERS = 20

Id = click.IntRange(1, MAX_ID)


class ServiceCommand(click.Command):
    """Reports unavailable servers and errors of the service in one line, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (SQLAlchemyError, redis.RedisError, LentaError) as error:
            raise click.ClickException(one_line(error)) from error


def init_app(app: Flask) -> None:
    app.cli.add_command(warm_cache)
    app.cli.add_command(rebuild_feed)
    app.cli.add_command(verify_feeds)
    app.cli.add_command(explain_feed)
    app.cli.add_command(invalidate_feeds)
    app.cli.add_command(distrust_feeds)


@click.command("warm-cache", cls=ServiceCommand)
@click.option("--wait", is_flag=True, help="Wait until all feeds are warm, with a progress bar.")
def warm_cache(wait: bool) -> None:
    """Make the workers build all cold feeds.

    The request goes through the broker. Feeds that are in Redis are not touched.
    """
    run = token_hex(8)
    warm.request(run)
    if not wait:
        click.echo("Warming requested; the workers do it. Use --wait to wait for it.")
        return
    click.echo(f"Warm feeds: {_show_warming(run):,}.")


def _show_warming(run: str) -> int:
    """Show a progress bar until all feeds are warm. Returns their number."""
    progress = _progress(run)
    total = next(total for _, total in progress if total is not None)
    with click.progressbar(length=total, label="Warming", hidden=not sys.stdout.isatty()) as bar:
        for done, _ in progress:
            bar.update(done - bar.pos)
    return total


def _progress(run: str) -> Iterator[tuple[int, int | None]]:
    """Yield the progress of a warming, as (done, total), until it is complete. Raises ClickException if it stalls."""
    seen, moved = None, monotonic()
    while True:
        done, total = warm.progress(run)
        if (done, total) != seen:
            seen, moved = (done, total), monotonic()
            yield done, total
        if total is not None and done >= total:
            return
        if monotonic() - moved > STALLED_SECONDS:
            raise click.ClickException(
                f"no progress for {STALLED_SECONDS} s ({done} of {total or '?'} feeds are warm): "
                "check that the workers and the broker are running"
            )
        sleep(POLL_SECONDS)


@click.command("rebuild-feed", cls=ServiceCommand)
@click.argument("user_ids", metavar="USER_ID...", type=Id, nargs=-1, required=True)
def rebuild_feed(user_ids: tuple[int, ...]) -> None:
    """Rebuild the feeds of these users from SQL now, and print the changes."""
    unknown = users.missing(user_ids)
    if unknown:
        raise click.ClickException(f"no such user: {', '.join(map(str, unknown))}; nothing was rebuilt")
    for user_id in user_ids:
        before = timeline.ids_of([user_id])[0]
        rebuild_authors_of([user_id])
        rebuild_or_raise(user_id)
        after = timeline.ids_of([user_id])[0]
        click.echo(f"{user_id}: {_change(before, after)}")


def _change(before: list[bytes], after: list[bytes]) -> str:
    posts = len(after) - (timeline.END_MARK in after)
    if before == after:
        return f"unchanged, {posts} posts"
    if not before:
        return f"was cold, now {posts} posts"
    added, removed = len(set(after) - set(before)), len(set(before) - set(after))
    return f"{added} added, {removed} removed, now {posts} posts"


class VerifyFailed(click.ClickException):
    exit_code = 2


@click.command("verify-feeds")
@click.argument("user_ids", metavar="[USER_ID...]", type=Id, nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="All feeds; the default without USER_ID.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="N random feeds from Redis.")
@click.option("--repair", is_flag=True, help="Rebuild divergent feeds and check them again.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--settle",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a difference must persist to count; raise it if deliveries lag.",
)
def verify_feeds(
    user_ids: tuple[int, ...], everybody: bool, sample: int | None, repair: bool, as_json: bool, settle: float
) -> None:
    """Verify that feeds and posts in Redis are exactly what SQL says.

    Prints the identities of the servers that it compared, too: each Redis by run id and offset of its promotion, the
    posts database by system identifier and timeline.

    Safe during writes. Exit code: 0 all exact (with --repair: after repair), 1 some divergent, 2 could not check.
    """
    if sum((bool(user_ids), everybody, sample is not None)) > 1:
        raise click.UsageError("give only one of user ids, --all and --sample N")
    try:
        if unknown := users.missing(user_ids):
            raise VerifyFailed(f"no such user: {', '.join(map(str, unknown))}")
        servers = trust.identities()
        report = _verify(user_ids, sample, settle, repair, hidden=as_json)
        if trust.identities() != servers:
            raise VerifyFailed("could not check: a server was restarted or promoted during the comparison")
        if not user_ids:
            verify_results.save(report, full=sample is None)
    except (SQLAlchemyError, redis.RedisError) as error:
        raise VerifyFailed(f"could not check: {error}") from error
    _print_report(report, servers, as_json)
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
        chosen, number = verify.all_user_ids(), follows.count_users_with_followees()
    report = verify.Report()
    hidden = hidden or not sys.stdout.isatty()
    with click.progressbar(length=number, label="Verifying", hidden=hidden) as bar:
        for report in verify.verify(chosen, recheck_seconds=settle, repair=repair):
            bar.update(report.checked - bar.pos)
    return report


def _print_report(report: verify.Report, servers: list[str], as_json: bool) -> None:
    counts = {
        "checked": report.checked,
        "exact": report.exact,
        "cold": report.cold,
        "divergent": len(report.divergent),
        "repaired": report.repaired,
    }
    if as_json:
        differing = {str(user_id): sorted({kind for kind, _ in found}) for user_id, found in report.divergent.items()}
        click.echo(json.dumps(counts | {"kinds": report.kinds(), "users": differing, "servers": servers}))
        return
    click.echo(", ".join(f"{number} {name}" for name, number in counts.items()))
    click.echo(f"  compared on {', '.join(servers)}")
    for kind, number in report.kinds().items():
        if number:
            click.echo(f"  {kind}: {number}")
    for user_id, found in islice(report.divergent.items(), SHOWN_USERS):
        click.echo(f"  user {user_id}: {', '.join(sorted({kind for kind, _ in found}))}")
    if len(report.divergent) > SHOWN_USERS:
        click.echo(f"  … and {len(report.divergent) - SHOWN_USERS} more: --json lists all")


@click.command("explain-feed", cls=ServiceCommand)
@click.argument("user_id", metavar="USER_ID", type=Id)
@click.argument("post_id", metavar="POST_ID", type=Id)
def explain_feed(user_id: int, post_id: int) -> None:
    """Explain why a post is or is not in a user's feed."""
    if users.missing([user_id]):
        raise click.ClickException(f"no such user: {user_id}")
    for name, finding in explain.explain(user_id, post_id):
        click.echo(f"{name + ':':<22}{finding}")


@click.command("invalidate-feeds", cls=ServiceCommand)
def invalidate_feeds() -> None:
    """Drop all feeds and rebuild them, after SQL was restored from a backup.

    A running worker notices within a second, drops every feed and body, and requests warming. Until then readers get
    the old pages. Revoked tokens stay revoked; flushing Redis would lose them.
    """
    failover.invalidate_all()
    click.echo("Feeds are invalidated: a worker drops them and requests warming.")


@click.command("distrust-feeds", cls=ServiceCommand, hidden=True)
@click.pass_context
def distrust_feeds(context: click.Context) -> None:
    """Run invalidate-feeds under its old name, which the next version removes."""
    click.echo("distrust-feeds is now called invalidate-feeds; the old name will be removed.", err=True)
    context.invoke(invalidate_feeds)
