"""python -m tests.tools.chaos"""

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from tests.tools.chaos.faults import KINDS, ON_REQUEST, kinds_of
from tests.tools.chaos.report import Report
from tests.tools.chaos.runner import Options, run
from tests.tools.chaos.servers import find
from tests.tools.chaos.service import SINGLE, TOPOLOGIES
from tests.tools.network import missing


def _chosen(_: click.Context, __: click.Parameter, value: str) -> set[str]:
    names = {name for name in value.split(",") if name}
    if unknown := names - set(KINDS):
        raise click.BadParameter(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return names


@click.command()
@click.option("--ops", default=5000, show_default=True, type=click.IntRange(1), help="Writes; there are as many reads.")
@click.option("--faults", default=20, show_default=True, type=click.IntRange(0))
@click.option("--seed", type=int, help="Of operations and faults; a random one is made, and printed.")
@click.option("--clients", default=8, show_default=True, type=click.IntRange(1))
@click.option("--users", default=60, show_default=True, type=click.IntRange(2))
@click.option(
    "--pull-followers", default=0, show_default=True, type=click.IntRange(0), help="FEED_PULL_FOLLOWERS of the service."
)
@click.option("--live", default=10, show_default=True, type=click.IntRange(0), help="Clients of live events.")
@click.option("--without", default="", callback=_chosen, help="Kinds of faults to leave out, by commas.")
@click.option("--only", default="", callback=_chosen, help="Kinds of faults to have, by commas.")
@click.option("--topology", type=click.Choice(TOPOLOGIES), default=SINGLE, show_default=True, help="Of Redis.")
@click.option(
    "--resume", type=click.Path(path_type=Path, dir_okay=False), help="Keep the figures here; go on where a run ended."
)
@click.option("--restart-rabbitmq", is_flag=True, help="Have broker-restart too, by rabbitmqctl.")
def main(
    ops: int,
    faults: int,
    seed: int | None,
    clients: int,
    users: int,
    pull_followers: int,
    live: int,
    without: set[str],
    only: set[str],
    topology: str,
    resume: Path | None,
    restart_rabbitmq: bool,
) -> None:
    """Inject faults under load, then check that nothing is lost and every feed is exact."""
    if topology != SINGLE and (lack := missing()):
        raise click.ClickException(lack)
    kinds = [kind for kind in kinds_of(topology) if restart_rabbitmq or kind not in ON_REQUEST]
    kinds = [kind for kind in kinds if kind not in without and (not only or kind in only)]
    if resume and resume.exists():
        seed = Report.load(resume).seed
    seed = random.randrange(10_000) if seed is None else seed
    # PostgreSQL runs as another user where we are root, and must reach its folder.
    folder = Path(tempfile.mkdtemp(prefix="lenta-chaos-"))
    folder.chmod(0o755)
    _say(f"seed {seed}, logs in {folder}\n")
    with ExitStack() as at_end:
        servers = find(folder, at_end.callback)
        options = Options(seed, ops, faults, clients, users, tuple(kinds), pull_followers, topology, live, resume)
        report = run(options, servers, folder, _say)
    _say(report.table() + "\n")
    if report.problems:
        _say(report.details() + "\n")
    sys.exit(1 if report.problems else 0)


def _say(text: str) -> None:
    """Progress, which ends with a carriage return, is for terminals."""
    if text.endswith("\r") and not sys.stdout.isatty():
        return
    click.echo(("\x1b[2K" if sys.stdout.isatty() else "") + text, nl=False)


if __name__ == "__main__":
    main()
