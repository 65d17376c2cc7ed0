"""python -m tests.tools.load"""

import json
import shutil
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from random import Random
from time import monotonic

import click

from local import graph
from tests.factories import eventually
from tests.tools.chaos.servers import find
from tests.tools.load.watched import Watched
from tests.tools.processes import flask
from tests.tools.rolling.clients import Client

POSTS = 5
CHECK_SECONDS = 60
COUNTED = {
    "feed reads": "sum by (source) (lenta_feed_reads_total)",
    "deliveries": "sum by (op) (lenta_deliveries_total)",
    "rebuilds": "sum by (result) (lenta_rebuilds_total)",
    "messages": "sum by (result) (lenta_messages_total)",
    "lag p50": "histogram_quantile(0.5, sum by (le) (lenta_delivery_lag_seconds_bucket))",
    "lag p99": "histogram_quantile(0.99, sum by (le) (lenta_delivery_lag_seconds_bucket))",
}


@click.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.1))
@click.option("--clients", default=12, show_default=True, type=click.IntRange(1), help="Users at work at a time.")
@click.option("--graph", "file", type=click.Path(exists=True, path_type=Path), help="An edge list [default: demo's].")
def main(minutes: float, clients: int, file: Path | None) -> None:
    """Read and write on a social graph, query the dashboard, and verify all feeds."""
    if shutil.which("prometheus") is None:
        raise click.ClickException("needs prometheus: Debian's package has it")
    folder = Path(tempfile.mkdtemp(prefix="lenta-load-"))
    folder.chmod(0o755)
    click.echo(f"logs in {folder}")
    with ExitStack() as at_end, Watched(find(folder, at_end.callback), folder) as service:
        sys.exit(0 if run(service, minutes * 60, clients, file or graph.file(folder)) else 1)


def run(service: Watched, seconds: float, clients: int, file: Path) -> bool:
    """Returns whether all was well."""
    tokens = service.load(file, POSTS)
    service.start()
    click.echo(flask(service.settings, "warm-cache", "--wait"))
    some = Random(0).sample(list(tokens), clients)
    known = {user: tokens[user] for user in some}
    stopping = threading.Event()
    threads = [Client(service.web.port, known, user, True, stopping) for user in some]
    for thread in threads:
        thread.start()
    started = monotonic()
    try:
        while not stopping.wait(min(CHECK_SECONDS, max(0.0, started + seconds - monotonic()))):
            wrong, firing, asked = service.queries(strict=False)
            click.echo(
                f"{monotonic() - started:4.0f} s  {sum(t.log.requests for t in threads):,} requests, {asked} queries, "
                f"wrong: {wrong or 'none'}, firing: {firing or 'none'}"
            )
            if monotonic() - started >= seconds:
                break
    finally:
        stopping.set()
        for thread in threads:
            thread.join(40)
    verified = json.loads(flask(service.settings, "verify-feeds", "--json"))
    scraped = "lenta_verify_timestamp_seconds"
    eventually(lambda: service.ask(scraped), "Prometheus has the result of verify-feeds", 60)
    wrong, firing, asked = service.queries(strict=True)
    return _report(service, threads, verified, wrong, firing, asked)


def _report(
    service: Watched,
    threads: list[Client],
    verified: dict[str, object],
    wrong: list[str],
    firing: list[str],
    asked: int,
) -> bool:
    refused = [problem for thread in threads for problem in thread.log.wrong]
    click.echo(
        f"requests: {sum(t.log.requests for t in threads):,}, not answered with 200: {len(refused)}, "
        f"slowest {max(t.log.slowest for t in threads):.2f} s, posts: {sum(len(t.log.posts) for t in threads):,}"
    )
    for name, query in COUNTED.items():
        for sample in service.ask(query):
            click.echo(f"{name} {' '.join(sample['metric'].values())}: {float(sample['value'][1]):,.4g}")
    click.echo(f"verify-feeds: {json.dumps(verified)}")
    click.echo(f"{asked} queries of dashboard and alerts, wrong: {wrong or 'none'}, firing: {firing or 'none'}")
    for problem in refused[:20]:
        click.echo(f"  {problem}")
    return not (refused or wrong or firing or verified["divergent"])


if __name__ == "__main__":
    main()
