"""The command: run the benchmarks that are asked for, and print the table."""

import sys
import time
import traceback
from collections.abc import Iterator

import click

from benchmarks import table
from benchmarks.catalog import CATALOG, Benchmark
from benchmarks.comparison import Row, Unavailable, run
from benchmarks.environment import Stage, open_stage

QUICK_ROUNDS, ROUNDS = 3, 5


@click.command()
@click.option("--only", multiple=True, metavar="NAME", type=click.Choice([b.name for b in CATALOG]), help="Repeatable.")
@click.option("--rounds", type=click.IntRange(1), help=f"Rounds of each side [default: {ROUNDS}].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, every round included.")
@click.option("--quick", is_flag=True, help=f"Smaller data and {QUICK_ROUNDS} rounds: to see that all of it works.")
def main(only: tuple[str, ...], rounds: int | None, as_json: bool, quick: bool) -> None:
    """Measure Lenta beside its floors and peers. Exit code 1 only where a benchmark could not be carried out."""
    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    chosen = [benchmark for benchmark in CATALOG if not only or benchmark.name in only]
    with open_stage(quick=quick) as stage:
        rows = [row for benchmark in chosen for row in _rows(benchmark, stage, rounds)]
    _say("")
    click.echo(table.as_json(rows) if as_json else table.render(rows))
    if any(row.problem.startswith("failed") for row in rows):
        sys.exit(1)


def _rows(benchmark: Benchmark, stage: Stage, rounds: int) -> Iterator[Row]:
    """Run one benchmark and return its rows; if it fails, return the failure."""
    started = time.monotonic()
    _say(f"{benchmark.name}: preparing")
    try:
        for contest in benchmark.contests(stage):
            yield from run(benchmark.number, contest, rounds, lambda text: _say(f"{benchmark.name}: {text}"))
    except Unavailable as reason:
        yield Row(benchmark.number, benchmark.name, problem=f"not run: {reason}")
    except Exception as error:
        traceback.print_exc()
        yield Row(benchmark.number, benchmark.name, problem=f"failed: {type(error).__name__}: {error}")
    _say(f"{benchmark.name}: done in {time.monotonic() - started:.0f} s", final=True)


def _say(text: str, *, final: bool = False) -> None:
    """The progress line: rewritten at a terminal; elsewhere only its last state of each benchmark is kept."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", err=True, nl=final)
    elif final:
        click.echo(text, err=True)


if __name__ == "__main__":
    main()
