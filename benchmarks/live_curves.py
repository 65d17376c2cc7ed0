"""Draws the costs of live connections: their memory, and the time until the last one has a post.

python -m benchmarks.live_curves > docs/live-curves.svg
"""

import sys
from contextlib import closing

import click

from benchmarks import datasets, live
from benchmarks.crowd import SSE, Crowd
from benchmarks.curves import WIDTH, Point, grouped, measured, panel, picture
from benchmarks.environment import Stage, open_stage
from benchmarks.processes import web, worker

PARTS = (10, 4, 2, 1)  # of all connections


@click.command()
@click.option("--quick", is_flag=True, help="Use fewer connections.")
def main(quick: bool) -> None:
    """Measure both curves, and print them as SVG."""
    with open_stage(quick=quick) as stage:
        tokens = live.tokens_of(stage)
        numbers = [len(tokens) // part for part in PARTS]
        memory, delay = _memory(stage, tokens, numbers), _delay(stage, tokens, numbers)
    click.echo(
        picture(
            (
                panel(0, "MiB in one process, by connections", memory, float, grouped),
                panel(WIDTH, "ms from a commit to the last client, by connections", delay, float, grouped),
            )
        )
    )


def _memory(stage: Stage, tokens: list[str], numbers: list[int]) -> list[Point]:
    settings = live.settings_of(stage)
    return measured({number: live.taken(stage, settings, tokens[:number], SSE) for number in numbers})


def _delay(stage: Stage, tokens: list[str], numbers: list[int]) -> list[Point]:
    """Milliseconds until the last of so many connected followers has a post. The others are not connected."""
    settings = live.settings_of(stage)
    stage.queue("feed")
    points: list[Point] = []
    with stage.app(settings), worker(settings, stage.folder):
        datasets.fill_feeds([datasets.user(number) for number in range(len(tokens))], 100)
        for number in numbers:
            with web(settings, stage.folder) as url, closing(Crowd(url, tokens[:number])) as crowd:
                points += measured({number: lambda crowd=crowd: 1000 * live.until_received(crowd)})
    return points


if __name__ == "__main__":
    sys.exit(main())
