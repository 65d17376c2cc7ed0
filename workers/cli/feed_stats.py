"""Implements the command feed-stats."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, sleep

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.feed.maintenance.counts import FeedCounts
from app.settings import settings
from workers.broker import command_broker
from workers.cli import snapshot

WATCHED_SAMPLE = 1000  # keeps repeated sampling cheap
WATCH_SECONDS = 2.0
POLL_SECONDS = 0.2
UNKNOWN = Text("unknown", style="yellow")


def _urls(_: click.Context, __: click.Parameter, urls: tuple[str, ...]) -> tuple[str, ...]:
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise click.BadParameter(f"must begin with http:// or https://, not {url!r}")
    return urls


@click.command("feed-stats")
@click.option(
    "--watch",
    type=click.FloatRange(0.1),
    is_flag=False,
    flag_value=WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Refresh every SECONDS (default {WATCH_SECONDS:g}); samples {WATCHED_SAMPLE} feeds.",
)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Measure N feeds and estimate the rest.")
@click.option(
    "--metrics",
    "urls",
    multiple=True,
    metavar="URL",
    callback=_urls,
    help="Metrics URL of web or workers; repeatable. Default: those of this machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per refresh; unknown values are null.")
def feed_stats(watch: float | None, sample: int | None, urls: tuple[str, ...], as_json: bool) -> None:
    """Show the state of the service: feeds, hits, lag, waiting and failed messages.

    Hits and lag come from the metrics of web and workers, since their start. Unavailable servers are named and the
    rest is shown; the exit code is 0.
    """
    if watch is not None and sample is None:
        sample = WATCHED_SAMPLE
    with command_broker() as broker, suppress(KeyboardInterrupt):

        def snapshots() -> Iterator[snapshot.Figures]:
            for _ in _ticks(watch):
                yield snapshot.collect(
                    broker, urls or _default_urls(), sample, _quietly if as_json or watch else _shown
                )

        console = Console()
        if as_json:
            for found in snapshots():
                click.echo(json.dumps(found))
        elif watch is not None and console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for found in snapshots():
                    live.update(_table(found), refresh=True)
        else:
            for found in snapshots():
                console.print(_table(found))


def _ticks(watch: float | None) -> Iterator[None]:
    """Yield once, or with `watch` every so many seconds."""
    yield
    if watch is not None:
        yield from _every(watch)


def _every(seconds: float) -> Iterator[None]:
    """Yield every `seconds` until Ctrl-C. Uses a signal handler: a KeyboardInterrupt raised in a destructor is lost."""
    interrupted: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    while True:
        due = monotonic() + seconds
        while not interrupted and monotonic() < due:
            sleep(min(POLL_SECONDS, max(0.0, due - monotonic())))
        if interrupted:
            return
        yield


def _default_urls() -> tuple[str, ...]:
    web, workers = _client_host(settings().host), _client_host(settings().metrics_host)
    urls = [f"http://{web}:{settings().port}/metrics"]
    if settings().metrics_port:
        urls.append(f"http://{workers}:{settings().metrics_port}/metrics")
    return tuple(urls)


def _client_host(host: str) -> str:
    """Return the address of a server on this machine that listens on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # compared, not listened on


def _quietly(takes: Iterator[FeedCounts], _: int | None) -> FeedCounts:
    for counted in takes:  # noqa: B007 - the last has the totals
        pass
    return counted


def _shown(takes: Iterator[FeedCounts], readers: int | None) -> FeedCounts:
    """Show a progress bar in a terminal."""
    with click.progressbar(length=readers or 1, label="Counting", hidden=not sys.stdout.isatty()) as bar:
        for counted in takes:
            bar.update(min(counted.cached, bar.length or 0) - bar.pos)
        bar.update((bar.length or 0) - bar.pos)
    return counted


def _table(found: snapshot.Figures) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in _rows(found):
        table.add_row(name, value if value is not None else UNKNOWN)
    for name, reason in found["away"].items():
        table.add_row("unavailable", Text(f"{name}: {reason}", style="yellow"))
    return table


def _rows(found: snapshot.Figures) -> Iterator[tuple[str, str | Text | None]]:
    feeds, queues, outbox = found["feeds"], found["queues"], found["outbox"]
    yield "time", found["time"]
    yield "readers", None if found["readers"] is None else f"{found['readers']:,} users with followees"
    yield "feeds", feeds and _feeds(feeds)
    yield "entries", feeds and _entries(feeds)
    yield "hits", _hits(found["reads"])
    yield "lag", _lag(found["lag_seconds"])
    yield "outbox", outbox and _outbox(outbox)
    for name in queues or ["queues"]:
        yield (
            f"queue {name}" if queues else name,
            queues
            and _red_if(
                queues[name]["dead"], ", ".join(f"{number:,} {state}" for state, number in queues[name].items())
            ),
        )
    yield "given up", None if found["given_up"] is None else _red_if(found["given_up"], f"{found['given_up']:,}")


def _feeds(feeds: snapshot.Figures) -> str:
    cold = "unknown" if feeds["cold"] is None else f"{feeds['cold']:,}"
    estimate = f" (estimated from {feeds['sampled']:,})" if feeds["sampled"] is not None else ""
    cut = feeds["cached"] - feeds["complete"]
    return f"{feeds['cached']:,} cached ({feeds['complete']:,} complete, {cut:,} end at the cap), {cold} cold{estimate}"


def _entries(feeds: snapshot.Figures) -> str:
    each = "" if feeds["bytes_per_entry"] is None else f", {feeds['bytes_per_entry']:g} bytes each"
    size = f"{feeds['bytes'] / 2**20:,.1f} MiB" if feeds["bytes"] >= 2**20 else f"{feeds['bytes'] / 2**10:,.1f} KiB"
    return f"{feeds['entries']:,} in {size}{each}"


def _hits(reads: snapshot.Figures | None) -> str | None:
    if reads is None:
        return None
    return "no reads yet" if reads["hits"] is None else f"{reads['hits']:.2%} of {reads['total']:,} reads"


def _lag(lag: snapshot.Figures | None) -> str | None:
    if lag is None:
        return None
    if lag["p50"] is None:
        return "no deliveries yet"
    return ", ".join(f"{name} {_seconds(value)}" for name, value in lag.items())


def _outbox(outbox: snapshot.Figures) -> str:
    age = outbox["oldest_seconds"]
    return f"{outbox['rows']:,} waiting" + ("" if age is None else f", the oldest for {_seconds(age)}")


def _red_if(number: int, text: str) -> Text:
    return Text(text, style="red" if number else "")


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.3g} s" if value < 1000 else f"{value:,.0f} s"
