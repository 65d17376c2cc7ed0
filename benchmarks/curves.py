"""Draws two scaling curves: deliveries by number of followers, and pages by offset.

python -m benchmarks.curves > curves.svg
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import click

from benchmarks import datasets, delivering, reading
from benchmarks.environment import Stage, open_stage
from benchmarks.processes import web, worker

ROUNDS = 5
OFFSETS = (0, 100, 250, 500, 750, 990)
POSTS = {10: 200, 1_000: 50, 100_000: 3, 1_000_000: 1}  # in a round, by followers

WIDTH, HEIGHT, MARGIN = 420, 260, 56
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}path{fill:none;stroke:#0969da;stroke-width:2}"
    "circle{fill:#0969da}line{stroke:#d0d7de}"
)

Point = tuple[float, float]


@click.command()
@click.option("--quick", is_flag=True, help="Smaller data: to see that it works.")
def main(quick: bool) -> None:
    """Measure both curves, and print them as SVG."""
    with open_stage(quick=quick) as stage:
        deliveries, pages = _deliveries(stage), _pages(stage)
    panels = (
        panel(0, "µs a delivery, by followers of the author", deliveries, math.log10, grouped),
        panel(WIDTH, "µs a page of 10, by offset", pages, float, str),
    )
    click.echo(picture(panels))


def picture(panels: Sequence[str]) -> str:
    """Return the SVG of two panels side by side."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}">'
        f"<style>{STYLE}</style>{''.join(panels)}</svg>"
    )


def _deliveries(stage: Stage) -> list[Point]:
    """Microseconds a delivery, all included that follows a post, by followers. Feeds hold 100 posts here."""
    settings = replace(stage.settings("by_follower_count", datasets.by_follower_count), feed_cap=delivering.SHORT)
    users = [datasets.user(number) for number in range(datasets.HUGE // (10 if stage.quick else 1))]
    queue = stage.queue("feed")
    stage.queue("bulk")
    with stage.app(settings), worker(settings, stage.folder) as process:
        datasets.fill_feeds(users, delivering.SHORT)

        def cost(followers: int) -> float:
            size = followers // 10 if stage.quick and followers >= datasets.LARGE else followers
            return delivering.fan_out(
                stage, process, queue, datasets.AUTHOR_OF[followers], size, posts=POSTS[followers]
            )

        return measured({followers: lambda followers=followers: cost(followers) for followers in POSTS})


def _pages(stage: Stage) -> list[Point]:
    """Microseconds a request, the server being busy all the time, by offset."""
    settings = stage.settings("many_followees", datasets.many_followees)
    tokens = reading.warm_readers(stage)
    with web(settings, stage.folder) as url:
        return measured(
            {
                offset: reading.cost(reading.load(stage, f"{url}{reading.PAGE}&offset={offset}", tokens))
                for offset in OFFSETS
            }
        )


def measured(measures: dict[int, Callable[[], float]]) -> list[Point]:
    """The median of ROUNDS rounds for each, interleaved, after one that is not counted."""
    rounds: dict[int, list[float]] = {x: [] for x in measures}
    for round_ in range(ROUNDS + 1):
        for x, measure in measures.items():
            click.echo(f"round {round_} of {ROUNDS}, at {x}", err=True)
            figure = measure()
            if round_:
                rounds[x].append(figure)
    return [(x, median(figures)) for x, figures in rounds.items()]


def panel(
    left: float, title: str, points: Sequence[Point], scale: Callable[[float], float], label: Callable[[int], str]
) -> str:
    """A curve whose y axis begins at 0."""
    low, high = scale(points[0][0]), scale(points[-1][0])
    top = max(y for _, y in points) * 1.25

    def place(x: float, y: float) -> Point:
        across = (scale(x) - low) / (high - low)
        return left + MARGIN + across * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)

    places = [place(x, y) for x, y in points]
    floor = HEIGHT - MARGIN
    parts = [
        f'<text x="{left + MARGIN}" y="28">{title}</text>',
        f'<line x1="{left + MARGIN}" y1="{floor}" x2="{left + WIDTH - MARGIN}" y2="{floor}"/>',
        f'<path d="M{" L".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>',
    ]
    for (x, y), (across, up) in zip(points, places, strict=True):
        parts.append(f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3"/>')
        parts.append(f'<text x="{across:.1f}" y="{up - 9:.1f}" text-anchor="middle">{y:.3g}</text>')
        parts.append(f'<text x="{across:.1f}" y="{floor + 18}" text-anchor="middle">{label(int(x))}</text>')
    return "".join(parts)


def grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


if __name__ == "__main__":
    sys.exit(main())
