"""python -m tests.tools.rolling"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from tests.tools.chaos.servers import find
from tests.tools.rolling.fleet import Fleet
from tests.tools.rolling.runner import run


@click.command()
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(1), help="Everything is restarted once.")
def main(seconds: int) -> None:
    """Restart everything in turn under load, then check that nothing was lost."""
    folder = Path(tempfile.mkdtemp(prefix="lenta-rolling-"))
    folder.chmod(0o755)
    click.echo(f"logs in {folder}")
    with ExitStack() as at_end, Fleet(find(folder, at_end.callback), folder) as fleet:
        report = run(fleet, seconds, lambda text: click.echo(text, nl=False))
    click.echo(report.text())
    for problem in (report.lost + report.missing)[:30]:
        click.echo(f"  {problem}")
    sys.exit(1 if report.lost or report.missing else 0)


if __name__ == "__main__":
    main()
