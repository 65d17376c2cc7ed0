"""The command feed-stats."""

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

from app.feed.census import Census
from app.settings import settings
from workers import stats
from workers.broker import for_command

WATCHED_SAMPLE = 1000  # a watcher must not count everything every other second
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
    help=f"Stay, and look again every so often ({WATCH_SECONDS:g} s); samples {WATCHED_SAMPLE} feeds.",
)
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Look at N feeds and estimate the rest.")
@click.option(
    "--metrics",
    "urls",
    multiple=True,
    metavar="URL",
    callback=_urls,
    help="Where web and workers show their metrics; repeatable. Default: those of this machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, null for what is not known; one line each time.")
def feed_stats(watch: float | None, sample: int | None, urls: tuple[str, ...], as_json: bool) -> None:
    """Show the state of the service at a glance: feeds, hits, lag, what waits, what failed.

    Hits and lag come from the metrics of web and workers, and count since these began. Whatever is away is named, and
    the rest is shown: the exit code is 0.
    """
    if watch is not None and sample is None:
        sample = WATCHED_SAMPLE
    with for_command() as broker, suppress(KeyboardInterrupt):

        def looks() -> Iterator[stats.Figures]:
            for _ in _times(watch):
                yield stats.collect(broker, urls or _default_urls(), sample, _quietly if as_json or watch else _shown)

        console = Console()
        if as_json:
            for found in looks():
                click.echo(json.dumps(found))
        elif watch is not None and console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for found in looks():
                    live.update(_table(found), refresh=True)
        else:
            for found in looks():
                console.print(_table(found))


def _times(watch: float | None) -> Iterator[None]:
    """Now; and again every so many seconds."""
    yield
    if watch is not None:
        yield from _again(watch)


def _again(seconds: float) -> Iterator[None]:
    """Every so often, until Ctrl-C. Python may lose a KeyboardInterrupt that hits a destructor, and this cannot."""
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
    web, workers = _reached(settings().host), _reached(settings().metrics_host)
    urls = [f"http://{web}:{settings().port}/metrics"]
    if settings().metrics_port:
        urls.append(f"http://{workers}:{settings().metrics_port}/metrics")
    return tuple(urls)


def _reached(host: str) -> str:
    """Where a server that listens on `host` is asked from its own machine."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # nosec B104: it is asked, not listened on


def _quietly(takes: Iterator[Census], _: int | None) -> Census:
    for census in takes:  # noqa: B007 - the last is the whole
        pass
    return census


def _shown(takes: Iterator[Census], readers: int | None) -> Census:
    """With a progress bar, in a terminal."""
    with click.progressbar(length=readers or 1, label="Counting", hidden=not sys.stdout.isatty()) as bar:
        for census in takes:
            bar.update(min(census.cached, bar.length or 0) - bar.pos)
        bar.update((bar.length or 0) - bar.pos)
    return census


def _table(found: stats.Figures) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in _rows(found):
        table.add_row(name, value if value is not None else UNKNOWN)
    for name, reason in found["away"].items():
        table.add_row("away", Text(f"{name}: {reason}", style="yellow"))
    return table


def _rows(found: stats.Figures) -> Iterator[tuple[str, str | Text | None]]:
    feeds, queues, outbox = found["feeds"], found["queues"], found["outbox"]
    yield "time", found["time"]
    yield "readers", None if found["readers"] is None else f"{found['readers']:,} follow somebody"
    yield "feeds", feeds and _feeds(feeds)
    yield "entries", feeds and _entries(feeds)
    yield "hits", _hits(found["reads"])
    yield "lag", _lag(found["lag_seconds"])
    yield "outbox", outbox and _outbox(outbox)
    for name in queues or ["queues"]:
        yield f"queue {name}" if queues else name, queues and _queue(queues[name])
    yield "given up", None if found["given_up"] is None else _alarming(found["given_up"], f"{found['given_up']:,}")


def _feeds(feeds: stats.Figures) -> str:
    cold = "unknown" if feeds["cold"] is None else f"{feeds['cold']:,}"
    estimate = f" (estimated from {feeds['sampled']:,})" if feeds["sampled"] is not None else ""
    cut = feeds["cached"] - feeds["complete"]
    return f"{feeds['cached']:,} cached ({feeds['complete']:,} complete, {cut:,} end at the cap), {cold} cold{estimate}"


def _entries(feeds: stats.Figures) -> str:
    each = "" if feeds["bytes_per_entry"] is None else f", {feeds['bytes_per_entry']:g} bytes each"
    size = f"{feeds['bytes'] / 2**20:,.1f} MiB" if feeds["bytes"] >= 2**20 else f"{feeds['bytes'] / 2**10:,.1f} KiB"
    return f"{feeds['entries']:,} in {size}{each}"


def _hits(reads: stats.Figures | None) -> str | None:
    if reads is None:
        return None
    return "no reads yet" if reads["hits"] is None else f"{reads['hits']:.2%} of {reads['total']:,} reads"


def _lag(lag: stats.Figures | None) -> str | None:
    if lag is None:
        return None
    if lag["p50"] is None:
        return "no deliveries yet"
    return ", ".join(f"{name} {_seconds(value)}" for name, value in lag.items())


def _outbox(outbox: stats.Figures) -> str:
    age = outbox["oldest_seconds"]
    return f"{outbox['rows']:,} waiting" + ("" if age is None else f", the oldest for {_seconds(age)}")


def _queue(depth: dict[str, int]) -> Text:
    return _alarming(depth["dead"], ", ".join(f"{number:,} {state}" for state, number in depth.items()))


def _alarming(number: int, text: str) -> Text:
    return Text(text, style="red" if number else "")


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.3g} s" if value < 1000 else f"{value:,.0f} s"
