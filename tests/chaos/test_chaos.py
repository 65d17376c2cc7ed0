"""The short run: 5,000 writes and as many reads while twenty things break."""

from pathlib import Path

from tests.chaos.faults import KINDS, ON_REQUEST
from tests.chaos.runner import Options, run
from tests.chaos.servers import Servers


def test_nothing_is_lost_and_every_feed_is_right_whatever_breaks(postgres_url, rabbitmq_url, folder: Path):
    kinds = tuple(kind for kind in KINDS if kind not in ON_REQUEST)
    (folder / "chaos").mkdir()

    report = run(Options(seed=1, kinds=kinds), Servers(postgres_url, rabbitmq_url), folder / "chaos", lambda _: None)

    print(report.table())  # noqa: T201 - pytest shows it where the test fails
    assert report.problems == []
    assert report.writes["acknowledged"] > 3000
    assert report.faults.total() == 20
