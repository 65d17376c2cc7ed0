"""A page of a feed by SQL and from the cache, as a picture: requests a second, and the time that one reader waits.

python -m benchmarks.before_after > docs/before-after.svg
"""

import sys
import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from typing import NamedTuple

import click
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from app.auth.tokens import issue_token
from app.feed.rebuild import rebuild_or_raise
from benchmarks import datasets, reading
from benchmarks.environment import Stage, open_stage
from benchmarks.processes import web

ROUNDS = 5
FOLLOWEES = (10, 50, 200, 500)
READERS = 32  # of each number of followees
READERS_FROM = 1_100_000
SQL, CACHE = "/sql/feed", reading.PAGE

WIDTH, HEIGHT, MARGIN, FOOT = 420, 300, 56, 72
COLOURS = {SQL: "#bc4c00", CACHE: "#0969da"}
NAMES = {SQL: "SQL (before)", CACHE: "cache (after)"}
STYLE = "text{font:12px system-ui,sans-serif;fill:#57606a}path{fill:none;stroke-width:2}line{stroke:#d0d7de}"


class Figure(NamedTuple):
    """Requests a second under load, and milliseconds of a request without."""

    rate: float
    milliseconds: float


Figures = dict[tuple[str, int], Figure]  # by path and followees


@click.command()
@click.option("--quick", is_flag=True, help="Smaller data: to see that it works.")
def main(quick: bool) -> None:
    """Measure, print the figures to standard error and the picture to standard output."""
    with open_stage(quick=quick) as stage:
        figures = _measure(stage)
    for (path, followees), figure in sorted(figures.items()):
        click.echo(
            f"{NAMES[path]:14} {followees:4} followees {figure.rate:8.0f}/s {figure.milliseconds:8.2f} ms", err=True
        )
    panels = (
        _panel(0, "requests a second, by authors followed", figures, lambda figure: figure.rate),
        _panel(
            WIDTH, "ms until one reader has the page, by authors followed", figures, lambda figure: figure.milliseconds
        ),
    )
    click.echo(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}">'
        f"<style>{STYLE}</style>{''.join(panels)}</svg>"
    )


def _fill(cursor: Cursor, quick: bool) -> None:
    """The network of the other benchmarks, and readers with each number of followees."""
    datasets.many_followees(cursor, quick)
    random, authors = Random(datasets.SEED), range(datasets.TOWN_AUTHORS // (10 if quick else 1))
    for followees in FOLLOWEES:
        for reader in _readers(followees):
            datasets.insert_follows(cursor, ((reader, author) for author in random.sample(authors, followees)))


def _readers(followees: int) -> range:
    first = READERS_FROM + FOLLOWEES.index(followees) * READERS
    return range(first, first + READERS)


def _measure(stage: Stage) -> Figures:
    """The best of ROUNDS rounds, interleaved, after one that is not counted. One server answers both.

    The best, because other load on the machine only makes a round worse.
    """
    settings = stage.settings("before_after", _fill)
    tokens: dict[int, list[str]] = {}
    with stage.app(settings):
        for followees in FOLLOWEES:
            users = [datasets.user(number) for number in _readers(followees)]
            for user_id in users:
                rebuild_or_raise(user_id)
            tokens[followees] = [issue_token(user_id) for user_id in users]
    rounds: dict[tuple[str, int], list[Figure]] = {(path, n): [] for path in COLOURS for n in FOLLOWEES}
    with web(settings, stage.folder, reading.SQL_APP) as url:
        for round_ in range(ROUNDS + 1):
            for (path, followees), figures in rounds.items():
                click.echo(f"round {round_} of {ROUNDS}, {NAMES[path]}, {followees} followees", err=True)
                reading.check(url + CACHE, tokens[followees][0], same_as=url + SQL)
                figure = Figure(
                    reading.load(stage, url + path, tokens[followees])(), _wait(url + path, tokens[followees])
                )
                if round_:
                    figures.append(figure)
    return {
        key: Figure(max(figure.rate for figure in figures), min(figure.milliseconds for figure in figures))
        for key, figures in rounds.items()
    }


def _wait(url: str, tokens: Sequence[str]) -> float:
    """Milliseconds of a request, connecting included, while the server does nothing else: the median of one by each."""
    waits = []
    for token in tokens:
        started = time.perf_counter()
        reading.fetch(url, token)
        waits.append(time.perf_counter() - started)
    return median(waits) * 1000


def _panel(left: float, title: str, figures: Figures, value: Callable[[Figure], float]) -> str:
    """A line for each side; the y axis begins at 0."""
    top = max(value(figure) for figure in figures.values()) * 1.25
    across = (WIDTH - 2 * MARGIN) / (len(FOLLOWEES) - 1)
    floor = HEIGHT - FOOT
    parts = [
        f'<text x="{left + MARGIN}" y="24">{title}</text>',
        f'<line x1="{left + MARGIN}" y1="{floor}" x2="{left + WIDTH - MARGIN}" y2="{floor}"/>',
    ]
    for place, (path, colour) in enumerate(COLOURS.items()):
        x = left + MARGIN + place * 120
        parts.append(f'<text x="{x}" y="{HEIGHT - 12}" style="fill:{colour}">{NAMES[path]}</text>')
    heights = {key: floor - value(figure) / top * (floor - MARGIN) for key, figure in figures.items()}
    for path, colour in COLOURS.items():
        points = [(left + MARGIN + n * across, heights[path, followees]) for n, followees in enumerate(FOLLOWEES)]
        parts.append(f'<path stroke="{colour}" d="M{" L".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        for (x, y), followees in zip(points, FOLLOWEES, strict=True):
            figure = value(figures[path, followees])
            label = f"{figure:,.0f}" if figure >= 10 else f"{figure:.1f}"
            is_below = any(0 < y - other < 24 for other in (heights[each, followees] for each in COLOURS))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            parts.append(
                f'<text x="{x:.1f}" y="{y + (16 if is_below else -8):.1f}" text-anchor="middle">{label}</text>'
            )
    for number, followees in enumerate(FOLLOWEES):
        x = left + MARGIN + number * across
        parts.append(f'<text x="{x:.1f}" y="{floor + 30}" text-anchor="middle">{followees}</text>')
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
